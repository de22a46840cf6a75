"""``kubectl drumline rollouts``: the revisions of an InferenceService and what each changed.

Exit codes: 0 shown, 1 the cluster can't be reached or refused, 3 no such service.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any, Final

from drumline.cli import cluster, manifests, rollout_cluster
from drumline.cli.cluster import OK, UNREACHABLE
from drumline.cli.goodput import ABSENT
from drumline.cli.rollout_view import NOTHING, History, changes, history

HELP: Final = "show the revisions of an InferenceService and what each changed"
MOST_CHANGES: Final = 6  # lines of a revision
_HEADER: Final = ("REVISION", "NAME", "CREATED", "GROUPS", "STATE")


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    rollout_cluster.add_arguments(parser)
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")
    parser.set_defaults(action=run)


def run(args: Namespace) -> int:
    """Read and show; the exit code."""
    try:
        known = history(rollout_cluster.load(rollout_cluster.address_of(args)))
    except cluster.NotFoundError as error:
        return _fail(str(error), ABSENT)
    except cluster.ClusterError as error:
        return _fail(str(error), UNREACHABLE)
    text = table(known) if args.output == "text" else manifests.dump(raw(known), args.output)
    sys.stdout.write(text)
    return OK


def table(known: History) -> str:
    """A line for each revision, the changes below it, and where the rollout stands."""
    rows = [_HEADER, *(_row(known, name) for name in (r.name for r in known.revisions))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = []
    for index, row in enumerate(rows):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        lines += [f"    {line}" for line in _shown(_changed(known, index - 1))] if index else []
    rollout = known.status.rollout
    why = f": {rollout.message}" if rollout.message else ""
    return "\n".join([*lines, f"rollout: {rollout.phase.value}{why}", ""])


def raw(known: History) -> dict[str, Any]:
    """The same for programs."""
    return {
        "rollout": known.status.rollout.to_json(),
        "revisions": [
            {
                "revision": r.number,
                "name": r.name,
                "created": known.created.get(r.name),
                "groups": known.groups(r.name),
                "state": known.marks(r.name),
                "changes": _changed(known, index),
            }
            for index, r in enumerate(known.revisions)
        ],
    }


def _row(known: History, name: str) -> tuple[str, ...]:
    found = known.find(name)
    number = found.number if found is not None else 0
    state = ", ".join(known.marks(name)) or NOTHING
    return (str(number), name, known.created.get(name, NOTHING), str(known.groups(name)), state)


def _changed(known: History, index: int) -> list[str]:
    """Against the revision before it."""
    if index == 0:
        return []
    return changes(known.revisions[index - 1].spec, known.revisions[index].spec)


def _shown(lines: list[str]) -> Iterator[str]:
    yield from lines[:MOST_CHANGES]
    if len(lines) > MOST_CHANGES:
        yield f"and {len(lines) - MOST_CHANGES} more"


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code
