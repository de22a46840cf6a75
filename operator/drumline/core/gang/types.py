"""The observed world and what a gang asks of it: frozen values, no behaviour worth a test of its own.

Quantities are integers in canonical units: ``cpu`` in millicores, ``memory``, ``ephemeral-storage`` and
``hugepages-*`` in bytes, every other resource as a count. Times are seconds of one clock (Unix time in
the operator, anything monotone in tests).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

EMPTY: Mapping[str, Any] = MappingProxyType({})

Resources = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Taint:
    """A node's taint."""

    key: str
    value: str
    effect: str  # NoSchedule PreferNoSchedule NoExecute


@dataclass(frozen=True, slots=True)
class Toleration:
    """A pod's toleration; an empty key with operator Exists tolerates everything."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""  # empty = every effect
    seconds: float | None = None  # how long a NoExecute taint is borne; None = for ever


@dataclass(frozen=True, slots=True)
class NodeCondition:
    """A condition of a node, without its times: equal ones are shared by all nodes."""

    type: str
    status: str  # True False Unknown
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """What placement, and the causes of failures, need of a v1.Node."""

    name: str
    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    taints: tuple[Taint, ...] = ()
    allocatable: Resources = field(default_factory=lambda: EMPTY)  # includes "pods"
    unschedulable: bool = False
    ready: bool = True
    conditions: tuple[NodeCondition, ...] = ()
    unready_since: float = 0.0  # when its condition Ready ceased to be True; 0 while it is
    accelerator_watts: float = (
        0.0  # of one accelerator at full load, by the node's annotation; 0 = it has none
    )


@dataclass(frozen=True, slots=True)
class Requirement:
    """One expression of a node selector term. `field` is true for matchFields (metadata.name)."""

    key: str
    operator: str  # In NotIn Exists DoesNotExist Gt Lt
    values: tuple[str, ...] = ()
    is_field: bool = False


@dataclass(frozen=True, slots=True)
class PodShape:
    """What placement must know of a pod before it exists. Equal shapes are interchangeable."""

    requests: tuple[tuple[str, int], ...]  # effective requests, sorted by name; "pods": 1 included
    node_selector: tuple[tuple[str, str], ...] = ()
    affinity: tuple[tuple[Requirement, ...], ...] = ()  # required node affinity: terms ORed, () = any node
    tolerations: tuple[Toleration, ...] = ()
    host_ports: tuple[tuple[str, str, int], ...] = ()  # (hostIP or "0.0.0.0", protocol, port)
    unmodelled: tuple[str, ...] = ()  # names of fields placement does not model, e.g. "affinity.podAffinity"
    claims: tuple[str, ...] = ()  # ResourceClaimTemplates, one for each claim of the pod
    draws: tuple[tuple[str, int], ...] = ()  # accelerators that claims bring: charged, for power alone


@dataclass(frozen=True, slots=True)
class Repulsion:
    """A required anti-affinity term of a pod, which keeps pods that it matches off the pod's node."""

    namespaces: tuple[str, ...]  # ("*",) = every one
    selector: tuple[Requirement, ...]  # on labels, ANDed; () = every pod


