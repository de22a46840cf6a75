"""A controller of services that talks to nobody, and what it sees of the service of `services`."""

from __future__ import annotations

from typing import Any

from drumline.core.gang.types import GangRequest, Granted, Node, Placement
from drumline.core.inference import names
from drumline.core.inference.observation import Observation, Settings
from drumline.core.inference.policies.admission import request_of
from drumline.core.inference.view import View
from drumline.core.training.observation import Settings as JobSettings
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.service_controller import ServiceController
from drumline.runtime.service_records import ServiceRecord
from drumline.runtime.workqueue import WorkQueue
from tests.unit.core.inference import services
from tests.unit.core.inference.services import CATALOG, NOW, UID

GANG = names.gang_uid(UID, "serve", 0)
KEY = ("ns", services.NAME)


class Lab:
    """`client` is whatever stands for the API server; None = nothing may be asked of it."""

    def __init__(self, client: Any = None) -> None:
        clocks = Clocks(lambda: NOW, lambda: NOW)
        self.jobs = Controller(client, WorkQueue(), Catalogue(CATALOG), JobSettings(), clocks)
        self.queue: WorkQueue[tuple[str, str]] = WorkQueue()
        self.controller = ServiceController(client, self.queue, self.jobs, Settings(), clocks)
        self.world = self.controller.world
        for name in ("node-0-0", "node-0-1", "node-1-0", "node-1-1"):
            node = Node(name, allocatable={"cpu": 8000, "pods": 10})
            self.jobs.world.nodes.store.put(("", name), node)
            self.jobs.world.capacity.set_node(node)

    def sees(self, observation: Observation) -> ServiceRecord:
        """The mirror shows that service, its pods and its revisions."""
        o = observation
        record = ServiceRecord(o.service, o.spec, o.errors, o.status, o.catalog)
        self.world.records.store.put(record.key, record)
        self.world.keys[UID] = record.key
        for pods in o.pods.values():
            for pod in pods:
                self.jobs.world.pods.store.put((pod.namespace, pod.name), pod)
        return record

    def hold(self, observation: Observation) -> None:
        """Keep the capacity as that observation has it."""
        self.controller._hold(self.sees(observation), self.memory, observation)

    @property
    def memory(self) -> Any:
        """Of the service."""
        return self.world.remember(UID)

    def reserved(self, gang: str = GANG) -> bool:
        """Whether a group holds capacity."""
        return self.jobs.world.capacity.reserved(gang)

    def grant(self, observation: Observation, *nodes: str) -> GangRequest:
        """Admission says yes to the first group."""
        request = self.ask(observation)
        placement = Placement(nodes)
        self.jobs.world.capacity.reserve(request, placement)
        self.jobs.admitter._answers[GANG] = Granted(placement)
        return request

    def ask(self, observation: Observation) -> GangRequest:
        """The first group waits for admission."""
        view = View(observation, NOW, observation.status)
        request = request_of(view, "serve", services.group_of(observation.status))
        self.jobs.admitter.want(request)
        self.memory.asked.add(GANG)
        return request
