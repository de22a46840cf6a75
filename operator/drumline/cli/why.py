"""``kubectl drumline why JOB``: what happened to a TrainingJob, why, and what it will do next.

Exit codes: 0 shown, 1 the cluster can't be reached or refused, 2 the input is not valid, 3 no such job or no
status of it yet.
"""

from __future__ import annotations

import asyncio
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any, Final

from drumline.api.meta import TRAINING_JOB
from drumline.cli import cluster, manifests
from drumline.cli.manifests import Manifest
from drumline.cli.terminal import terminal_of
from drumline.cli.why_text import raw, screen
from drumline.cli.why_view import NoStatusError, why_of

INVALID: Final = 2
ABSENT: Final = 3

now: Callable[[], float] = time.time  # noqa: TID251 - this command's one reading of the wall clock

HELP: Final = "say what happened to a TrainingJob, and what it will do next"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("name", nargs="?", metavar="JOB", help="the job's name")
    parser.add_argument("-f", "--filename", metavar="FILE", help="read the job from a file, - for stdin")
    parser.add_argument("-n", "--namespace", help="default: the context's namespace")
    cluster.add_connection(parser)
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")
    parser.set_defaults(action=run)


def run(args: Namespace) -> int:
    """Read and show; the exit code."""
    try:
        job, events = _from_file(args) if args.filename else _from_cluster(args)
        view = why_of(job, events, now())
    except manifests.InputError as error:
        return _fail(str(error), INVALID)
    except (cluster.NotFoundError, NoStatusError) as error:
        return _fail(str(error), ABSENT)
    except cluster.ClusterError as error:
        return _fail(str(error), cluster.UNREACHABLE)
    if args.output == "text":
        sys.stdout.write(screen(view, terminal_of(sys.stdout)))
    else:
        sys.stdout.write(manifests.dump(raw(view), args.output))
    return cluster.OK


def _from_file(args: Namespace) -> tuple[Manifest, list[Manifest]]:
    found = [j for j in manifests.training_jobs(args.filename) if args.name in (None, _name(j))]
    if args.name and not found:
        raise cluster.NotFoundError(f"{args.filename}: no TrainingJob {args.name} in it")
    if len(found) != 1:
        raise manifests.InputError(f"{args.filename}: {len(found)} TrainingJobs in it; name one")
    return found[0], []


def _from_cluster(args: Namespace) -> tuple[Manifest, list[Manifest]]:
    if not args.name:
        raise manifests.InputError("name the job: kubectl drumline why JOB")
    access = cluster.access_of(args)
    namespace = args.namespace or cluster.namespace_of(access)
    job = cluster.get(access, TRAINING_JOB, namespace, args.name)
    return job, asyncio.run(_events(access, namespace, job))


async def _events(access: cluster.Access, namespace: str, job: Manifest) -> list[Manifest]:
    """The job's events, none of an earlier job of its name; with a remark instead where the user may not read them."""
    # what follows takes half a second to import, and reading a file needs none of it
    from drumline.runtime.errors import DrumlineError  # noqa: PLC0415
    from drumline.runtime.http_paths import resource_path  # noqa: PLC0415
    from drumline.runtime.kube import connect  # noqa: PLC0415

    selector = f"involvedObject.kind={TRAINING_JOB},involvedObject.uid={job['metadata']['uid']}"
    try:
        async with await connect(
            access.kubeconfig or None, access.context, attempts=cluster.CONNECT_ATTEMPTS
        ) as client:
            path = resource_path("events", namespace)
            found: Any = await client.request("GET", path, params={"fieldSelector": selector})
            return list(found.get("items") or ())
    except DrumlineError as error:
        sys.stderr.write(f"events are not shown: {error}\n")
        return []


def _name(job: Manifest) -> str:
    return str((job.get("metadata") or {}).get("name"))


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code