class PodPhase(StrEnum):
    """v1 pod phases."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Termination:
    """How the first container that failed (else the first that ended) ended."""

    container: str
    exit_code: int
    reason: str = ""
    message: str = ""
    finished_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Charge:
    """What a pod, or a gang, counts for in an AcceleratorQueue."""

    queue: str
    accelerator: str  # key of the catalogue
    chips: int


@dataclass(frozen=True, slots=True)
class Member:
    """Which place of which gang a pod fills, read from its labels. Workers of a job: role "worker".

    In an InferenceService `job` is the service, `role` its role and `slice` the group's number.
    """

    job: str
    job_uid: str  # controller owner reference's uid, never a label's word
    attempt: int
    role: str  # "worker" or a helper's name
    slice: int  # 0 for helpers
    worker: int  # index in the slice, or the helper's replica
    group: bool = False  # of an InferenceService, where each group is a gang of its own
    charge: Charge | None = None  # None: it counts in no queue, or does not say so

    @property
    def gang(self) -> str:
        """What admission and the capacity know its gang by: the owner's uid, or one of the group's own."""
        return f"{self.job_uid}/{self.role}/{self.slice}" if self.group else self.job_uid


@dataclass(frozen=True, slots=True)
class PodTimes:
    """When a pod came how far, by its own word: Unix seconds, whole ones as a rule; 0 = not yet."""

    prepared_at: float = 0.0  # sandbox up and init containers done: images are pulled from here on
    started_at: float = 0.0  # the last main container started
    ready_at: float = 0.0  # condition Ready became True
    ended_at: float = 0.0  # the last main container ended
    deleted_at: float = 0.0  # its deletion was asked for


NO_TIMES = PodTimes()


@dataclass(frozen=True, slots=True)
class Pod:
    """What decisions need of a v1.Pod."""

    namespace: str
    name: str
    uid: str
    requests: tuple[tuple[str, int], ...] = ()  # effective, interned; "pods": 1 included
    node: str = ""  # spec.nodeName, else status.nominatedNodeName, else where a DaemonSet wants it
    bound: bool = False  # spec.nodeName is set
    host_ports: tuple[tuple[str, str, int], ...] = ()
    phase: PodPhase = PodPhase.PENDING
    ready: bool = False
    able: bool = False  # its containers are ready, whatever its readiness gates say
    in_service: bool | None = None  # condition of the gate drumline.dev/in-service; None = never set
    deleting: bool = False  # deletionTimestamp is set
    deleting_until: float = 0.0  # when its termination grace is over; 0 when not deleting
    forced: bool = False  # its deletion has no grace left: only a finalizer still keeps it
    created_at: float = 0.0
    bound_at: float = 0.0  # PodScheduled=True transition, 0 when not bound
    rejected: str = ""  # message of PodScheduled=False/Unschedulable, "" when the scheduler has not said no
    waiting: str = ""  # waiting reason of a container: ImagePullBackOff, CreateContainerConfigError, …
    waiting_message: str = ""
    unprepared: bool = False  # bound, and the kubelet has no sandbox for it yet
    reason: str = ""  # status.reason: Evicted, NodeLost, OutOfcpu, UnexpectedAdmissionError, …
    message: str = ""
    disruption: str = ""  # reason of condition DisruptionTarget=True, or of Kueue's TerminationTarget=True
    termination: Termination | None = None
    restarted: Termination | None = None  # how a container had ended that was then started again in its pod
    ips: tuple[str, ...] = ()
    member: Member | None = None  # None: not a pod of ours
    times: PodTimes = NO_TIMES  # of our pods only
    repels: tuple[Repulsion, ...] = ()  # what it keeps off its node

    @property
    def terminal(self) -> bool:
        """Succeeded or Failed: holds no resources any more."""
        return self.phase in (PodPhase.SUCCEEDED, PodPhase.FAILED)


class PlacementPolicy(StrEnum):
    """How strictly a gang keeps to one topology domain."""

    REQUIRED = "Required"
    PREFERRED = "Preferred"
    UNCONSTRAINED = "Unconstrained"


@dataclass(frozen=True, slots=True)
class PodGroupRequest:
    """`count` pods of one shape. The workers of a gang are one group; each helper is another."""

    role: str
    count: int
    shape: PodShape


@dataclass(frozen=True, slots=True)
class GangRequest:
    """A whole gang waiting for admission: all of it is placed, or nothing."""

    uid: str  # of the owner (job)
    namespace: str
    name: str
    priority: int
    queued_at: float  # when it (last) joined the queue
    slices: int
    workers_per_slice: int
    worker: PodShape
    helpers: tuple[PodGroupRequest, ...] = ()
    policy: PlacementPolicy = PlacementPolicy.UNCONSTRAINED
    level: str = ""  # a topology level's name ("block", "subblock", "host", "nodepool", …)
    accelerator: str = ""  # key of the catalogue, for messages and metrics
    chips_per_worker: int = 0
    chips_claim: str = ""  # the ResourceClaimTemplate that brings them; "" = the extended resource does
    atomic_pool: bool = False  # TPU multi-host: a slice takes exactly one whole node pool
    excluded: frozenset[str] = frozenset()  # nodes not to use, since they failed it
    if_possible: tuple[str, ...] = ()  # of these, those it may use when nothing else is free; see `leniency`
    if_ever_possible: tuple[str, ...] = ()  # … when nothing else could ever hold it; the first ones first
    repelled: frozenset[str] = frozenset()  # nodes not to use, since pods there keep it off
    labels: tuple[Mapping[str, str], ...] = ()  # of each role's pods, workers first
    preferred_nodes: Mapping[int, str] = field(default_factory=dict)  # pod index → node of the last attempt
    queue: str = ""  # the AcceleratorQueue that it waits in; "" = none, no quota
    near: tuple[str, ...] = ()  # nodes of others that it would like to share a domain with …
    near_level: str = ""  # … of this level
    min_slices: int = 0  # an elastic gang begins with as few of its slices; 0 = with all or none …
    patient_until: float = 0.0  # … but waits for all of them until then
    spares: int = (
        0  # workers' places, of an atomic_pool gang pools, to hold beside it as far as there is room
    )
    group_workers: int = 1  # so many workers, one after the other, belong into one scale-up domain …
    group_level: str = ""  # … which is one of this level; "" = of the level that is marked as scale-up
    group_required: bool = True  # False: only if possible
    stays: bool = False  # it asks for spares only: a placement that moves the gang itself is of no use
    unpinned: bool = False  # where its pods go is not ours to say: it needs no room, and gets no nodes
    aged: bool = False  # it has waited so long that no priority goes before it any more

    @property
    def claims(self) -> bool:
        """Whether pods have claims that are to be counted as resources, and are not yet."""
        return not self.unpinned and any(s.claims for s in (self.worker, *(h.shape for h in self.helpers)))

    @property
    def workers(self) -> int:
        """Worker pods in all."""
        return self.slices * self.workers_per_slice

    @property
    def spare_size(self) -> int:
        """Places of one spare."""
        return self.workers_per_slice if self.atomic_pool else 1

    @property
    def avoided(self) -> frozenset[str]:
        """Nodes not to use, for whatever reason."""
        return self.excluded | self.repelled

    def moved_by(self, placement: Placement) -> bool:
        """Whether any of the gang would be elsewhere than it was."""
        places = enumerate(placement.nodes[: self.pods])
        return any(self.preferred_nodes.get(index) != node for index, node in places)

    @property
    def pods(self) -> int:
        """Pods in all, helpers included."""
        return self.workers + sum(h.count for h in self.helpers)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where each pod of a gang goes.

    Index ``slice * workers_per_slice + worker`` for workers, then the helpers in their order, then spare places
    (see `spares`). A worker's index is its global rank of pod: ranks follow the topology (neighbours in rank are
    near each other). "" = the pod is pinned to no node: whoever schedules it says where it goes.
    """

    nodes: tuple[str, ...]

    @property
    def unpinned(self) -> bool:
        """Whether there are pods in it that are pinned to no node."""
        return "" in self.nodes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a gang can't be placed now. `reason` is one of `drumline.api.reasons.Reason`."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Granted:
    """Admission's yes: capacity for this placement is reserved in memory for this gang."""

    placement: Placement
    slices: int = 0  # of an elastic gang; 0 = as many as it asked for
    queue: str = ""  # whose quota it was given from; "" = none, since there was none when it asked
