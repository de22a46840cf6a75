"""What InferenceServices consist of, mirrored beside what TrainingJobs share with them (`world`).

Pods, nodes, Services, revisions and slices are the shared mirror's; this one adds the kinds that only services
have, and wakes a service when something of its own changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from drumline.api.catalog import Catalog
from drumline.api.inference_status import InferenceServiceStatus
from drumline.api.meta import INFERENCE_ROLES, INFERENCE_SERVICES
from drumline.core.gang.discovery import Published
from drumline.core.gang.meta import ObjectMeta
from drumline.core.gang.types import Pod
from drumline.core.inference import names
from drumline.core.inference.observation import Revision
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.records import OwnedRecord, SliceRecord, read_owned
from drumline.runtime.reflector import Reflector
from drumline.runtime.service_kinds import Kinds
from drumline.runtime.service_records import RoleRecord, ServiceReader, ServiceRecord, read_role
from drumline.runtime.store import Store
from drumline.runtime.world import Neighbour, World, is_urgent, ours

Key = tuple[str, str]

REQUIRED: Final = (INFERENCE_ROLES, "poddisruptionbudgets", INFERENCE_SERVICES)
GATEWAY: Final = ("httproutes", "inferencepools")
CHILDREN: Final = ("services", "poddisruptionbudgets", *GATEWAY)  # applied by digest


@dataclass(slots=True)
class Awaited:
    """A write that the mirror does not show yet. `digest` None = only that the object is there."""

    until: float  # monotonic seconds
    digest: str | None = None
    gone: str = ""  # uid that is to be gone


@dataclass(frozen=True, slots=True)
class Refused:
    """A route that could not be written."""

    why: str
    pause: float  # seconds before it is tried again
    until: float  # Unix seconds: then

    def due(self, now: float) -> bool:
        """Whether it is time to try again."""
        return now >= self.until


@dataclass(slots=True)
class ServiceMemory:
    """What the operator remembers of one service beyond what the API shows. Lost at a restart, and not missed."""

    asked: set[str] = field(default_factory=set)  # gangs in the admission queue
    decided: InferenceServiceStatus | None = None  # as it was last decided, which the mirror may not show yet
    counted: set[str] = field(default_factory=set)  # gangs that count in a queue
    held: dict[str, tuple[str, ...]] = field(default_factory=dict)  # gang → nodes reserved in memory
    blocked: dict[str, tuple[int, str]] = field(default_factory=dict)  # gang → attempt, a final no
    refused: dict[str, Refused] = field(default_factory=dict)  # by route, "httproutes/x"
    foreign: dict[str, float] = field(default_factory=dict)  # "services/x" → when it was looked at
    awaited: dict[str, Awaited] = field(default_factory=dict)  # by "services/x"
    revisions: dict[tuple[str, int], Revision | None] = field(default_factory=dict)  # by uid and number
    published: dict[str, Published] = field(default_factory=dict)  # slices written, not yet seen
    peers: bool = False  # the headless Service was written, not yet seen
    last_published_at: float = 0.0
    conflicts: int = 0  # in a row


class Listener(Protocol):
    """Who is told what changed."""

    def service_changed(self, key: Key, *, urgent: bool) -> None:
        """A service should be looked at; an urgent one at once."""

    def service_gone(self, uid: str) -> None:
        """A service was deleted."""


class ServiceWorld(Neighbour):
    """The mirrored services. `shared` tells it what changed among the kinds it shares."""

    def __init__(
        self, client: Client, shared: World, catalog: Catalog, listener: Listener, namespace: str = ""
    ) -> None:
        self.shared = shared
        self.memory: dict[str, ServiceMemory] = {}  # by uid
        self.keys: dict[str, Key] = {}  # uid → key
        self._listener = listener
        self._reader = ServiceReader(catalog)
        self.records = Reflector(
            client,
            resource_path(INFERENCE_SERVICES, namespace),
            self._reader.read,
            self._on_record,
            store=Store[ServiceRecord](),
        )
        roles: Store[RoleRecord] = Store({"owner": lambda r: r.owner or None})
        self.roles = Reflector(
            client, resource_path(INFERENCE_ROLES, namespace), read_role, self._on_role, store=roles
        )
        self.children = {
            resource: ours(client, resource, namespace, read_owned, self._on_child(resource))
            for resource in ("poddisruptionbudgets", *GATEWAY)
        }
        shared.neighbour = self

    def kinds(self, client: Client, *, gateway: bool) -> Kinds:
        """The mirrors beside the shared ones; `gateway`: those of the Gateway API too, where there is one."""
        mirrors: dict[str, Reflector[Any]] = {
            INFERENCE_ROLES: self.roles,
            "poddisruptionbudgets": self.children["poddisruptionbudgets"],
            INFERENCE_SERVICES: self.records,
        }
        mirrors.update({resource: self.children[resource] for resource in GATEWAY if gateway})
        return Kinds(client, mirrors, self._wake_all)

    def remember(self, uid: str) -> ServiceMemory:
        """The memory of a service, made when there is none."""
        return self.memory.setdefault(uid, ServiceMemory())

    def forget(self, uid: str) -> None:
        """The service is gone."""
        self.memory.pop(uid, None)
        self.keys.pop(uid, None)
        self._reader.forget(uid)
        self.shared.expectations.forget(uid)

    def judged(self, record: ServiceRecord) -> ServiceRecord:
        """The record by the catalogue in force; from now on the store has it."""
        judged = self._reader.judged(record)
        if judged is not record:
            self.records.store.put(record.key, judged)
        return judged

    def owned(self, resource: str, service: ObjectMeta) -> list[OwnedRecord]:
        """Objects of that resource that this service owns, in its namespace; but InferenceRoles."""
        found = self._store(resource).by("owner", service.uid).values()
        return [record for record in found if record.namespace == service.namespace]

    def find(self, resource: str, namespace: str, name: str) -> OwnedRecord | RoleRecord | None:
        """An object as the mirror has it. KeyError: the resource is not mirrored."""
        if resource == INFERENCE_ROLES:
            return self.roles.store.get(namespace, name)
        return self._store(resource).get(namespace, name)

    def _store(self, resource: str) -> Store[OwnedRecord]:
        if resource == "services":
            return self.shared.services.store
        if resource == "controllerrevisions":
            return self.shared.revisions.store
        return self.children[resource].store

    def _on_record(self, old: ServiceRecord | None, new: ServiceRecord | None) -> None:
        record = new or old
        if record is None:
            return
        if new is None:
            self._listener.service_gone(record.meta.uid)
        else:
            self.keys[new.meta.uid] = new.key
        self._listener.service_changed(record.key, urgent=True)

    def _on_role(self, old: RoleRecord | None, new: RoleRecord | None) -> None:
        if (record := new or old) is not None:
            self._wake(record.owner, urgent=True)

    def _on_child(self, resource: str) -> Any:
        def changed(old: OwnedRecord | None, new: OwnedRecord | None) -> None:
            self.object_changed(resource, new or old, new)

        return changed

    def pod_changed(self, uid: str, old: Pod | None, new: Pod | None) -> None:
        """Wake the pod's service."""
        self._wake(uid, urgent=is_urgent(old, new))

    def object_changed(self, resource: str, old: OwnedRecord | SliceRecord | None, new: object) -> None:
        """What was written is seen now; what somebody deleted is made again."""
        if old is None or old.owner not in self.keys:
            return
        memory = self.memory.get(old.owner)
        if memory is not None and resource == "services" and old.name == names.peers(self._name(old.owner)):
            memory.peers = False
        if memory is not None and resource == "endpointslices":
            memory.published.pop(old.name, None)
        if new is None or resource != "endpointslices":
            self._wake(old.owner, urgent=new is None)

    def node_changed(self, gang: str) -> None:
        """Wake the service whose group holds the node."""
        self._wake(names.service_uid(gang), urgent=True)

    def queues_changed(self, namespace: str) -> None:
        """Look again at every service of this namespace, of all if it is ""."""
        for key in self.keys.values():
            if namespace in ("", key[0]):
                self._listener.service_changed(key, urgent=False)

    def cluster_changed(self, catalog: Catalog | None = None) -> None:
        """Look at every service again."""
        if catalog is not None:
            self._reader.catalog = catalog
        self._wake_all()

    def _name(self, uid: str) -> str:
        return self.keys[uid][1]

    def _wake_all(self) -> None:
        for key in self.keys.values():
            self._listener.service_changed(key, urgent=False)

    def _wake(self, uid: str, *, urgent: bool) -> None:
        if (key := self.keys.get(uid)) is not None:
            self._listener.service_changed(key, urgent=urgent)
