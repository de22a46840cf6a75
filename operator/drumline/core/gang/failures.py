"""Why a pod failed: exactly one cause, from an ordered table of facts about the pod.

The first row that holds decides. Infrastructure comes before the program's own exit, because a node that
goes takes its processes with it: their exit codes (137, 143) then tell nothing. The rows are facts of
Kubernetes 1.36: DisruptionTarget reasons of the scheduler, the taint manager, the eviction API, the pod
garbage collector and the kubelet; kubelet admission reasons; container states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from drumline.api.reasons import Cause
from drumline.core.gang.types import Pod, PodPhase

_DISRUPTIONS: Final = {
    "PreemptionByScheduler": Cause.PREEMPTED,
    "DeletionByTaintManager": Cause.NODE_LOST,
    "DeletionByDeviceTaintManager": Cause.DEVICE_FAULT,
    "EvictionByEvictionAPI": Cause.EVICTED,
    "DeletionByPodGC": Cause.NODE_LOST,
}
_KUBELET_REFUSALS: Final = frozenset(
    {"UnexpectedAdmissionError", "NodeAffinity", "NodePorts", "PodOSNotSupported"}
)
_SHUTDOWNS: Final = frozenset({"NodeShutdown", "Shutdown", "Terminated"})
_CONFIG_WAITS: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_CONFIG_ENDS: Final = frozenset({"ContainerCannotRun", "StartError"})
_IMAGE_WAITS: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})

Row = tuple[Callable[[Pod], bool], Cause]

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


def _kubelet_terminated(pod: Pod) -> bool:
    return pod.disruption == "TerminationByKubelet" and pod.reason != "Evicted"


def _lost_race(pod: Pod) -> bool:
    return pod.reason.startswith("OutOf") or pod.reason in _KUBELET_REFUSALS


def _out_of_memory(pod: Pod) -> bool:
    return pod.termination is not None and pod.termination.reason == "OOMKilled"


def _exited(pod: Pod) -> bool:
    return pod.termination is not None and pod.termination.exit_code != 0


_TABLE: Final[tuple[Row, ...]] = (
    *((lambda p, r=r: p.disruption == r, c) for r, c in _DISRUPTIONS.items()),
    (lambda p: p.reason in _SHUTDOWNS or _kubelet_terminated(p), Cause.MAINTENANCE),
    (lambda p: p.reason == "Evicted", Cause.EVICTED),
    (lambda p: p.reason == "NodeLost", Cause.NODE_LOST),
    (_lost_race, Cause.PLACEMENT_RACE),
    (_out_of_memory, Cause.OUT_OF_MEMORY),
    (lambda p: p.termination is not None and p.termination.reason in _CONFIG_ENDS, Cause.CONFIG_ERROR),
    (_exited, Cause.APPLICATION_EXIT),
    (lambda p: p.waiting in _IMAGE_WAITS, Cause.IMAGE_ERROR),
    (lambda p: p.waiting in _CONFIG_WAITS, Cause.CONFIG_ERROR),
)


def cause_of(pod: Pod) -> Cause:
    """The one cause of a pod that failed or is being deleted by others."""
    return next((cause for holds, cause in _TABLE if holds(pod)), Cause.UNKNOWN)


def describe(pod: Pod) -> str:
    """One sentence on what happened to a pod that failed."""
    cause, where = cause_of(pod).value, f" on node {pod.node}" if pod.node else ""
    if pod.termination is not None and pod.termination.exit_code:
        end = pod.termination
        why = f" ({end.reason})" if end.reason and end.reason != "Error" else ""
        code = f"exited with {end.exit_code}{why}"
        return f"{cause}: container {end.container} of pod {pod.name}{where} {code}"
    detail = pod.disruption or pod.reason or ("deleted" if pod.deleting else "failed")
    return f"{cause}: pod {pod.name}{where}: {detail}"


def first_failure(pods: Sequence[Pod]) -> Pod:
    """The pod that failed first; the others fell because of it. ValueError when there is none.

    A pod that infrastructure took counts before programs that ended with an error: when one rank is lost,
    its peers' collectives fail within the second, often before the lost one is reported. Among equals the
    earliest end counts, then the lowest place in the gang.
    """
    if not pods:
        raise ValueError("no pod failed")
    return min(pods, key=_order)


def _order(pod: Pod) -> tuple[bool, bool, float, tuple[int, int], str]:
    exited = cause_of(pod) in (Cause.APPLICATION_EXIT, Cause.UNKNOWN)
    ended = pod.termination.finished_at if pod.termination is not None else 0.0
    place = (pod.member.slice, pod.member.worker) if pod.member is not None else (0, 0)
    return (
        exited,
        pod.phase is not PodPhase.FAILED and not pod.disruption,
        ended or float("inf"),
        place,
        pod.name,
    )
