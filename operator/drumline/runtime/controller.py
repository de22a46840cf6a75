"""The one-way loop: a key comes in, the world is observed, a plan is decided, the plan is applied.

    watch → store → key queue → observe → decide → act → status, events, metrics

Nothing is decided in here. What an outcome means for the next observation is: a name that is taken, a create
that was refused for good, capacity that is held or given back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drumline.api.catalog import Catalog
from drumline.api.meta import API_VERSION, TRAINING_JOB, TRAINING_JOBS
from drumline.api.reasons import Reason
from drumline.core.gang.plan import Apply, Event, Plan
from drumline.core.gang.revision import decode
from drumline.core.gang.types import GangRequest
from drumline.core.training.decide import decide
from drumline.core.training.observation import Observation, Settings
from drumline.core.training.policies.admission import request_of
from drumline.core.training.rendering import prepared
from drumline.core.training.view import View
from drumline.runtime.admitter import Admitter
from drumline.runtime.counting import spare
from drumline.runtime.errors import Conflict, NameConflict, TerminalError
from drumline.runtime.executor import Executor, Outcome, Owner
from drumline.runtime.expectations import Expectations
from drumline.runtime.http import Client
from drumline.runtime.observe import observe
from drumline.runtime.preflight import Preflight, Sample
from drumline.runtime.records import JobRecord, read_slice
from drumline.runtime.workqueue import WorkQueue
from drumline.runtime.world import World

Key = tuple[str, str]
Clock = Callable[[], float]

STALE_SECONDS = 0.25  # look again when the mirror lags; its next event comes first as a rule
CONFLICT_SECONDS = 0.05
INTERNAL_ERROR_SECONDS = 300.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clocks:
    """Unix time and monotonic time, in seconds."""

    now: Clock
    monotonic: Clock


class Controller:
    """Keeps every TrainingJob on its way. One `reconcile` a key at a time; keys run concurrently."""

    def __init__(
        self,
        client: Client,
        queue: WorkQueue[Key],
        catalog: Catalog,
        settings: Settings,
        clocks: Clocks,
        namespace: str = "",
    ) -> None:
        self._queue = queue
        self._catalog = catalog
        self._settings = settings
        self._now = clocks.now
        self.expectations = Expectations(clocks.monotonic)
        self.world = World(client, catalog, self.expectations, self._job_changed, self._wake, namespace)
        self._preflight = Preflight(client, self._samples, clocks.monotonic)
        self.admitter = Admitter(
            self.world.capacity, self._preflight, queue.add, clocks.now, settings.head_wait_seconds
        )
        self._executor = Executor(client, self.expectations, now=clocks.now)
        self._tasks: list[asyncio.Task[None]] = []

    async def mirror(self) -> None:
        """Start the reflectors and wait until each has seen everything once. Every replica does this."""
        for reflector in self.world.reflectors[:-1]:
            self._tasks.append(asyncio.create_task(reflector.run()))
        await asyncio.gather(*(r.synced.wait() for r in self.world.reflectors[:-1]))
        self._tasks.append(asyncio.create_task(self.world.jobs.run()))
        await self.world.jobs.synced.wait()

    async def start(self) -> None:
        """As leader: take over what an earlier leader placed, then let gangs in."""
        for record in list(self.world.jobs.store.values()):
            self._hold(record)
        self._tasks.append(asyncio.create_task(self.admitter.run()))
        for key in list(self.world.jobs.store):
            self._queue.add(key)

    async def stop(self) -> None:
        """Stop mirroring and admitting."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reconcile(self, key: Key) -> float | None:
        """Bring one job a step further; seconds until it wants to be looked at again."""
        record = self.world.jobs.store.get(*key)
        if record is None:
            return None
        uid = record.meta.uid
        stale = self.expectations.behind(uid, record.meta.resource_version)
        if stale or self.expectations.pending(uid):
            return STALE_SECONDS
        observation = self._observe(record)
        plan = self._decide(observation)
        plan = spare(plan, record.status.to_json(), self.world.remember(uid), self._now())
        self._ask(uid, plan)
        outcome = await self._executor.apply(_owner(record), plan)
        self._learn(record, plan, outcome)
        return self._again(plan, outcome)

    def _observe(self, record: JobRecord) -> Observation:
        answer = self.admitter.answer(record.meta.uid)
        return observe(self.world, record, answer, self._catalog, self._settings)

    def _decide(self, observation: Observation) -> Plan:
        """The plan; an error of ours costs this job a while, is said once, and harms no other."""
        try:
            return decide(observation, self._now())
        except Exception as error:
            logger.exception("no decision for %s/%s", observation.job.namespace, observation.job.name)
            text = f"the operator cannot decide about this job ({type(error).__name__}: {error}); please report it"
            event = Event("Warning", Reason.INTERNAL_ERROR.value, text[:1024])
            return Plan(events=(event,), requeue_after=INTERNAL_ERROR_SECONDS)

    def _ask(self, uid: str, plan: Plan) -> None:
        """Join the admission queue, or leave it; a grant that nobody takes up is given back."""
        if plan.waiting is not None:
            self.admitter.want(plan.waiting)
        elif not plan.begins:
            if self.admitter.granted(uid):
                self._release(uid)
            self.admitter.drop(uid)

    def _learn(self, record: JobRecord, plan: Plan, outcome: Outcome) -> None:
        memory = self.world.remember(record.meta.uid)
        if isinstance(outcome.error, NameConflict):
            memory.foreign |= {outcome.error.object_name}
        elif isinstance(outcome.error, TerminalError) and outcome.failed != "status":
            memory.blocked = f"{outcome.failed}: {outcome.error.message}"
        for what in outcome.applied:
            self._published(record, plan, what)
        if outcome.resource_version:
            self._status_written(record, plan, outcome)

    def _published(self, record: JobRecord, plan: Plan, what: str) -> None:
        """Names that were written count at once."""
        memory = self.world.remember(record.meta.uid)
        resource, _, name = what.partition("/")
        if resource == "services":
            memory.service = True
        if resource in ("endpointslices", "endpoints"):
            memory.last_published_at = self._now()
        if resource == "endpointslices":
            memory.published[name] = read_slice(_applied(plan, resource, name)).published

    def _status_written(self, record: JobRecord, plan: Plan, outcome: Outcome) -> None:
        """Capacity follows the status: held while it names a placement, given back when it does not."""
        uid = record.meta.uid
        memory = self.world.remember(uid)
        if plan.begins:
            self.admitter.drop(uid)
            memory.blocked = ""
            memory.counted_at = self._now()
            memory.ended.clear()
            revision = plan.prepare[0].manifest["metadata"]["name"]
            memory.placement = (revision, decode([c.manifest for c in plan.prepare]))
        written = plan.status if plan.status is not None and not outcome.error else plan.intent
        if written is not None and written.get("placement") is None:
            memory.blocked = ""
            # while the status was being written the gang may have been granted its place
            if not self.admitter.granted(uid):
                self._release(uid)

    def _release(self, uid: str) -> None:
        if self.world.capacity.reserved(uid):
            self.world.capacity.release(uid)
            self._wake()

    def _again(self, plan: Plan, outcome: Outcome) -> float | None:
        if outcome.error is None:
            return plan.requeue_after
        if isinstance(outcome.error, Conflict):
            return CONFLICT_SECONDS
        if isinstance(outcome.error, TerminalError) and outcome.failed != "status":
            return 0.0
        raise outcome.error

    def _hold(self, record: JobRecord) -> None:
        """Reserve what a status says is placed: after a restart of the operator, memory starts empty."""
        observation = self._observe(record)
        if observation.placement is None or observation.spec is None:
            return
        request = request_of(View(observation, self._now(), observation.status))
        self.world.capacity.reserve(request, observation.placement)

    def _samples(self, request: GangRequest) -> Sequence[Sample]:
        """A pod of each role, as it would be created, without a node. KeyError when the job is gone."""
        record = self.world.jobs.store.get(*self.world.keys[request.uid])
        if record is None:
            raise KeyError(request.name)
        observation = self._observe(record)
        gang = prepared(View(observation, self._now(), observation.status), observation.status.attempt + 1)
        workers = Sample(request.workers, gang.worker(0, None))
        return [workers, *(Sample(h.count, gang.helper(i, 0, None)) for i, h in enumerate(request.helpers))]

    def _job_changed(self, key: Key, urgent: bool) -> None:
        if urgent:
            self._queue.add(key)
            return
        record = self.world.jobs.store.get(*key)
        size = record.roster.size if record is not None and record.roster is not None else 1
        self._queue.add_after(key, min(1.0, 0.05 + size / 2000))

    def _wake(self) -> None:
        self.admitter.wake()


def _applied(plan: Plan, resource: str, name: str) -> Mapping[str, Any]:
    """The manifest that the plan applied under that name."""
    applied = [a for stage in plan.actions for a in stage if isinstance(a, Apply)]
    return next(
        a.manifest for a in applied if a.resource == resource and a.manifest["metadata"]["name"] == name
    )


def _owner(record: JobRecord) -> Owner:
    meta = record.meta
    return Owner(
        API_VERSION, TRAINING_JOB, TRAINING_JOBS, meta.namespace, meta.name, meta.uid, meta.resource_version
    )
