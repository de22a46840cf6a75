"""The one-way loop: a key comes in, the world is observed, a plan is decided, the plan is applied.

    watch → store → key queue → observe → decide → act → status, events, metrics

Nothing is decided in here. What an outcome means for the next observation is: a name that is taken, a create
that was refused for good, capacity that is held or given back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from drumline.api.reasons import Reason
from drumline.core.gang.plan import Create, Event, Plan
from drumline.core.gang.revision import decode
from drumline.core.gang.types import GangRequest, Granted
from drumline.core.training.decide import decide
from drumline.core.training.dependencies import later_helpers
from drumline.core.training.observation import Observation, Settings
from drumline.core.training.view import View
from drumline.runtime.admitter import Admitter, Patience
from drumline.runtime.backends import Backends
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.controller_sides import Authority, Beside, owner_of
from drumline.runtime.counting import created, spare
from drumline.runtime.crews import Crews
from drumline.runtime.errors import Conflict, NameConflict, NotFound
from drumline.runtime.executor import Executor, Outcome
from drumline.runtime.expectations import Expectations
from drumline.runtime.holdings import Holdings
from drumline.runtime.http import Client
from drumline.runtime.job_memory import comes_late
from drumline.runtime.ledger_entry import Draft
from drumline.runtime.ledger_keeper import NO_METER, LedgerKeeper, Meter
from drumline.runtime.observe import observe
from drumline.runtime.outcomes import (
    CONFLICT_SECONDS,
    NAMESPACE_ENDS_SECONDS,
    conflict_pause,
    created_pod,
    creates_pods,
    in_a_row,
    is_final,
)
from drumline.runtime.preflight import Preflight, Sample
from drumline.runtime.published import note_published
from drumline.runtime.queue_book import QueueBook
from drumline.runtime.queue_jobs import JobQueues
from drumline.runtime.records import JobRecord
from drumline.runtime.rooms import Rooms
from drumline.runtime.samples import objects_of, samples_of
from drumline.runtime.versions import told_abilities
from drumline.runtime.workqueue import WorkQueue
from drumline.runtime.world import World

Key = tuple[str, str]
Clock = Callable[[], float]

STALE_SECONDS = 0.25  # look again when the mirror lags; its next event comes first as a rule
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
        catalogue: Catalogue,
        settings: Settings,
        clocks: Clocks,
        namespace: str = "",
        meter: Meter = NO_METER,
        authority: Authority | None = None,
    ) -> None:
        self._client = client
        self._queue = queue
        self.catalogue = catalogue
        self._settings = settings
        self._now = clocks.now
        self.expectations = Expectations(clocks.monotonic)
        self.world = World(client, catalogue, self.expectations, self, namespace)
        self._namespace = namespace or "default"  # one in which pods may be created
        self.preflight = Preflight(client, self._samples, clocks.monotonic, self._objects, namespace)
        self.book = QueueBook(self.world.is_gone, self._look_at, clocks.now, self.capacity_changed)
        self.queues = JobQueues(self.book)
        self.admitter = Admitter(
            self.world.capacity,
            self.preflight,
            lambda request: self._look_at(request.uid, back=not self.admitter.granted(request.uid)),
            clocks.now,
            Patience(settings.head_wait_seconds, settings.aging_seconds),
            self.book,
        )
        self.admitter.is_blind = self.world.is_outdated
        self.keeper = LedgerKeeper(self.world, meter, clocks.now)
        self.keeper.committed = queue.add
        self.holdings = Holdings(self.world, self.admitter, self.queues, self.keeper, clocks.now)
        self.rooms = Rooms(self.world, self.admitter, self.keeper, clocks.now)
        self.crews = Crews(self.world, self.job_changed, clocks.now)
        self._authority = authority
        self.beside: Beside | None = None
        self.backends: Backends | None = None
        self.companions: list[Callable[[], Coroutine[Any, Any, None]]] = []  # what else the leader runs
        self.executor = Executor(client, self.expectations, now=clocks.now, shown=self._pod_is_shown)
        self._tasks: list[asyncio.Task[None]] = []
        self._leads_since = 0.0

    async def mirror(self) -> None:
        """Start the reflectors and wait until each has seen everything once. Every replica does this."""
        await self.world.devices.discover()
        for reflector in self.world.reflectors[:-1]:
            self._tasks.append(asyncio.create_task(reflector.run()))
        await asyncio.gather(*(r.synced.wait() for r in self.world.reflectors[:-1]))
        self._tasks += [asyncio.create_task(r.run()) for r in self.world.pod_events.reflectors]
        self._tasks.append(asyncio.create_task(self.world.devices.follow()))
        self._tasks.append(asyncio.create_task(self.preflight.quotas.follow()))
        self._tasks.append(asyncio.create_task(self.world.jobs.run()))
        await self.world.jobs.synced.wait()

    async def start(self) -> None:
        """As leader: take over what an earlier leader placed, then let gangs in."""
        while self.world.is_outdated():  # noqa: ASYNC110 - a list sets no event
            await asyncio.sleep(STALE_SECONDS)
        self._leads_since = self._now()
        self._tasks += await told_abilities(self._client, self._namespace, self._can)
        if self.backends is not None:
            await self.backends.refresh()
        for record in list(self.world.jobs.store.values()):
            self._hold_at_start(record)
        if self.beside is not None:
            self.beside.take_over()
        self.book.inherit(self.world.pods.store.values())
        self._tasks.append(asyncio.create_task(self.admitter.run()))
        self._tasks.append(asyncio.create_task(self.catalogue.tell()))
        self._tasks += [asyncio.create_task(run()) for run in self.companions]
        for key in list(self.world.jobs.store):
            self._queue.add(key)

    def _can(self, **abilities: Any) -> None:
        self._settings = replace(self._settings, **abilities)

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
        record = self._judged(record)
        observation = self._observe(record)
        self.holdings.keep(record, observation)
        observation = self.rooms.told(observation)
        whole = self._decide(observation)
        memory = self.world.remember(uid)
        draft = self.keeper.draft(observation, whole, self._spared(record, whole))
        plan = draft.plan
        self._ask(record, observation, plan)
        outcome = await self._apply(record, observation, draft)
        if uid not in self.world.keys:
            self.job_gone(uid)
            return None
        if outcome.error is None:
            created(whole, memory)
            self._order(record, plan)
        self._learn(record, plan, outcome)
        return self._again(record, plan, outcome)

    def _spared(self, record: JobRecord, whole: Plan) -> Plan:
        before = record.status.to_json() if whole.status is not None else {}
        return spare(whole, before, self.world.remember(record.meta.uid), self._now())

    async def _apply(self, record: JobRecord, observation: Observation, draft: Draft) -> Outcome:
        """Apply a plan; whatever became of it, the ledger is told."""
        outcome = Outcome()
        draft.begin()
        try:
            if self._authority is not None and creates_pods(draft.plan):
                await self._authority.ensure(record.meta.namespace)
            outcome = await self.executor.apply(owner_of(record), draft.plan)
        finally:
            self.keeper.settle(observation, draft, written=bool(outcome.resource_version))
        return outcome

    def _judged(self, record: JobRecord) -> JobRecord:
        """The job by the catalogue in force; what admission was asked, or said, by another one is void."""
        judged = self.world.judged(record)
        if judged is not record:
            if self.admitter.granted(record.meta.uid):
                self.holdings.release(record.meta.uid)
            self.admitter.drop(record.meta.uid)
        return judged

    def _observe(self, record: JobRecord) -> Observation:
        uid = record.meta.uid
        self.crews.follow(record)
        crew = self.crews.of(uid, record.status.attempt)
        seen = self.queues.told(observe(self.world, record, self.admitter.answer(uid), self._settings, crew))
        seen = self.backends.told(seen) if self.backends is not None else seen
        return replace(seen, crew_since=self._leads_since, pulse=self.keeper.pulse(seen))

    def _order(self, record: JobRecord, plan: Plan) -> None:
        """Tell launchers what a plan that was applied whole orders them."""
        if plan.orders is not None:
            written = plan.status or plan.intent or {}
            self.crews.tell(record.meta.uid, written.get("attempt", record.status.attempt), plan.orders)

    def _decide(self, observation: Observation) -> Plan:
        """The plan; an error of ours costs this job a while, is said once, and harms no other."""
        try:
            return decide(observation, self._now())
        except Exception as error:
            logger.exception("no decision for %s/%s", observation.job.namespace, observation.job.name)
            text = f"the operator cannot decide about this job ({type(error).__name__}: {error}); please report it"
            event = Event("Warning", Reason.INTERNAL_ERROR.value, text[:1024])
            return Plan(events=(event,), requeue_after=INTERNAL_ERROR_SECONDS)

    def _ask(self, record: JobRecord, observation: Observation, plan: Plan) -> None:
        """Join the admission queue, or leave it; a grant that nobody takes up is given back."""
        uid = record.meta.uid
        if plan.waiting is not None or not plan.takes:
            given_back = self.admitter.granted(uid)  # what it does not want any more
            if given_back:
                self.holdings.release(uid)
            if given_back or plan.waiting is None:
                self.admitter.drop(uid)
            if given_back:
                self.holdings.keep(record, observation)  # what the status names, in whose place the grant was
        if plan.waiting is not None:
            self.admitter.want(plan.waiting)

    def _learn(self, record: JobRecord, plan: Plan, outcome: Outcome) -> None:
        memory = self.world.remember(record.meta.uid)
        error = outcome.error
        if outcome.resource_version:
            self._status_written(record, plan, outcome)
        memory.conflicts = in_a_row(error, memory.conflicts)
        pod, late = created_pod(plan, outcome.failed), later_helpers(record.spec)
        if isinstance(error, NameConflict) and not comes_late(pod, late):
            memory.foreign |= {error.object_name}
        elif error is not None and is_final(error, memory.conflicts):
            memory.refuse(pod, f"{outcome.failed}: {error.message}", late, self._now())
            if pod is not None:
                self.preflight.distrust(record.meta.namespace)
        for what in outcome.applied:
            note_published(memory, plan, what, self._now())

    def _status_written(self, record: JobRecord, plan: Plan, outcome: Outcome) -> None:
        """Remember what the mirror will show in a moment."""
        uid = record.meta.uid
        memory = self.world.remember(uid)
        written = plan.status if plan.status is not None and not outcome.error else plan.intent
        if plan.begins:
            placement = decode([c.manifest for c in plan.prepare])
            memory.placement = (plan.prepare[0].manifest["metadata"]["name"], placement)
            answer = self.admitter.answer(uid)
            if isinstance(answer, Granted) and answer.placement == placement:
                # of what it had before it lets go when the mirror shows that it began
                memory.held = f"{memory.held} {memory.placement[0]}".strip()
            self.admitter.drop(uid)
            memory.counted_at = self._now()
            memory.ended.clear()
        elif plan.asks:
            memory.held = (
                "nodes asked for"  # what was granted to it has none: let go of when the mirror shows that
            )
            self.admitter.drop(uid)
        if plan.begins or (written is not None and written.get("placement") is None):
            memory.forget_refusals()

    def _again(self, record: JobRecord, plan: Plan, outcome: Outcome) -> float | None:
        error = outcome.error
        if error is None:
            return plan.requeue_after
        if isinstance(error, NotFound):
            return CONFLICT_SECONDS  # the job itself went, as a rule
        if error.namespace_ends:
            return NAMESPACE_ENDS_SECONDS
        memory = self.world.remember(record.meta.uid)
        if memory.blocked or memory.goes_without(outcome.failed) or isinstance(error, NameConflict):
            return 0.0
        if isinstance(error, Conflict):
            return conflict_pause(memory.conflicts)
        raise error

    def _hold_at_start(self, record: JobRecord) -> None:
        """After a restart of the operator memory starts empty; one odd job keeps no other from its nodes."""
        try:
            observation = self._observe(record)
            self.holdings.keep(record, observation)
            self._inherit(record, View(observation, self._now(), observation.status))
        except Exception:
            logger.exception("cannot read the placement of %s/%s", *record.key)

    def _inherit(self, record: JobRecord, view: View) -> None:
        """Pods that an earlier leader was still creating are in no quota yet; see `Quotas.inherit`."""
        if record.roster is None or not view.live:
            return
        missing = record.roster.size - len(view.current()) - len(view.succeeded())
        if missing > 0:
            self.preflight.quotas.inherit(record.meta.uid, record.meta.namespace, missing)

    def _look_at(self, uid: str, *, back: bool = False) -> None:
        """There is something new to be said of a gang; `back`: no more than that."""
        if (key := self.world.keys.get(uid)) is not None:
            self._queue.add(key, back=back)
        elif self.beside is not None:
            self.beside.answered(uid)

    def _samples(self, request: GangRequest) -> Sequence[Sample]:
        """A pod of each role, as it would be created, without a node. KeyError when the job is gone."""
        if request.uid not in self.world.keys and self.beside is not None:
            return self.beside.samples(request)
        return samples_of(self._view(request), request)

    def _view(self, request: GangRequest) -> View:
        record = self.world.jobs.store.get(*self.world.keys[request.uid])
        if record is None:
            raise KeyError(request.name)
        observation = self._observe(record)
        return View(observation, self._now(), observation.status)

    def _objects(self, request: GangRequest) -> Sequence[Create]:
        """What a gang's backend wants to have before its pods."""
        if request.uid not in self.world.keys and self.beside is not None:
            return self.beside.objects(request)
        return objects_of(self._view(request)) if request.unpinned else ()

    def job_changed(self, key: Key, *, urgent: bool) -> None:
        """Something of the job changed: look at it at once, or when more of it has come."""
        if urgent:
            self._queue.add(key)
            return
        record = self.world.jobs.store.get(*key)
        size = record.roster.size if record is not None and record.roster is not None else 1
        self._queue.add_after(key, min(1.0, 0.05 + size / 2000))

    def job_gone(self, uid: str) -> None:
        """A job was deleted: nothing of it is remembered, queued or held."""
        self.admitter.drop(uid)
        self.book.hold(uid, None)
        self.keeper.forget(uid)
        self.crews.forget(uid)
        self.world.forget(uid)
        self.capacity_changed()

    def capacity_changed(self) -> None:
        """Something changed that may let a gang in."""
        self.admitter.wake()

    def _pod_is_shown(self, namespace: str, name: str) -> bool:
        return self.world.pods.store.get(namespace, name) is not None
