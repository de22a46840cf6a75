"""``kubectl drumline goodput``: where the accelerator time of jobs and services went.

Exit codes: 0 shown, 1 the cluster can't be reached or refused, 2 the input is not valid, 3 no such object or no
account of it yet.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, Final

from drumline.api.meta import INFERENCE_SERVICE
from drumline.cli import cluster, goodput_find, manifests
from drumline.cli.goodput_html import page
from drumline.cli.goodput_raw import raw
from drumline.cli.goodput_service_raw import service_raw
from drumline.cli.goodput_service_text import service_breakdown, service_overview
from drumline.cli.goodput_service_view import ServiceView, service_view_of
from drumline.cli.goodput_text import breakdown, overview
from drumline.cli.goodput_view import JobView, NoGoodputError, named, view_of
from drumline.cli.terminal import terminal_of

INVALID: Final = 2
ABSENT: Final = 3

HELP: Final = "show where the accelerator time of TrainingJobs and InferenceServices went"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="one job or service in full, as NAME, trainingjob/NAME or inferenceservice/NAME; without it, tables",
    )
    parser.add_argument(
        "-f", "--filename", metavar="FILE", help="read objects from a file, - for stdin; no cluster"
    )
    cluster.add_arguments(parser)
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")
    parser.add_argument("--html", metavar="FILE", help="write a report of one job, - for stdout")
    parser.set_defaults(action=run)


def run(args: Namespace) -> int:
    """Read and show; the exit code."""
    try:
        found = goodput_find.objects(args)
        if args.name or args.html or (args.filename and len(found) == 1):
            return _show_one(args, found)
        return _show_all(args, found)
    except manifests.InputError as error:
        return _fail(str(error), INVALID)
    except (cluster.NotFoundError, NoGoodputError) as error:
        return _fail(str(error), ABSENT)
    except cluster.ClusterError as error:
        return _fail(str(error), cluster.UNREACHABLE)
    except OSError as error:
        return _fail(f"{args.html}: {error}", INVALID)


def _show_one(args: Namespace, found: list[manifests.Manifest]) -> int:
    if len(found) != 1:
        raise manifests.InputError(f"{len(found)} objects found; name the one to report on")
    if _is_service(found[0]):
        return _show_service(args, service_view_of(found[0]))
    view = view_of(found[0])
    if args.html == "-":
        sys.stdout.write(page(view))
    elif args.html:
        Path(args.html).write_text(page(view), encoding="utf-8")
        sys.stderr.write(f"report written to {args.html}\n")
    elif args.output == "text":
        sys.stdout.write(breakdown(view, terminal_of(sys.stdout)))
    else:
        _dump(raw(view), args.output)
    return cluster.OK


def _show_service(args: Namespace, view: ServiceView) -> int:
    if args.html:
        raise manifests.InputError("--html writes reports of TrainingJobs, not of InferenceServices")
    if args.output == "text":
        sys.stdout.write(service_breakdown(view, terminal_of(sys.stdout)))
    else:
        _dump(service_raw(view), args.output)
    return cluster.OK


def _show_all(args: Namespace, found: list[manifests.Manifest]) -> int:
    jobs = [(o, _view_or_none(o)) for o in found if not _is_service(o)]
    services = [(o, _service_view_or_none(o)) for o in found if _is_service(o)]
    if args.output != "text":
        items = [raw(view) for _, view in jobs if view]
        items += [service_raw(view) for _, view in services if view]
        _dump({"items": items}, args.output)
        return cluster.OK
    if not found:
        sys.stderr.write("No TrainingJobs or InferenceServices found.\n")
    namespaces = bool(args.all_namespaces or args.filename)
    tables = []
    if jobs:
        tables.append(overview([(*_head(o), view) for o, view in jobs], namespaces=namespaces))
    if services:
        rows = [(*_head(o), view) for o, view in services]
        tables.append(service_overview(rows, namespaces=namespaces))
    sys.stdout.write("\n".join(tables))
    return cluster.OK


def _is_service(manifest: manifests.Manifest) -> bool:
    return manifest.get("kind") == INFERENCE_SERVICE


def _view_or_none(job: manifests.Manifest) -> JobView | None:
    try:
        return view_of(job)
    except NoGoodputError:
        return None


def _service_view_or_none(service: manifests.Manifest) -> ServiceView | None:
    try:
        return service_view_of(service)
    except NoGoodputError:
        return None


def _head(manifest: manifests.Manifest) -> tuple[str, str, str]:
    """Namespace, name, phase."""
    name, namespace = named(manifest)
    return namespace, name, str((manifest.get("status") or {}).get("phase") or "")


def _dump(body: dict[str, Any], output: str) -> None:
    sys.stdout.write(manifests.dump(body, output))


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code
