"""Why pods fail, as data: rows matched in order against a pod and its node; the first that holds gives the cause.

Every column of a row that is not empty has to hold; a column's entries are alternatives, and one that ends
in ``*`` is a prefix. A column about the node never holds while the node is not known. Infrastructure comes before
the program's own exit, because a node that goes takes its processes with it: their exit codes (137, 143) then
tell nothing. But a container that ran out of memory did so wherever it was.

The rows are facts of Kubernetes 1.36 (DisruptionTarget reasons of the scheduler, the taint manager, the eviction
API, the pod garbage collector and the kubelet; kubelet admission reasons; container states), of GKE (labels and
taints of nodes about to be maintained or taken), of node agents that report devices as conditions, and of Kueue
(`TerminationTarget` reasons of pods that it deletes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from drumline.api.reasons import Cause
from drumline.core.gang.types import Node, Pod, PodPhase

_UNREACHABLE: Final = (
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/out-of-service",
)
_TAKEN_SOON: Final = ("cloud.google.com/impending-node-termination",)
_MAINTAINED: Final = ("cloud.google.com/active-node-maintenance",)
_REMOVALS: Final = ("EvictionByEvictionAPI", "DeletionByTaintManager", "TerminationByKubelet")
IMAGE_WAITS: Final = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
CONFIG_MISSING: Final = "CreateContainerConfigError"  # a Secret, a ConfigMap or a key of one
CONFIG_WAITS: Final = (CONFIG_MISSING, "CreateContainerError", "RunContainerError")
VOLUME_WAITS: Final = ("FailedMount", "FailedAttachVolume")  # events: the status of the pod has nothing
SANDBOX_WAITS: Final = ("FailedCreatePodSandBox",)  # an event of the kubelet
COMMAND_NOT_FOUND: Final = 127  # a shell's exit code


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    cause: Cause
    disruption: tuple[str, ...] = ()  # reason of DisruptionTarget, or of Kueue's TerminationTarget
    reason: tuple[str, ...] = ()  # status.reason
    ended: tuple[str, ...] = ()  # reason of the container that failed first
    codes: tuple[int, ...] = ()  # its exit code
    failed: bool = False  # whether it is not 0
    waiting: tuple[str, ...] = ()  # waiting reason of a container, or of an event (`hindrances`)
    taints: tuple[str, ...] = ()  # key of a taint of the node
    labels: tuple[str, ...] = ()  # label of the node that is there and is not "false"
    conditions: tuple[tuple[str, str, str], ...] = ()  # type, status, reason of a condition of the node
    ready: bool | None = None  # whether the node is ready
    going: bool = False  # somebody deletes it before it ended


_TAKEN_BY_KUEUE: Final = ("WorkloadEvicted*", "NotAdmitted", "NoMatchingWorkload")


TABLE: Final = (
    Row(Cause.NODE_LOST, disruption=("WorkloadEvictedDueToNodeFailures",)),
    Row(Cause.PREEMPTED, disruption=("PreemptionByScheduler", *_TAKEN_BY_KUEUE)),
    Row(Cause.DEVICE_FAULT, disruption=("DeletionByDeviceTaintManager",)),
    Row(Cause.MAINTENANCE, disruption=_REMOVALS, taints=_TAKEN_SOON),
    Row(Cause.MAINTENANCE, disruption=_REMOVALS, labels=_MAINTAINED),
    Row(Cause.NODE_LOST, disruption=("DeletionByTaintManager",), taints=_UNREACHABLE),
    Row(Cause.EVICTED, disruption=("DeletionByTaintManager",), ready=True),
    Row(Cause.NODE_LOST, disruption=("DeletionByTaintManager", "DeletionByPodGC")),
    Row(Cause.EVICTED, disruption=("EvictionByEvictionAPI", "WorkloadDeleted")),
    Row(Cause.MAINTENANCE, reason=("NodeShutdown", "Shutdown", "Terminated")),
    Row(Cause.EVICTED, reason=("Evicted", "Preempting"), disruption=("TerminationByKubelet",)),
    Row(Cause.APPLICATION_EXIT, reason=("Evicted",)),  # no disruption: it went over a limit of its own
    Row(Cause.MAINTENANCE, disruption=("TerminationByKubelet",)),
    Row(Cause.NODE_LOST, reason=("NodeLost",)),
    Row(
        Cause.PLACEMENT_RACE,
        reason=("OutOf*", "UnexpectedAdmissionError", "NodeAffinity", "NodePorts", "PodOSNotSupported"),
    ),
    Row(Cause.OUT_OF_MEMORY, ended=("OOMKilled",)),
    Row(Cause.CONFIG_ERROR, ended=("ContainerCannotRun", "StartError")),
    Row(Cause.DEVICE_FAULT, failed=True, conditions=(("AcceleratedHardwareReady", "False", "NvidiaXID*"),)),
    Row(Cause.MAINTENANCE, failed=True, taints=_TAKEN_SOON),
    Row(Cause.MAINTENANCE, codes=(137, 143), labels=_MAINTAINED),
    Row(Cause.CONFIG_ERROR, codes=(COMMAND_NOT_FOUND,)),
    Row(Cause.APPLICATION_EXIT, failed=True),
    Row(Cause.IMAGE_ERROR, waiting=IMAGE_WAITS),
    Row(Cause.CONFIG_ERROR, waiting=CONFIG_WAITS),
    Row(Cause.CONFIG_ERROR, waiting=VOLUME_WAITS),
    Row(Cause.PLACEMENT_RACE, waiting=SANDBOX_WAITS),
    Row(Cause.MAINTENANCE, going=True, taints=_TAKEN_SOON),
    Row(Cause.NODE_LOST, going=True, ready=False),
)


def holds(row: Row, pod: Pod, node: Node | None) -> bool:
    """Whether a row says why this pod failed."""
    end = pod.termination
    return (
        _is(row.disruption, pod.disruption)
        and _is(row.reason, pod.reason)
        and _is(row.ended, end.reason if end is not None else "")
        and (not row.codes or (end is not None and end.exit_code in row.codes))
        and (not row.failed or (end is not None and end.exit_code != 0))
        and _is(row.waiting, pod.waiting)
        and (not row.going or (pod.deleting and pod.phase is not PodPhase.FAILED))
        and _on_node(row, node)
    )


def _on_node(row: Row, node: Node | None) -> bool:
    if not (row.taints or row.labels or row.conditions or row.ready is not None):
        return True
    if node is None:
        return False
    return (
        (not row.taints or any(t.key in row.taints for t in node.taints))
        and (not row.labels or any(node.labels.get(k, "false").lower() != "false" for k in row.labels))
        and (not row.conditions or any(_has(node, *wanted) for wanted in row.conditions))
        and (row.ready is None or row.ready is node.ready)
    )


def _has(node: Node, kind: str, status: str, reason: str) -> bool:
    return any(c.type == kind and c.status == status and _is((reason,), c.reason) for c in node.conditions)


def _is(wanted: tuple[str, ...], found: str) -> bool:
    """Whether a column holds."""
    if not wanted:
        return True
    return any(found.startswith(w[:-1]) if w.endswith("*") else found == w for w in wanted)
