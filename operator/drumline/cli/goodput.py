"""``kubectl drumline goodput``: where the accelerator time of jobs went.

Exit codes: 0 shown, 1 the cluster can't be reached or refused, 2 the input is not valid, 3 no such job or no
ledger yet.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, Final

from drumline.cli import cluster, manifests
from drumline.cli.goodput_html import page
from drumline.cli.goodput_raw import raw
from drumline.cli.goodput_text import breakdown, overview
from drumline.cli.goodput_view import JobView, NoGoodputError, named, view_of
from drumline.cli.terminal import terminal_of

OK: Final = 0
UNREACHABLE: Final = 1
INVALID: Final = 2
ABSENT: Final = 3

HELP: Final = "show where the accelerator time of TrainingJobs went"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("job", nargs="?", metavar="JOB", help="one job in full; without it, a table of jobs")
    parser.add_argument(
        "-f", "--filename", metavar="FILE", help="read TrainingJobs from a file, - for stdin; no cluster"
    )
    cluster.add_arguments(parser)
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")
    parser.add_argument("--html", metavar="FILE", help="write a report of one job, - for stdout")
    parser.set_defaults(action=run)


def run(args: Namespace) -> int:
    """Read and show; the exit code."""
    try:
        jobs = _jobs(args)
        if args.job or args.html or (args.filename and len(jobs) == 1):
            return _show_one(args, jobs)
        return _show_all(args, jobs)
    except manifests.InputError as error:
        return _fail(str(error), INVALID)
    except (cluster.NotFoundError, NoGoodputError) as error:
        return _fail(str(error), ABSENT)
    except cluster.ClusterError as error:
        return _fail(str(error), UNREACHABLE)
    except OSError as error:
        return _fail(f"{args.html}: {error}", INVALID)


def _jobs(args: Namespace) -> list[manifests.Manifest]:
    """The jobs that the arguments ask for."""
    if args.filename:
        found = manifests.training_jobs(args.filename)
        wanted = [job for job in found if args.job in (None, named(job)[0])]
        if args.job and not wanted:
            raise cluster.NotFoundError(f"{args.filename}: no TrainingJob {args.job} in it")
        return wanted
    access = cluster.access_of(args)
    namespace = args.namespace or cluster.namespace_of(access)
    if args.job:
        return [cluster.get_job(access, namespace, args.job)]
    return cluster.list_jobs(access, "" if args.all_namespaces else namespace)


def _show_one(args: Namespace, jobs: list[manifests.Manifest]) -> int:
    if len(jobs) != 1:
        raise manifests.InputError(f"{len(jobs)} jobs found; name the one to report on")
    view = view_of(jobs[0])
    if args.html == "-":
        sys.stdout.write(page(view))
    elif args.html:
        Path(args.html).write_text(page(view), encoding="utf-8")
        sys.stderr.write(f"report written to {args.html}\n")
    elif args.output == "text":
        sys.stdout.write(breakdown(view, terminal_of(sys.stdout)))
    else:
        _dump(raw(view), args.output)
    return OK


def _show_all(args: Namespace, jobs: list[manifests.Manifest]) -> int:
    views = [(job, _view_or_none(job)) for job in jobs]
    if args.output != "text":
        _dump({"items": [raw(view) for _, view in views if view]}, args.output)
        return OK
    if not jobs:
        sys.stderr.write("No TrainingJobs found.\n")
        return OK
    rows = [(named(job)[1], named(job)[0], _phase(job), view) for job, view in views]
    sys.stdout.write(overview(rows, namespaces=bool(args.all_namespaces or args.filename)))
    return OK


def _view_or_none(job: manifests.Manifest) -> JobView | None:
    try:
        return view_of(job)
    except NoGoodputError:
        return None


def _phase(job: manifests.Manifest) -> str:
    return str((job.get("status") or {}).get("phase") or "")


def _dump(body: dict[str, Any], output: str) -> None:
    sys.stdout.write(manifests.dump(body, output))


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code
