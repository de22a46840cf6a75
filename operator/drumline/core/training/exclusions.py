"""Which nodes a job avoids after failures there, how strictly, and for how long.

Of an attempt that failed, the node of the pod that failed first gets a strike, and so does each node whose worker
held up the others for SLOW_SECONDS and still did when the attempt ended. A node is avoided

- `Always`, if a rule of the user's replaces it or its device is at fault;
- `IfEverPossible`, from the STRIKES-th strike on, or if it is to be replaced for another reason: it is used again
  when nothing else could ever hold the gang;
- `IfPossible`, if the cause speaks of the node (`NODE_CAUSES`), or the pod vanished: it is not chosen twice in a row
  while there is another.

All of it ends after the setting `exclude`. An eviction alone says nothing against a node: whoever drains one cordons
it, and one under pressure has a taint.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from drumline.api.reasons import Cause, Reason
from drumline.api.status import AttemptStatus, Avoidance, ExcludedNode, TrainingJobStatus
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.types import Granted, Refusal
from drumline.core.training.view import View
from drumline.core.training.whereabouts import nodes_of

STRIKES: Final = 2  # among the kept attempts
SLOW_SECONDS: Final = 600.0
NODE_CAUSES: Final = frozenset({Cause.NODE_LOST, Cause.MAINTENANCE, Cause.DEVICE_FAULT, Cause.PLACEMENT_RACE})
MAX_EXCLUDED: Final = 32
MAX_SLOW: Final = 8
NO_PLACE: Final = frozenset(
    {
        Reason.INSUFFICIENT_ACCELERATORS,
        Reason.NO_FEASIBLE_NODE,
        Reason.TOPOLOGY_UNSATISFIABLE,
        Reason.HEAD_OF_QUEUE_RESERVED,
    }
)
_GRADES: Final = (Avoidance.IF_POSSIBLE, Avoidance.IF_EVER_POSSIBLE, Avoidance.ALWAYS)


def after_failure(view: View, node: str, cause: Cause, replaced: Avoidance | None, *, seen: bool) -> View:
    """The view with what the end of its last attempt, which is on record, says against nodes.

    `node`: of the pod that failed first, "" = unknown; `replaced`: how strictly it is to be replaced, if it is;
    `seen`: whether the pod was seen to end.
    """
    for slow in view.status.attempts[-1].slow_nodes:
        if slow != node and strikes(view.status, slow) >= STRIKES:
            view = avoid(view, slow, Avoidance.IF_EVER_POSSIBLE, "Straggler")
    grade = replaced
    if grade is None and strikes(view.status, node) >= STRIKES:
        grade = Avoidance.IF_EVER_POSSIBLE
    if grade is None and (cause in NODE_CAUSES or (cause is Cause.UNKNOWN and not seen)):
        grade = Avoidance.IF_POSSIBLE
    return avoid(view, node, grade, cause.value) if grade is not None and node else view


def avoid(view: View, node: str, grade: Avoidance, cause: str) -> View:
    """The view in which the job avoids a node from now on, at least so strictly."""
    known = next((n for n in view.status.excluded_nodes if n.name == node), None)
    if known is not None and _GRADES.index(known.avoid) > _GRADES.index(grade):
        grade = known.avoid
    until = rfc3339_millis(view.now + view.obs.settings.exclude_seconds)
    kept = tuple(n for n in view.status.excluded_nodes if n.name != node)
    entry = ExcludedNode(name=node, until=until, cause=cause, avoid=grade)
    return view.with_status(excluded_nodes=_weightiest((*kept, entry)))


def _weightiest(entries: tuple[ExcludedNode, ...]) -> tuple[ExcludedNode, ...]:
    """As many as the status has room for: the least strictly avoided go first, of these the oldest."""
    extra = sorted(range(len(entries)), key=lambda i: (_GRADES.index(entries[i].avoid), i))
    dropped = frozenset(extra[: max(0, len(entries) - MAX_EXCLUDED)])
    return tuple(e for i, e in enumerate(entries) if i not in dropped)


def strikes(status: TrainingJobStatus, node: str) -> int:
    """How often it speaks against a node how kept attempts ended."""
    return sum(1 for a in status.attempts if _strikes(a, node))


def _strikes(attempt: AttemptStatus, node: str) -> bool:
    return bool(node) and ((attempt.node == node and attempt.cause is not None) or node in attempt.slow_nodes)


def slow_nodes(view: View) -> tuple[str, ...]:
    """Nodes of the running attempt whose workers have held up the others for long."""
    return tuple(dict.fromkeys(_slow_nodes(view)))[:MAX_SLOW]


def _slow_nodes(view: View) -> Iterator[str]:
    goodput, nodes = view.obs.status.goodput, nodes_of(view.obs)
    if goodput is None:
        return
    for straggler in goodput.stragglers:
        where, _, worker = straggler.lane.partition("-")
        if view.now - unix(straggler.since, view.now) < SLOW_SECONDS or not (where + worker).isdecimal():
            continue
        index = int(where) * view.roster.workers_per_slice + int(worker)
        if index < min(view.roster.workers, len(nodes)) and nodes[index]:
            yield nodes[index]


def given_up(status: TrainingJobStatus, answer: Granted | Refusal | None) -> frozenset[str]:
    """Nodes of a placement that the next attempt can't use, so that they need not be held for it.

    `answer`: what admission says. If it found no place, then not with the nodes either that are avoided only as long
    as can be.
    """
    if status.attempts and status.attempts[-1].finished_at is None:
        return frozenset()
    refused = isinstance(answer, Refusal) and answer.reason in NO_PLACE
    grades = (Avoidance.ALWAYS, Avoidance.IF_EVER_POSSIBLE) if refused else (Avoidance.ALWAYS,)
    return frozenset(n.name for n in status.excluded_nodes if n.avoid in grades)
