"""One operator in virtual time: its own mirror, queue, admission and lease; it can be killed at any await."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from drumline.api.catalog import Catalog
from drumline.core.inference.observation import Settings as ServiceSettings
from drumline.core.training.observation import Settings
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.controller import Clocks, Controller, Key
from drumline.runtime.errors import DrumlineError
from drumline.runtime.lease import Lease
from drumline.runtime.queue_controller import QueueController
from drumline.runtime.service_controller import ServiceController
from drumline.runtime.workqueue import WorkQueue
from e2e.chaos.model.client import ModelClient
from e2e.chaos.model.server import Server
from e2e.chaos.weather import Weather

CATALOG = Catalog.default()
WORKERS = 8
EXCLUDE = 60.0  # seconds that a node is avoided: a small cluster cannot do without it for long

SETTINGS = Settings(
    exclude_seconds=EXCLUDE, report_url="https://reports/v1/report", launcher_image="drumline"
)
SERVICES = ServiceSettings(exclude_seconds=EXCLUDE, evacuate_seconds=20.0)


class Replica:
    """Runs from `start` until `kill`. `now` is its wall clock, in Unix seconds."""

    def __init__(
        self, server: Server, weather: Weather, chance: random.Random, now: Callable[[], float], name: str
    ) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.ended = False
        self.queue: WorkQueue[Key] = WorkQueue()
        self.client = ModelClient(server, weather, chance)
        self._election = ModelClient(server, weather, chance)
        self.lease = Lease(
            self._election,
            namespace="default",
            name="drumline",
            identity=name,
            clock=loop.time,
            now=now,
            on_lost=lambda _why: self._lost(),
        )
        self.client.fence = self.lease.check
        clocks = Clocks(now=now, monotonic=loop.time)
        self.controller = Controller(self.client, self.queue, Catalogue(CATALOG), SETTINGS, clocks)
        self.services = WorkQueue[Key]()
        self.queues = WorkQueue[Key]()
        shared = self.controller
        self._lanes = (
            (shared, self.queue),
            (ServiceController(self.client, self.services, shared, SERVICES, clocks), self.services),
            (QueueController(self.client, self.queues, shared, clocks), self.queues),
        )
        self._life: asyncio.Task[None] | None = None

    @property
    def leads(self) -> bool:
        """Whether it holds the lease."""
        return self.lease.held and not self.ended

    def start(self) -> None:
        """Come to life."""
        self._life = asyncio.create_task(self._live())

    def _lost(self) -> None:
        """As `os._exit`: nothing of it leaves any more."""
        self.ended = self.client.dead = self._election.dead = True

    async def kill(self) -> None:
        """End it wherever it is; requests that have left go on."""
        self._lost()
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)
        for _, queue in self._lanes:
            await queue.stop(0)
        for controller, _ in reversed(self._lanes):
            await controller.stop()

    async def _live(self) -> None:
        """An operator that can't begin ends, and its Deployment starts another."""
        try:
            await self._work()
        except DrumlineError:
            self._lost()

    async def _work(self) -> None:
        for controller, _ in self._lanes:
            await controller.mirror()
        await self.lease.acquire()
        holding = asyncio.create_task(self.lease.hold())
        try:
            for controller, queue in self._lanes:
                await controller.start()
                queue.start(controller.reconcile, WORKERS)
            await holding
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
