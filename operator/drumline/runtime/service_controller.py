"""The one-way loop of InferenceServices: observe, decide, act, as `controller` does it for TrainingJobs.

A service has many gangs, its groups; each is admitted and holds capacity under a uid of its own. Capacity is held
as the observed status has it; a grant that no plan takes up is given back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from drumline.api.inference_status import GroupStatus
from drumline.api.meta import API_VERSION, INFERENCE_SERVICE, INFERENCE_SERVICES
from drumline.api.reasons import Reason
from drumline.core.gang.plan import Create, Event, Plan
from drumline.core.gang.types import GangRequest, Granted, Placement
from drumline.core.inference import names
from drumline.core.inference.decide import decide
from drumline.core.inference.groups import live
from drumline.core.inference.observation import Observation, Settings
from drumline.core.inference.view import View
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.errors import Conflict, NotFound, TerminalError
from drumline.runtime.executor import Outcome, Owner
from drumline.runtime.http import Client
from drumline.runtime.outcomes import CONFLICT_SECONDS, NAMESPACE_ENDS_SECONDS, conflict_pause
from drumline.runtime.preflight import Sample
from drumline.runtime.queue_groups import hold
from drumline.runtime.service_backends import join, told
from drumline.runtime.service_gangs import objects_of, placed_by, reservation_of, samples_of, status_after
from drumline.runtime.service_memory import RECHECK_SECONDS, awaits, learn, recheck
from drumline.runtime.service_observe import Beside, groups_of, observe
from drumline.runtime.service_records import ServiceRecord
from drumline.runtime.service_signals import ServiceSignals
from drumline.runtime.service_world import REQUIRED, Key, ServiceMemory, ServiceWorld
from drumline.runtime.workqueue import WorkQueue

STALE_SECONDS: Final = 0.25  # look again when the mirror lags; its next event comes first as a rule
INTERNAL_ERROR_SECONDS: Final = 300.0

logger = logging.getLogger(__name__)


class ServiceController:
    """Keeps every InferenceService on its way, beside the TrainingJobs of `shared`."""

    def __init__(
        self,
        client: Client,
        queue: WorkQueue[Key],
        shared: Controller,
        settings: Settings,
        clocks: Clocks,
        namespace: str = "",
    ) -> None:
        self._client = client
        self._queue = queue
        self._shared = shared
        self._settings = settings
        self._clocks = clocks
        self._admitter = shared.admitter
        self._capacity = shared.world.capacity
        self.world = ServiceWorld(client, shared.world, shared.catalogue.current, self, namespace)
        self.kinds = self.world.kinds(client, gateway=settings.gateway or settings.inference_pool)
        self.signals = ServiceSignals(clocks.now, queue.add)
        self.companions: list[Callable[[], Coroutine[Any, Any, None]]] = [self.signals.run]
        self._tasks: list[asyncio.Task[None]] = []
        shared.beside = self

    async def mirror(self) -> None:
        """Mirror what only services have, once the shared mirror runs. Every replica does this."""
        await self.kinds.start(REQUIRED)
        self._tasks.append(asyncio.create_task(self.kinds.run()))

    async def start(self) -> None:
        """As leader: look at every service."""
        if self._shared.backends is not None:
            join(self._shared.backends, self.world, lambda key: self.service_changed(key, urgent=False))
        self._tasks += [asyncio.create_task(run()) for run in self.companions]
        for key in list(self.world.records.store):
            self._queue.add(key)

    async def stop(self) -> None:
        """Stop mirroring and scraping."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.kinds.stop()

    async def reconcile(self, key: Key) -> float | None:
        """Bring one service a step further; seconds until it wants to be looked at again."""
        record = self.world.records.store.get(*key)
        if record is None:
            return None
        uid = record.meta.uid
        memory = self.world.remember(uid)
        if self._is_behind(record, memory):
            return STALE_SECONDS
        await recheck(self._client, record, memory, self._clocks.now())
        record = self._judged(record, memory)
        observation = self._observe(record)
        self._hold(record, memory, observation)
        self.signals.follow(observation)
        plan = self._decide(observation)
        memory.decided = status_after(plan) or record.status
        self._ask(memory, plan, placed_by(uid, memory.decided))
        outcome = await self._shared.executor.apply(_owner(record), plan)
        if uid not in self.world.keys:
            self.service_gone(uid)
            return None
        self._taken(record, memory, plan, outcome)
        decisive = learn(record, memory, plan, outcome, self._clocks)
        if isinstance(outcome.error, TerminalError) and not decisive:
            await self._tell(record, outcome.failed, outcome.error)
        return self._again(memory, plan, outcome, decisive=decisive)

    async def _tell(self, record: ServiceRecord, what: str, error: TerminalError) -> None:
        """Say what holds a service up: it is tried again and again, and nothing of it can be in the status."""
        event = Event(
            "Warning", Reason.CREATE_REFUSED.value, f"the API server refuses {what}: {error.message}"
        )
        await self._shared.executor.apply(_owner(record), Plan(events=(event,)))

    def _judged(self, record: ServiceRecord, memory: ServiceMemory) -> ServiceRecord:
        """The service by the catalogue in force; what admission was asked, or said, by another one is void."""
        judged = self.world.judged(record)
        if judged is not record:
            for gang in memory.asked:
                self._give_back(memory, gang)
            memory.asked.clear()
        return judged

    def _is_behind(self, record: ServiceRecord, memory: ServiceMemory) -> bool:
        """Whether the mirror does not show yet what was written for this service."""
        uid, expectations = record.meta.uid, self._shared.expectations
        if expectations.behind(uid, record.meta.resource_version) or expectations.pending(uid):
            return True
        return awaits(self.world, record, memory, self._clocks.monotonic())

    def _observe(self, record: ServiceRecord) -> Observation:
        settings = replace(
            self._settings,
            gateway=self._settings.gateway and self.kinds.served("httproutes"),
            inference_pool=self._settings.inference_pool and self.kinds.served("inferencepools"),
        )
        signals, backends = self.signals.of(record.meta.uid), self._shared.backends
        seen = observe(
            self.world,
            record,
            Beside(settings, self._admitter.answer, self._shared.book, signals, self._clocks.now()),
        )
        return told(backends, seen) if backends is not None else seen

    def _decide(self, observation: Observation) -> Plan:
        """The plan; an error of ours costs this service a while, is said once, and harms no other."""
        now = self._clocks.now()
        try:
            return decide(observation, now)
        except Exception as error:
            logger.exception("no decision for %s/%s", observation.service.namespace, observation.service.name)
            text = f"the operator cannot decide about this service ({type(error).__name__}: {error}); please report it"
            event = Event("Warning", Reason.INTERNAL_ERROR.value, text[:1024])
            return Plan(events=(event,), requeue_after=INTERNAL_ERROR_SECONDS)

    def _ask(self, memory: ServiceMemory, plan: Plan, placed: Mapping[str, tuple[str, ...]]) -> None:
        """Have those groups in the admission queue that wait; a grant that nobody takes up is given back."""
        wanted = {request.uid: request for request in plan.queue}
        for gang in memory.asked - wanted.keys() - placed.keys():
            self._give_back(memory, gang)
        for request in wanted.values():
            self._admitter.want(request)
        memory.asked = wanted.keys() | (memory.asked & placed.keys())

    def _give_back(self, memory: ServiceMemory, gang: str) -> None:
        if self._admitter.granted(gang):
            memory.held.pop(gang, None)  # what the status says it holds is reserved anew, and counts anew
            self._shared.book.hold(gang, None)
            self._release(gang)
        self._admitter.drop(gang)

    def _taken(self, record: ServiceRecord, memory: ServiceMemory, plan: Plan, outcome: Outcome) -> None:
        """Grants that the written status holds are the status's now."""
        if not outcome.resource_version:
            return
        written = plan if outcome.error is None else replace(plan, status=None)
        for gang, nodes in placed_by(record.meta.uid, status_after(written)).items():
            if gang in memory.asked:
                memory.held[gang] = nodes
                memory.asked.discard(gang)
                self._admitter.drop(gang)

    def _hold(self, record: ServiceRecord, memory: ServiceMemory, observation: Observation) -> None:
        """Keep the capacity as the observed status has it, whatever became of the answers to our writes."""
        groups = groups_of(record)
        memory.blocked = {gang: no for gang, no in memory.blocked.items() if gang in groups}
        for gang in [gang for gang in memory.held if gang not in groups]:
            self._let_go(memory, gang)
        for gang, group in groups.items():
            nodes = group.nodes if any(group.nodes) else ()
            answer = self._admitter.answer(gang)
            if live(group) and isinstance(answer, Granted) and answer.placement.nodes == group.nodes:
                self._admitter.drop(gang)  # it was taken up though the answer to that was lost
                memory.asked.discard(gang)
            if not nodes and gang in memory.held:
                self._let_go(memory, gang)
            elif nodes and memory.held.get(gang) != nodes and not self._admitter.granted(gang):
                self._reserve(memory, observation, gang, nodes)
        view = View(observation, self._clocks.now(), observation.status)
        hold(self._shared.book, view, groups, memory.counted, self._admitter.granted)

    def _let_go(self, memory: ServiceMemory, gang: str) -> None:
        if not self._admitter.granted(gang):
            memory.held.pop(gang, None)
            self._release(gang)

    def _reserve(
        self, memory: ServiceMemory, observation: Observation, gang: str, nodes: tuple[str, ...]
    ) -> None:
        view = View(observation, self._clocks.now(), observation.status)
        request = reservation_of(view, gang)
        if request is not None:
            self._capacity.reserve(request, Placement(nodes))
            memory.held[gang] = nodes

    def _release(self, gang: str) -> None:
        if self._capacity.reserved(gang):
            self._capacity.release(gang)
            self._shared.capacity_changed()

    def _again(self, memory: ServiceMemory, plan: Plan, outcome: Outcome, *, decisive: bool) -> float | None:
        error = outcome.error
        if error is None and not decisive:
            waits = [RECHECK_SECONDS] if memory.foreign else []
            waits += [max(0.0, no.until - self._clocks.now()) for no in memory.refused.values()]
            waits += [] if plan.requeue_after is None else [plan.requeue_after]
            return min(waits, default=None)
        if error is None or decisive:
            return 0.0
        if isinstance(error, NotFound):
            return CONFLICT_SECONDS  # the service itself went, as a rule
        if error.namespace_ends:
            return NAMESPACE_ENDS_SECONDS
        if isinstance(error, Conflict):
            return conflict_pause(memory.conflicts)
        raise error

    def take_over(self) -> None:
        """Hold what an earlier leader placed; one odd service keeps no other from its nodes."""
        for record in list(self.world.records.store.values()):
            try:
                self._hold(record, self.world.remember(record.meta.uid), self._observe(record))
                for gang, group in groups_of(record).items():
                    self._inherit(record, gang, group)
            except Exception:
                logger.exception("cannot read the placements of %s/%s", *record.key)

    def _inherit(self, record: ServiceRecord, gang: str, group: GroupStatus) -> None:
        """Pods that an earlier leader was still creating are in no quota yet; see `Quotas.inherit`."""
        placed = any(group.nodes) or (group.backend is not None and live(group))
        if placed and group.attempt and not group.created:
            quotas = self._shared.preflight.quotas
            quotas.inherit(gang, record.meta.namespace, len(group.nodes))
            quotas.settle(gang)

    def answered(self, uid: str) -> None:
        """Admission has something new to say to a group."""
        if (key := self.world.keys.get(names.service_uid(uid))) is not None:
            self._queue.add(key)

    def samples(self, request: GangRequest) -> Sequence[Sample]:
        """A pod of each kind in the group, without a node. KeyError when the group is gone."""
        record = self.world.records.store.get(*self.world.keys[names.service_uid(request.uid)])
        if record is None:
            raise KeyError(request.name)
        return samples_of(self._view(record), request)

    def objects(self, request: GangRequest) -> Sequence[Create]:
        """What the backend of a group wants to have before its pods. KeyError when the group is gone."""
        record = self.world.records.store.get(*self.world.keys[names.service_uid(request.uid)])
        if record is None:
            raise KeyError(request.name)
        return objects_of(self._view(record), request)

    def _view(self, record: ServiceRecord) -> View:
        """The service as it was last decided, which the mirror may not show yet."""
        observation = self._observe(record)
        status = self.world.remember(record.meta.uid).decided or observation.status
        return View(observation, self._clocks.now(), status)

    def service_changed(self, key: Key, *, urgent: bool) -> None:
        """Something of the service changed: look at it at once, or when more of it has come."""
        if urgent:
            self._queue.add(key)
            return
        record = self.world.records.store.get(*key)
        pods = len(self.world.shared.pods.store.by("job", record.meta.uid)) if record is not None else 1
        self._queue.add_after(key, min(1.0, 0.05 + pods / 2000))

    def service_gone(self, uid: str) -> None:
        """A service was deleted: nothing of it is remembered, queued or held."""
        memory = self.world.remember(uid)
        for gang in memory.asked | memory.held.keys():
            self._admitter.drop(gang)
            self._capacity.release(gang)
        for gang in memory.asked | memory.held.keys() | memory.counted:
            self._shared.book.hold(gang, None)
        self.signals.forget(uid)
        self.world.forget(uid)
        self._shared.capacity_changed()


def _owner(record: ServiceRecord) -> Owner:
    meta = record.meta
    return Owner(
        API_VERSION,
        INFERENCE_SERVICE,
        INFERENCE_SERVICES,
        meta.namespace,
        meta.name,
        meta.uid,
        meta.resource_version,
    )
