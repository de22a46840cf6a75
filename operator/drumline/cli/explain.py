"""``kubectl drumline explain NAME``: why a job or a group of a service waits, what would have to end, when it may begin.

Exit codes: 0 shown, 1 the cluster can't be reached or refused, 2 no such kind, or the name is that of both, 3 no such
object or it waits for nothing.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from drumline.api.meta import INFERENCE_SERVICE, INFERENCE_SERVICES, TRAINING_JOB, TRAINING_JOBS
from drumline.cli import cluster, manifests
from drumline.cli.explain_text import told
from drumline.cli.terminal import terminal_of
from drumline.cli.topology_file import add_aging, add_option

if TYPE_CHECKING:
    from drumline.cli.explain_view import ExplainView
    from drumline.cli.settings import Settings

INVALID: Final = 2
ABSENT: Final = 3
_RESOURCES: Final = {TRAINING_JOB: TRAINING_JOBS, INFERENCE_SERVICE: INFERENCE_SERVICES}

now: Callable[[], float] = time.time  # noqa: TID251 - this command's one reading of the wall clock

HELP: Final = (
    "say why a job or a group of a service waits, what would have to end for it, and when it may begin"
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("name", metavar="NAME", help="NAME, trainingjob/NAME or inferenceservice/NAME")
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
    from drumline.cli.explain_view import WANTED, NotWaitingError, raw, raw_service  # noqa: PLC0415
    from drumline.cli.goodput_find import asked  # noqa: PLC0415
    from drumline.cli.settings import read_settings  # noqa: PLC0415

    access = cluster.access_of(args)
    try:
        kinds, name = asked(args.name)
        key = (args.namespace or cluster.namespace_of(access), name)
        found = with_devices(access, cluster.list_each(access, WANTED))
        kind = _kind(found, kinds, key)
        settings = read_settings(access).given(aging=args.aging, topology=args.topology)
        views = _views(kind, found, key, settings)
    except cluster.NotFoundError as error:
        return _fail(str(error), ABSENT)
    except cluster.ClusterError as error:
        return _fail(str(error), cluster.UNREACHABLE)
    except manifests.InputError as error:
        return _fail(str(error), INVALID)
    except NotWaitingError as error:
        return _fail(str(error), ABSENT)
    if args.output == "text":
        terminal = terminal_of(sys.stdout)
        sys.stdout.write("\n".join(told(view, terminal) for view in views))
    else:
        data = raw(views[0]) if kind == TRAINING_JOB else raw_service(key, views)
        sys.stdout.write(manifests.dump(data, args.output))
    return cluster.OK


def _kind(found: Mapping[str, list[manifests.Manifest]], kinds: Sequence[str], key: tuple[str, str]) -> str:
    """Of which of these kinds the object of that name is. NotFoundError, InputError."""
    there = [
        kind
        for kind in kinds
        for document in found[_RESOURCES[kind]]
        if (document["metadata"]["namespace"], document["metadata"]["name"]) == key
    ]
    if not there:
        raise cluster.NotFoundError(f"{' or '.join(kinds)} {'/'.join(key)} not found")
    if len(there) > 1:
        ways = " or ".join(f"{kind.lower()}/{key[1]}" for kind in there)
        raise manifests.InputError(f"{key[1]} is the name of both; say {ways}")
    return there[0]


def _views(
    kind: str, found: Mapping[str, list[manifests.Manifest]], key: tuple[str, str], settings: Settings
) -> list[ExplainView]:
    from drumline.cli.explain_view import explained, explained_service  # noqa: PLC0415 - as above

    if kind == TRAINING_JOB:
        return [explained(found, key, settings, now())]
    return explained_service(found, key, settings, now())


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code
