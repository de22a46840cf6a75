"""Why a pod failed: exactly one cause, by the table of `failure_table`; and which pod failed first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from drumline.api.reasons import Cause
from drumline.core.gang.failure_table import TABLE, holds
from drumline.core.gang.types import EMPTY, Node, Pod, PodPhase

# Causes that speak of the infrastructure, not of the program: rate-limited but not counted.
INFRASTRUCTURE: Final = frozenset(
    {
        Cause.NODE_LOST,
        Cause.PREEMPTED,
        Cause.EVICTED,
        Cause.MAINTENANCE,
        Cause.DEVICE_FAULT,
        Cause.PLACEMENT_RACE,
    }
)


def cause_of(pod: Pod, node: Node | None = None) -> Cause:
    """The one cause of a pod that failed or is being deleted by others. `node`: its node, where it is known."""
    return next((row.cause for row in TABLE if holds(row, pod, node)), Cause.UNKNOWN)


def describe(pod: Pod, node: Node | None = None) -> str:
    """One sentence on what happened to a pod that failed."""
    cause, where = cause_of(pod, node).value, f" on node {pod.node}" if pod.node else ""
    if pod.termination is not None and pod.termination.exit_code:
        end = pod.termination
        why = f" ({end.reason})" if end.reason and end.reason != "Error" else ""
        code = f"exited with {end.exit_code}{why}"
        return f"{cause}: container {end.container} of pod {pod.name}{where} {code}"
    waits = f"{pod.waiting}: {pod.waiting_message}" if pod.waiting else ""
    said = f"{pod.reason}: {pod.message}" if pod.reason and pod.message else pod.reason
    detail = said or pod.disruption or waits or ("deleted" if pod.deleting else "failed")
    return f"{cause}: pod {pod.name}{where}: {detail}"


def first_failure(pods: Sequence[Pod], nodes: Mapping[str, Node] = EMPTY) -> Pod:
    """The pod that failed first; the others fell because of it. ValueError when there is none.

    A pod that infrastructure took counts before programs that ended with an error: when one rank is lost,
    its peers' collectives fail within the second, often before the lost one is reported. Among equals the
    earliest end counts, then the lowest place in the gang. `nodes`: those that are known, by name.
    """
    if not pods:
        raise ValueError("no pod failed")
    return min(pods, key=lambda pod: _order(pod, nodes.get(pod.node)))


def _order(pod: Pod, node: Node | None) -> tuple[bool, bool, float, tuple[int, int], str]:
    exited = cause_of(pod, node) in (Cause.APPLICATION_EXIT, Cause.UNKNOWN)
    ended = pod.termination.finished_at if pod.termination is not None else 0.0
    place = (pod.member.slice, pod.member.worker) if pod.member is not None else (0, 0)
    return (
        exited,
        pod.phase is not PodPhase.FAILED and not pod.disruption,
        ended or float("inf"),
        place,
        pod.name,
    )
