"""The life of one replica, from its first connection to its last write.

    serve probes and metrics → mirror the cluster → wait for the lease → work → stop

Every replica serves and mirrors, so that a successor starts warm; only the leader works. Stopping goes
backwards: no more keys are handed out, writes under way end within the grace, then the lease is given
back. A lease that was lost leaves no time for any of this: the process ends at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from drumline.api.meta import TRAINING_JOB, TRAINING_JOBS
from drumline.runtime.config import Config
from drumline.runtime.config_logging import about
from drumline.runtime.health import HealthServer
from drumline.runtime.ingest.bus import Crews, Deliver, ReportBus, not_leading
from drumline.runtime.kube import Client, connect
from drumline.runtime.lease import Lease
from drumline.runtime.limiter import Limiter
from drumline.runtime.metrics import Metrics
from drumline.runtime.metrics_census import Census
from drumline.runtime.workqueue import WorkQueue

Key = tuple[str, str]
Queue = WorkQueue[Key]

logger = logging.getLogger(__name__)


class Controller(Protocol):
    """What keeps the jobs on their way."""

    async def mirror(self) -> None:
        """Start mirroring the cluster; return when everything was seen once. Every replica."""

    async def start(self) -> None:
        """Begin to work, as the leader."""

    async def reconcile(self, key: Key) -> float | None:
        """Bring one job a step further; seconds until it wants to be looked at again."""

    async def stop(self) -> None:
        """End everything `mirror` and `start` began."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Another kind's controller with a queue of its own, so that neither kind waits for the other's keys."""

    kind: str
    resource: str
    controller: Controller
    queue: Queue


@dataclass(frozen=True, slots=True)
class Built:
    """A controller, how to count its jobs, what else the leader exports of them, who takes reports and musters."""

    controller: Controller
    census: Callable[[], Census]
    lanes: tuple[Lane, ...] = ()
    lines: Callable[[], Iterable[str]] = tuple
    deliver: Deliver = not_leading
    crews: Crews | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """What a replica needs of its process. Clocks in seconds: Unix time, monotonic time."""

    identity: str
    namespace: str  # the operator's own
    now: Callable[[], float]
    monotonic: Callable[[], float]
    die: Callable[[str], None]  # ends the process at once


Build = Callable[[Client, Queue, Config], Built]


class Replica:
    """One running operator. `stopping` may be set from a signal handler; `run` then winds up."""

    def __init__(self, config: Config, process: Process, build: Build) -> None:
        self.config = config
        self.process = process
        self.stopping = asyncio.Event()
        self.queue: Queue = WorkQueue()
        self.metrics = Metrics(revision=config.revision)
        self.health = HealthServer(self.metrics.render, self._is_ready)
        self.bus = (
            ReportBus(Path(config.report_socket), count=self.metrics.reported)
            if config.report_socket
            else None
        )
        self._build = build
        self._lanes: tuple[Lane, ...] = ()
        self._mirrored = False

    def changed(self, resource: str, key: Key) -> None:
        """An object of a kind of ours changed, somebody says: have it looked at."""
        if resource == TRAINING_JOBS:
            self.queue.add(key)
        for lane in self._lanes:
            if lane.resource == resource:
                lane.queue.add(key)

    async def run(self) -> None:
        """Live until `stopping` is set. Raises what made it impossible to go on."""
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(await self._connect(limited=True))
            election = await stack.enter_async_context(await self._connect(limited=False))
            lease = self._lease(election)
            client.fence = lease.check
            built = self._build(client, self.queue, self.config)
            self._lanes = built.lanes
            self._measure(built, lease)
            await self.health.start(self.config.metrics_host, self.config.metrics_port)
            stack.push_async_callback(self.health.stop)
            if self.bus is not None:
                await self.bus.start()
                stack.push_async_callback(self.bus.stop)
            await self._live(built, lease)

    async def _live(self, built: Built, lease: Lease) -> None:
        """Work until told to stop, then end in good order."""
        controller = built.controller
        life = asyncio.create_task(self._lead(built, lease))
        stop = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({life, stop}, return_when=asyncio.FIRST_COMPLETED)
            if life.done():
                life.result()
            logger.info("stopping")
            if not await self._stop_queues(self.config.shutdown_grace):
                logger.warning("some work was cut off after %.0f s", self.config.shutdown_grace)
        finally:
            self._mirrored = False
            self._take_reports(None)
            await self._stop_queues(0)
            for task in (life, stop):
                task.cancel()
            await asyncio.gather(life, stop, return_exceptions=True)
            for each in (*(lane.controller for lane in built.lanes), controller):
                await each.stop()
            await lease.release()

    async def _stop_queues(self, grace: float) -> bool:
        """No more keys are handed out; false if some work was cut off."""
        queues = (self.queue, *(lane.queue for lane in self._lanes))
        return all(await asyncio.gather(*(queue.stop(grace) for queue in queues)))

    async def _lead(self, built: Built, lease: Lease) -> None:
        controller, lanes = built.controller, built.lanes
        for each in (controller, *(lane.controller for lane in lanes)):
            await each.mirror()
        self._mirrored = True
        logger.info("the cluster is mirrored; waiting for the lease")
        await lease.acquire()
        logger.info("leading as %s", self.process.identity)
        holding = asyncio.create_task(lease.hold())
        try:
            await controller.start()
            self.queue.start(partial(self._reconcile, controller, TRAINING_JOB), self.config.workers)
            for lane in lanes:
                await lane.controller.start()
                lane.queue.start(partial(self._reconcile, lane.controller, lane.kind), self.config.workers)
            self._take_reports(built)
            await holding
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)

    def _take_reports(self, built: Built | None) -> None:
        """Take reports and musters; None: no more."""
        if self.bus is None:
            return
        self.bus.deliver = not_leading if built is None else built.deliver
        if built is None or built.crews is None:
            self.bus.ignore()
        else:
            self.bus.attend(built.crews)

    async def _reconcile(self, controller: Controller, kind: str, key: Key) -> float | None:
        began = self.process.monotonic()
        result = "error"
        try:
            with about(*key):
                again = await controller.reconcile(key)
            result = "success"
        finally:
            self.metrics.reconciled(self.process.monotonic() - began, result, kind)
        return again

    async def _connect(self, *, limited: bool) -> Client:
        config = self.config
        limiter = Limiter(qps=config.write_qps, burst=config.write_burst, in_flight=config.writes_in_flight)
        return await connect(
            config.kubeconfig or None, limiter=limiter if limited else None, observer=self.metrics.request
        )

    def _lease(self, client: Client) -> Lease:
        return Lease(
            client,
            namespace=self.config.lease_namespace or self.process.namespace,
            name=self.config.lease_name,
            identity=self.process.identity,
            clock=self.process.monotonic,
            now=self.process.now,
            on_lost=self.process.die,
            times=self.config.lease_times,
        )

    def _measure(self, built: Built, lease: Lease) -> None:
        queues = (self.queue, *(lane.queue for lane in built.lanes))
        self.metrics.follow(
            depth=lambda: sum(map(len, queues)),
            delayed=lambda: sum(queue.delayed for queue in queues),
            leader=lambda: lease.held,
        )

        def census() -> Census:
            found = built.census()
            # whoever adds up counts twice what two replicas export
            return found if lease.held else replace(found, restarts={})

        self.metrics.follow_jobs(census)
        self.metrics.follow_lines(lambda: built.lines() if lease.held else ())

    def _is_ready(self) -> bool:
        return self._mirrored
