"""Everything a decision about one InferenceService may look at, gathered once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.inference import InferenceServiceSpec
from drumline.api.inference_status import InferenceServiceStatus
from drumline.api.meta import WORKER_PRIORITY_CLASS
from drumline.core.gang.backends.base import Found, Need
from drumline.core.gang.backends.registry import OURS, Choice
from drumline.core.gang.discovery import ObservedDiscovery
from drumline.core.gang.meta import ObjectMeta
from drumline.core.gang.queues import Eviction
from drumline.core.gang.types import Granted, Pod, Refusal, Taint
from drumline.core.inference.signals import Signals


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator's configuration, and the cluster, say to decisions."""

    discovery: str = "Auto"  # Auto EndpointSlice Endpoints
    exclude_seconds: float = 3600.0  # how long a node that failed a group is avoided
    cluster_domain: str = "cluster.local"
    node_loss_seconds: int = 30  # how long a pod stays on a node that is not ready or unreachable
    evacuate_seconds: float = 300.0  # a group on a cordoned node waits so long for another place, then goes
    gateway: bool = False  # HTTPRoute is there
    inference_pool: bool = False  # InferencePool is there
    nowhere: bool = False  # no cluster is known: a grant names no nodes (`drumline plan`)


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a service: what its groups' pods are made from."""

    name: str
    uid: str
    number: int  # 1, 2, …; a rollback gives an old revision a new number
    spec: InferenceServiceSpec  # as it was then


@dataclass(frozen=True, slots=True)
class Child:
    """An object generated for the service, as it stands. `digest`: annotation drumline.dev/digest."""

    uid: str
    digest: str = ""
    ours: bool = True  # its controller is this service, by uid
    owner: str = ""  # for messages; "" = nobody's


@dataclass(frozen=True, slots=True)
class RoleChild:
    """The generated InferenceRole of one role."""

    uid: str
    replicas: int  # spec.replicas, which an autoscaler or a person may have set
    status: Mapping[str, object] = field(default_factory=dict)  # as it stands (wire names)
    generation: int = 0  # grows with each change of its spec


@dataclass(frozen=True, slots=True)
class Observation:
    """One InferenceService and its world at one moment."""

    service: ObjectMeta
    spec: InferenceServiceSpec | None  # with errors: the last one that held, None = there is none
    errors: tuple[FieldError, ...]  # of the spec as it is now
    status: InferenceServiceStatus
    catalog: Catalog
    pods: Mapping[tuple[str, int], tuple[Pod, ...]] = field(
        default_factory=dict
    )  # by (role, group), of every attempt: the controller of each is this service
    revisions: Mapping[str, Revision] = field(default_factory=dict)  # by name
    children: Mapping[str, Child] = field(
        default_factory=dict
    )  # by "services/x"; inferenceroles not among them
    role_children: Mapping[str, RoleChild] = field(default_factory=dict)  # by role
    signals: Signals = field(default_factory=Signals)
    admission: Mapping[str, Granted | Refusal] = field(
        default_factory=dict
    )  # by gang uid; absent = not decided
    queue: str = ""  # that groups wait in which hold nothing, as resolved; "" = none
    queue_refused: Refusal | None = None  # why they are in no queue, though they should be in one: they wait
    evicted: Mapping[str, Eviction] = field(
        default_factory=dict
    )  # by gang uid: groups that hold nodes and are to leave
    backend: Choice = OURS  # who admits attempts that are yet to begin
    backends: Mapping[str, Choice] = field(default_factory=dict)  # by name: those of running attempts
    topology_key: str = ""  # node label of the level of `scheduling.placement`; "" = none
    theirs: tuple[Found, ...] = ()  # what other schedulers and queues have of the groups' attempts
    theirs_known: frozenset[Need] = frozenset()  # of which kinds that is all there is
    theirs_denied: frozenset[Need] = (
        frozenset()
    )  # of which kinds nothing was ever seen: they may not be listed
    discovered: bool = True  # whether the API server has said what it serves
    lost: frozenset[str] = frozenset()  # nodes of groups that are gone or not ready
    cordoned: frozenset[str] = frozenset()  # nodes of groups that are unschedulable: being drained
    tainted: Mapping[str, tuple[Taint, ...]] = field(
        default_factory=dict
    )  # nodes of groups that have taints → those that keep pods off
    priority: int | None = 0  # of the priority class; None = there is no such class
    pod_priority_class: str = WORKER_PRIORITY_CLASS  # what the pods carry
    blocked: Mapping[str, str] = field(default_factory=dict)  # gang uid → a final no to a part of it
    foreign: frozenset[str] = frozenset()  # names we would use that are somebody else's ("services/x")
    refused: Mapping[str, str] = field(
        default_factory=dict
    )  # routes that could not be written last time ("httproutes/x") → why; nothing else waits for them
    withheld: frozenset[str] = frozenset()  # those of them that are not to be tried again yet
    discovery: ObservedDiscovery = field(default_factory=ObservedDiscovery)
    settings: Settings = field(default_factory=Settings)
