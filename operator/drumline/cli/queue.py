"""``kubectl drumline queue [NAME]``: quotas, shares, who holds accelerators of each queue, and who waits in which order.

Exit codes: 0 shown, 1 the cluster can't be reached or refused, 3 no such queue.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Final

from drumline.cli import cluster, manifests
from drumline.cli.queue_text import detail, overview
from drumline.cli.terminal import terminal_of
from drumline.cli.topology_file import add_aging

ABSENT: Final = 3

now: Callable[[], float] = time.time  # noqa: TID251 - this command's one reading of the wall clock

HELP: Final = "show queues: quotas, shares, who holds and who waits"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="one queue, at length")
    add_aging(parser)
    cluster.add_connection(parser)
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")
    parser.set_defaults(action=run)


def run(args: Namespace) -> int:
    """Read and show; the exit code."""
    # what follows takes half a second to import, and other commands need none of it
    from drumline.cli.queue_view import WANTED, queues_of, raw  # noqa: PLC0415
    from drumline.cli.settings import read_settings  # noqa: PLC0415

    access = cluster.access_of(args)
    try:
        found = cluster.list_each(access, WANTED)
    except cluster.ClusterError as error:
        return _fail(str(error), cluster.UNREACHABLE)
    view = queues_of(found, read_settings(access).given(aging=args.aging), now())
    chosen = next((queue for queue in view.queues if queue.name == args.name), None)
    if args.name and chosen is None:
        known = ", ".join(queue.name for queue in view.queues) or "none"
        return _fail(f"AcceleratorQueue {args.name} not found; there are: {known}", ABSENT)
    if args.output != "text":
        sys.stdout.write(manifests.dump(raw(view, args.name), args.output))
    elif chosen is not None:
        sys.stdout.write(detail(chosen, view, terminal_of(sys.stdout)))
    else:
        sys.stdout.write(overview(view, terminal_of(sys.stdout)))
    return cluster.OK


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code
