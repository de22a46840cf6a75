"""Everything a decision about one TrainingJob may look at, gathered once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.meta import WORKER_PRIORITY_CLASS
from drumline.api.shape import GangShape
from drumline.api.status import TrainingJobStatus
from drumline.api.training import TrainingJobSpec
from drumline.core.gang.backends.base import Found, Need
from drumline.core.gang.backends.registry import OURS, Choice
from drumline.core.gang.crew import Process
from drumline.core.gang.departures import Departure
from drumline.core.gang.discovery import ObservedDiscovery
from drumline.core.gang.ledger.pulse import Pulse
from drumline.core.gang.meta import ObjectMeta
from drumline.core.gang.queues import Eviction
from drumline.core.gang.types import Granted, Node, Placement, Pod, Refusal
from drumline.core.training.members import Roster
from drumline.core.training.provisioned import NOTHING, Provisioner

__all__ = ["Granted", "JobMeta", "Observation", "Settings"]


JobMeta = ObjectMeta


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator's configuration says to decisions."""

    discovery: str = "Auto"  # Auto EndpointSlice Endpoints
    head_wait_seconds: float = 300.0  # backfill until the head of the queue has waited this long
    aging_seconds: float = 86_400.0  # after so long no priority goes before a gang; 0 = never
    exclude_seconds: float = 3600.0  # how long a node that failed a gang is avoided
    cluster_domain: str = "cluster.local"
    node_loss_seconds: int = 30  # how long a pod stays on a node that is not ready or unreachable
    survivor_grace_seconds: float = 30.0  # what still runs after success gets this long
    creates_per_plan: int = 2000  # so that one big gang never blinds its own reconciliation for long
    report_url: str = ""  # where workers report to; "" = nowhere
    launcher_image: str = ""  # where the launcher comes from; "" = nowhere
    image_volumes: bool = True  # whether the API server takes image volumes, by which spares pull images
    container_restarts: bool = (
        False  # whether the API server keeps rules by which a container is restarted in its pod
    )
    launcher_silence_seconds: float = 30.0  # a launcher that has said nothing for so long does not run


@dataclass(frozen=True, slots=True)
class Observation:
    """One TrainingJob and its world at one moment."""

    job: JobMeta
    spec: TrainingJobSpec | None  # None = it does not parse or validate; see errors
    errors: tuple[FieldError, ...]
    shape: GangShape | None  # None exactly when spec is
    roster: Roster | None  # None exactly when spec is
    status: TrainingJobStatus
    catalog: Catalog
    pods: Mapping[str, Pod]  # by name: every pod whose controller is this job, and ended ones just deleted
    unhealthy: frozenset[str] = frozenset()  # nodes of the placement that are gone, not ready or cordoned
    nodes: Mapping[str, Node] = field(
        default_factory=dict
    )  # by name, where they are: of pods that failed or are deleted, and of all when an attempt may begin
    priority: int | None = 0  # of the job's priority class; None = there is no such class
    pod_priority_class: str = WORKER_PRIORITY_CLASS  # what the pods carry
    blocked: str = ""  # the API server's last word on creating this attempt's pods, when it was a final no
    created_attempt: int = -1  # the attempt whose pods were all created, though the status may not say so yet
    spares_refused: str = ""  # the API server's last word on creating a spare's pod, when it was a final no
    late_refused: tuple[str, float] = (
        "",
        0.0,
    )  # … a pod's that comes later (`dependsOn`), and when it said so
    foreign: frozenset[str] = (
        frozenset()
    )  # names we would use that are somebody else's ("service/x", "pod/y")
    crew: Mapping[int, Process] = field(
        default_factory=dict
    )  # by pod index: what the launchers of this attempt say of their processes; none of theirs is here else
    crew_since: float = (
        0.0  # since when launchers are heard, Unix seconds: who is not in `crew` may not have asked yet
    )
    pulse: Pulse | None = None  # what the ledger says of steps; None = it knows of none
    departing: Mapping[str, Departure] = field(
        default_factory=dict
    )  # all nodes that say they are about to go
    placement: Placement | None = None  # decoded from the revision that status.placement names
    bound: Mapping[int, str] = field(
        default_factory=dict
    )  # by pod index, of places pinned to no node: where the running attempt's pod is, or was last, bound
    revisions: Mapping[str, str] = field(default_factory=dict)  # name → uid of this job's ControllerRevisions
    discovery: ObservedDiscovery = field(default_factory=ObservedDiscovery)
    admission: Granted | Refusal | None = None  # None = not decided yet
    queue: str = ""  # that the job waits in, as resolved; "" = none
    queue_refused: Refusal | None = None  # why it is in no queue, though it should be in one: it waits
    backend: Choice = OURS  # who admits the running attempt; where none runs, the next one
    topology_key: str = ""  # node label of the level that the gang's placement names; "" = it names none
    provisioner: Provisioner = NOTHING  # of a job that asks for nodes by requests, or has asked
    groups: tuple[Found, ...] = ()  # what backends have of the job's attempts
    groups_known: frozenset[Need] = frozenset()  # kinds of which `groups` has all that there is
    queue_max_run_seconds: int | None = None  # of the queue that the running attempt was admitted by
    evicted: Eviction | None = None  # admission wants the running gang to leave
    wanted: int = (
        0  # slices that are asked for, where the attempt has another number (see `elastic`); 0 = as spec
    )
    room: int = 0  # slices that an elastic gang with fewer than it wants could have now; 0 = not known
    checkpoint_at: float | None = (
        None  # when the latest checkpoint became durable, Unix seconds; None = none known
    )
    settings: Settings = field(default_factory=Settings)
