"""The life of a group in the status: queued, begun, ended, finished.

    new ─→ WAITING ─→ STARTING ⇄ SERVING ─→ DRAINING ─→ finished ─→ entry gone
              ↑            └───────┴──→ BACKOFF ─→ STARTING (same nodes) or WAITING (another place)
              └── FAILED ←─────────────────┘ budget spent

An attempt is under way (`live`) while the group has nodes, is STARTING, SERVING or DRAINING, and has `startedAt`: a
group that is drained while it rests after a failure has none. In BACKOFF, and WAITING after a node was lost, the
nodes are still held. A group that is to go ends with `finish`: draining, with no nodes; its pods are deleted by the
policy `retire`, and its entry goes after the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from drumline.api.inference_status import GroupPhase, GroupStatus
from drumline.api.meta import IN_SERVICE
from drumline.api.reasons import Cause, DrainReason
from drumline.api.status import RestartCount
from drumline.core.gang.clock import rfc3339, rfc3339_millis, unix
from drumline.core.gang.plan import Delete, Patch
from drumline.core.gang.types import Pod
from drumline.core.inference.view import View

_LIVE: Final = frozenset({GroupPhase.STARTING, GroupPhase.SERVING, GroupPhase.DRAINING})
MAX_EXCLUDED: Final = 16
BLIP_SECONDS: Final = 30.0  # three failures of a probe of ten seconds


def every(view: View) -> list[tuple[str, GroupStatus]]:
    """Each group with its role's name, as the status has them now."""
    return [(role.name, group) for role in view.status.roles for group in role.groups]


def live(group: GroupStatus) -> bool:
    """Whether an attempt is under way: begun, and neither ended nor given up."""
    return bool(group.nodes) and group.phase in _LIVE and group.started_at is not None


def blip_left(group: GroupStatus, now: float) -> float:
    """Seconds that a group which does not answer any more may still take to come back; 0 = none, or it never did."""
    if group.unready_since is None:
        return 0.0
    return max(0.0, BLIP_SECONDS - (now - unix(group.unready_since, now)))


def finished(group: GroupStatus) -> bool:
    """Whether nothing is left of the group but pods to delete and its entry."""
    return group.draining_since is not None and not group.nodes


def begun(group: GroupStatus, nodes: tuple[str, ...], now: float) -> GroupStatus:
    """The group with its next attempt under way on these nodes."""
    return group.model_copy(
        update={
            "attempt": group.attempt + 1,
            "phase": GroupPhase.STARTING,
            "nodes": nodes,
            "created": False,
            "queued_at": None,
            "started_at": rfc3339_millis(now),
            "ready_at": None,
            "unready_since": None,
            "next_attempt_at": None,
            "message": None,
        }
    )


def ended(group: GroupStatus, cause: Cause, message: str, **changes: object) -> GroupStatus:
    """The group with its attempt over; `changes` say what follows."""
    over = {
        "created": False,
        "started_at": None,
        "ready_at": None,
        "unready_since": None,
        "cause": cause.value,
        "message": message,
    }
    return group.model_copy(update={**over, **changes})


def finish(view: View, role: str, group: GroupStatus, reason: DrainReason = DrainReason.FINISHED) -> View:
    """The group at its end: on record before its pods are deleted, and never to be served by again."""
    over = {
        "phase": GroupPhase.DRAINING,
        "nodes": (),
        "created": False,
        "unready_since": None,
        "draining_since": group.draining_since or rfc3339_millis(view.now),
        "drain_reason": group.drain_reason or reason.value,
    }
    return view.put(role, group.model_copy(update=over)).first()


def excluding(group: GroupStatus, nodes: Iterable[str]) -> tuple[str, ...]:
    """The nodes that the group avoids, with these among them; the oldest go when they become too many."""
    new = sorted({node for node in nodes if node})
    return (*(n for n in group.excluded if n not in new), *new)[-MAX_EXCLUDED:]


def count_restart(view: View, cause: Cause) -> View:
    """One more restart of that cause in the service's counters."""
    counts = {r.cause: r.count for r in view.status.restarts}
    counts[cause.value] = counts.get(cause.value, 0) + 1
    return view.with_status(restarts=tuple(RestartCount(cause=c, count=n) for c, n in sorted(counts.items())))


def gate(leader: Pod, open_: bool, now: float, message: str) -> Patch:
    """Let the leader into service, or take it out: its pod is Ready, and in every Service, only while open."""
    condition = {
        "type": IN_SERVICE,
        "status": "True" if open_ else "False",
        "reason": "InService" if open_ else "OutOfService",
        "message": message,
        "lastTransitionTime": rfc3339(now),
    }
    body = {"status": {"conditions": [condition]}}
    return Patch("pods", leader.namespace, leader.name, leader.uid, body, "status")


def deletions(pods: Iterable[Pod], grace_seconds: int | None = None) -> tuple[Delete, ...]:
    """Deletes of the pods that nobody is deleting yet; None = each with its own grace."""
    return tuple(Delete("pods", p.namespace, p.name, p.uid, grace_seconds) for p in pods if not p.deleting)
