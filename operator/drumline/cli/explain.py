"""``kubectl drumline explain JOB``: why a TrainingJob waits, what would have to end for it, and when it may begin.

Exit codes: 0 shown, 1 the cluster can't be reached or refused, 3 no such job or it waits for nothing.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Final

from drumline.cli import cluster, manifests
from drumline.cli.explain_text import told
from drumline.cli.terminal import terminal_of
from drumline.cli.topology_file import add_aging, add_option

ABSENT: Final = 3

now: Callable[[], float] = time.time  # noqa: TID251 - this command's one reading of the wall clock

HELP: Final = "say why a TrainingJob waits, what would have to end for it, and when it may begin"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("name", metavar="JOB", help="the job's name")
    parser.add_argument("-n", "--namespace", help="default: the context's namespace")
    add_option(parser)
    add_aging(parser)
    cluster.add_connection(parser)
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")
    parser.set_defaults(action=run)


def run(args: Namespace) -> int:
    """Read and show; the exit code."""
    # what follows takes half a second to import, and other commands need none of it
    from drumline.cli.devices import with_devices  # noqa: PLC0415
    from drumline.cli.explain_view import WANTED, NotWaitingError, explained, raw  # noqa: PLC0415
    from drumline.cli.settings import read_settings  # noqa: PLC0415

    access = cluster.access_of(args)
    key = (args.namespace or cluster.namespace_of(access), args.name)
    try:
        found = with_devices(access, cluster.list_each(access, WANTED))
        settings = read_settings(access).given(aging=args.aging, topology=args.topology)
        view = explained(found, key, settings, now())
    except cluster.ClusterError as error:
        return _fail(str(error), cluster.UNREACHABLE)
    except KeyError:
        return _fail(f"TrainingJob {key[0]}/{key[1]} not found", ABSENT)
    except NotWaitingError as error:
        return _fail(str(error), ABSENT)
    if args.output == "text":
        sys.stdout.write(told(view, terminal_of(sys.stdout)))
    else:
        sys.stdout.write(manifests.dump(raw(view), args.output))
    return cluster.OK


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code
