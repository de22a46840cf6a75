"""Admission: one serial loop over everything that waits, against one view of the capacity.

    a gang joins → its preflight, a task of its own: dry run, namespace quota
    woken (a preflight ends, capacity changes, a head's wait runs out)
      → one round of `core.gang.admission.admit` over the gangs whose preflight is done
      → answers, and the keys whose answer changed

A gang is granted only while its namespace's quotas are freshly known and have room for it beside what was
granted before. Where they are not, the round ends at that gang, they are listed, and another round follows:
nobody passes it meanwhile. Of preflights a bounded number run at once, fewer of one namespace, so that a
webhook that hangs in one holds up no other.

A grant stays reserved in memory until the job's status holds the placement, or the job stops asking.

What a round keeps for a gang is kept until the next round that asks about it, though that may be some rounds later: a
gang that is being looked up, or was not reached, loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakValueDictionary

from drumline.api.reasons import Reason
from drumline.core.gang.admission import AdmissionRound, Undecided, admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.device_capacity import resolved
from drumline.core.gang.fairness import aged
from drumline.core.gang.types import GangRequest, Granted, Refusal
from drumline.runtime.errors import ApiError
from drumline.runtime.preflight import Cleared, Preflight
from drumline.runtime.preflight_elastic import at_size, with_fewer_slices
from drumline.runtime.preflight_spares import with_fewer_spares
from drumline.runtime.queue_book import QueueBook
from drumline.runtime.queue_evictions import relieved
from drumline.runtime.telling import Answer, Telling

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.02  # between rounds: what arrives together is decided together
IDLE_PER_ROUND = 3.0  # times what a round took: where very many wait, rounds leave the loop time for all else
BLIND_SECONDS = 0.25  # between looks whether the capacity is known again
POSTPONED_SECONDS = 5.0  # until those hear why they wait for whom there was no room
PREFLIGHT_RETRY_SECONDS = 15.0  # a refusal that may pass (a policy) is looked at again after this
SEARCH_SECONDS = (
    5.0  # between rounds while more want others to leave for them than one round looks at, at most
)
ERROR_RETRY_SECONDS = 1.0  # of the first error; each further one of a gang doubles it, up to a refusal's
CHECKS = 16  # preflights under way
CHECKS_IN_NAMESPACE = 4
REFRESHES = 16  # namespaces whose quotas are listed between two rounds
REFRESH_SECONDS = 1.0  # well below the age that a list may have; after that their gangs go back to preflight, and the others go on
QUOTA_RETRY_SECONDS = 2.0  # between looks at a gang that a quota refuses, at least
QUOTA_RETRIES_PER_SECOND = 50  # of all gangs together
SAID = 1000  # texts of errors remembered, each logged once


@dataclass(slots=True)
class _Waiting:
    request: GangRequest
    cleared: Cleared | None = None
    refused: Refusal | None = None  # by preflight
    retry_at: float = 0.0
    errors: int = 0
    told: Answer | None = None  # what the job last heard …
    told_at: float = 0.0  # … and when
    version: int = 0  # of the queues there were when it was last asked for
    task: asyncio.Task[Cleared | Refusal] | None = None  # the preflight under way

    def cancel(self) -> None:
        """Its preflight is of no use any more."""
        if self.task is not None:
            self.task.cancel()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long gangs wait, seconds. `aging` as in `core.gang.fairness.aged`."""

    head_wait: float  # until room is kept for the first in line
    aging: float = 0.0


class Admitter:
    """The admission queue. `changed` is called with what a gang asked when the answer to it is new."""

    def __init__(
        self,
        capacity: Capacity,
        preflight: Preflight,
        changed: Callable[[GangRequest], None],
        clock: Callable[[], float],
        patience: Patience,
        book: QueueBook | None = None,
    ) -> None:
        self.book = book if book is not None else QueueBook(lambda _: True, lambda _: None, clock)
        self._capacity = capacity
        self._preflight = preflight
        self._changed = changed
        self._clock = clock
        self._patience = patience
        self._targets: Mapping[str, frozenset[str]] = {}  # of the last round
        self._tried: frozenset[Hashable] = frozenset()  # by the last round
        self._waiting: dict[str, _Waiting] = {}
        self._answers: dict[str, Answer] = {}
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(CHECKS)
        self._lanes: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # by namespace
        self._said: set[str] = set()
        self._telling = Telling(clock)
        self._took = 0.0  # seconds, the last round
        self.is_blind: Callable[[], bool] = lambda: False  # whether the capacity may be what it was long ago
        self.changes = 0  # of who waits, and of what was answered

    def __len__(self) -> int:
        return len(self._waiting)

    def want(self, request: GangRequest) -> None:
        """Put a gang in the queue, or update what it asks for."""
        known = self._waiting.get(request.uid)
        if known is not None and known.request == request:
            if known.version != self.book.version:
                known.version = self.book.version
                self.wake()
            return
        self._forget(request.uid)
        self._waiting[request.uid] = _Waiting(request, version=self.book.version)
        self.changes += 1
        self.wake()

    def drop(self, uid: str) -> None:
        """The gang asks no more: it began, ended or was suspended."""
        self._forget(uid)
        self._capacity.forget(uid)
        self._keep_nothing(uid)

    def _keep_nothing(self, uid: str) -> None:
        """Nothing is kept for a gang any more, and nobody has to leave for it."""
        if uid in self._targets:
            self._targets = {other: kept for other, kept in self._targets.items() if other != uid}
        self.book.evictions.forget_for(uid)

    def _forget(self, uid: str) -> None:
        known = self._waiting.pop(uid, None)
        if known is not None:
            known.cancel()
            self.changes += 1
        self._answers.pop(uid, None)
        self._preflight.quotas.settle(uid)

    def granted(self, uid: str) -> bool:
        """Whether capacity is held for a grant that no status shows yet."""
        return isinstance(self._answers.get(uid), Granted)

    def answer(self, uid: str) -> Answer | None:
        """The latest answer; None when there is none yet."""
        return self._answers.get(uid)

    def waiting(self) -> Iterator[GangRequest]:
        """What waits, in no order; a gang that was granted does not."""
        now, aging = self._clock(), self._patience.aging
        waiting = (w.request for w in self._waiting.values() if not self.granted(w.request.uid))
        return (aged(request, now, aging) for request in waiting)

    def kept(self) -> frozenset[str]:
        """Nodes that are kept for gangs at the head of the queue."""
        return frozenset().union(*self._targets.values())

    def wake(self) -> None:
        """Something changed that may let a gang in."""
        if self._waiting:
            self._wake.set()

    async def run(self) -> None:
        """Decide until cancelled. An error costs one round, never the loop."""
        try:
            await self._loop()
        finally:
            for waiting in self._waiting.values():
                waiting.cancel()
            self._preflight.close()

    async def _loop(self) -> None:
        again: float | None = None
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), again)
            await asyncio.sleep(max(PAUSE_SECONDS, self._took * IDLE_PER_ROUND))
            while self.is_blind():  # noqa: ASYNC110 - what is waited for sets no event
                await asyncio.sleep(BLIND_SECONDS)
            self._wake.clear()
            try:
                again = await self._round()
            except Exception:
                logger.exception("an admission round failed; trying again")
                again = 1.0

    async def _round(self) -> float | None:
        now, begun = self._clock(), asyncio.get_running_loop().time()
        self._telling.begin()
        self._look_ahead(now)
        asking = [aged(request, now, self._patience.aging) for request in self._asking()]
        queues = self.book.now()
        room, kept, tried = self._capacity, self._targets, self._tried
        with self._preflight.quotas.as_of_now():
            result = admit(asking, room, now, self._patience.head_wait, self._allowed, kept, queues, tried)
        self._keep(asking, result)
        self._tried = result.tried
        for uid, error in result.errors.items():
            self._say(f"{self._waiting[uid].request.name}: {result.refused[uid].message}", error)
        for uid, placement in result.granted:
            waiting = self._waiting[uid]
            granted = Granted(placement, result.sizes.get(uid, 0), waiting.request.queue)
            self._settle(waiting, granted)
        for uid, refusal in result.refused.items():
            self._settle(self._waiting[uid], refusal)
        self._took = asyncio.get_running_loop().time() - begun
        if result.undecided:
            self._took = 0.0  # no rest before the next round, or what is listed for it would be too old
            await self._refresh(result)
            return 0.0
        again = self._again(result, now)
        in_turn = tried or result.tried  # some were not reached, or were passed over for these
        return min(again or SEARCH_SECONDS, SEARCH_SECONDS) if in_turn else again

    def _keep(self, asking: list[GangRequest], result: AdmissionRound) -> None:
        """Remember what is kept for whom, what is used of queues, and who has to leave."""
        if self._targets:
            reached = {r.uid for r in asking}.difference(r.uid for r in result.undecided)
            before = {uid: kept for uid, kept in self._targets.items() if uid not in reached}
            self._targets = {**before, **result.targets}
        else:
            self._targets = result.targets
        if not (result.granted or result.victims or self.book.evictions):
            return
        asked = {request.uid: request for request in asking}
        for uid, placement in result.granted:
            slices = result.sizes.get(uid) or asked[uid].slices
            self.book.granted(replace(asked[uid], slices=slices), placement)
        self._targets = relieved(self._targets, {uid for uid, _ in result.granted})
        self.book.decided(result, self._targets, asked)

    def _asking(self) -> Iterator[GangRequest]:
        """What waits, by the queues there are, is cleared, and has claims that can be counted, if any."""
        for waiting in list(self._waiting.values()):
            settled = self.book.is_settled(waiting.request, waiting.version)
            if settled and waiting.cleared is not None and not self.granted(waiting.request.uid):
                request = self._resolved(waiting.cleared.request)
                if isinstance(request, Refusal):
                    self._keep_nothing(waiting.request.uid)
                    self._settle(waiting, request)
                else:
                    yield request

    def _resolved(self, request: GangRequest) -> GangRequest | Refusal:
        """The request with its claims counted; an error in that is this gang's refusal and no other's."""
        try:
            return resolved(request, self._capacity)
        except Exception as error:  # noqa: BLE001 - one gang's claims keep no other waiting
            text = f"its claims can't be counted ({type(error).__name__}: {error}); please report it"
            self._say(f"{request.namespace}/{request.name}: {text}")
            return Refusal(Reason.INTERNAL_ERROR, text[:1024])

    def _again(self, result: AdmissionRound, now: float) -> float | None:
        """Seconds until a round is due though nothing wakes the loop."""
        idle = (w for w in self._waiting.values() if w.refused is not None and w.task is None)
        waits = [w.retry_at - now for w in idle]
        if result.requeue_after is not None:
            waits.append(result.requeue_after)
        if any(r.reason == Reason.NAMESPACE_QUOTA for r in result.refused.values()):
            waits.append(self._quota_pause())
        if self._telling.postponed:
            waits.append(POSTPONED_SECONDS)
        if self._telling.stale_for is not None:
            waits.append(self._telling.stale_for)
        waits += [wait for r in self.waiting() if (wait := r.queued_at + self._patience.aging - now) > 0]
        return max(0.05, min(waits)) if waits else None

    def _quota_pause(self) -> float:
        return max(QUOTA_RETRY_SECONDS, len(self._waiting) / QUOTA_RETRIES_PER_SECOND)

    def _allowed(self, request: GangRequest) -> Refusal | None:
        """The word of the namespace's quotas on a gang that has nodes; None is a claim on them."""
        cleared = self._waiting[request.uid].cleared
        quotas = self._preflight.quotas
        if cleared is None or not quotas.fresh(request.namespace):
            raise Undecided
        refused = partial(quotas.refusal, request.uid, request.namespace)
        roles = at_size(cleared, request.slices).roles
        refusal = refused(roles)
        if refusal is None:
            quotas.claim(request.uid, request.namespace, roles)
            return None
        fewer = with_fewer_spares(cleared, refused)
        if fewer is None and self._may_shrink(request):
            fewer = with_fewer_slices(cleared, request.slices, refused)
        if fewer is None:
            return refusal
        self._waiting[request.uid].cleared = fewer
        raise Undecided

    def _may_shrink(self, request: GangRequest) -> bool:
        """Whether a gang may take fewer slices for the sake of quotas: its own pods are in none any more."""
        waited = self._clock() >= request.patient_until
        return request.min_slices > 0 and waited and not self._capacity.has_pods(request.uid)

    async def _refresh(self, result: AdmissionRound) -> None:
        """List the quotas that the round lacked; who can't have them listed goes back to preflight."""
        quotas = self._preflight.quotas
        stale = dict.fromkeys(r.namespace for r in result.undecided if not quotas.fresh(r.namespace))
        tasks = {n: asyncio.create_task(quotas.refresh(n)) for n in list(stale)[:REFRESHES]}
        if not tasks:
            return
        try:
            await asyncio.wait(tasks.values(), timeout=REFRESH_SECONDS)
        finally:
            for task in tasks.values():
                task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        failed = {n for n, task in tasks.items() if task.cancelled() or task.exception() is not None}
        for waiting in self._waiting.values():
            if waiting.request.namespace in failed and not self.granted(waiting.request.uid):
                waiting.cleared = None

    def _look_ahead(self, now: float) -> None:
        """Preflight what has not been looked at, or was refused for something that may have passed."""
        for waiting in self._waiting.values():
            due = waiting.refused is None or waiting.retry_at <= now
            if waiting.cleared is None and waiting.task is None and due:
                waiting.task = asyncio.create_task(self._check(waiting.request))
                waiting.task.add_done_callback(partial(self._checked, waiting))

    async def _check(self, request: GangRequest) -> Cleared | Refusal:
        lane = self._lanes.setdefault(request.namespace, asyncio.Semaphore(CHECKS_IN_NAMESPACE))
        async with lane, self._slots:
            return await self._preflight.check(request)

    def _checked(self, waiting: _Waiting, task: asyncio.Task[Cleared | Refusal]) -> None:
        """Keep what a preflight found; whatever one runs into is that gang's refusal and no other's."""
        waiting.task = None
        if task.cancelled() or self._waiting.get(waiting.request.uid) is not waiting:
            return
        error, pause = task.exception(), PREFLIGHT_RETRY_SECONDS
        answer = task.result() if error is None else self._failed(waiting.request, error)
        if error is not None:
            pause = min(pause, ERROR_RETRY_SECONDS * 2 ** min(waiting.errors, 8))
        waiting.errors = 0 if error is None else waiting.errors + 1
        if isinstance(answer, Refusal):
            if error is None:
                self._keep_nothing(waiting.request.uid)
            pause = self._quota_pause() if answer.reason == Reason.NAMESPACE_QUOTA else pause
            waiting.refused, waiting.retry_at = answer, self._clock() + pause
            self._settle(waiting, answer)
        else:
            asked = replace(answer.request, queued_at=waiting.request.queued_at)
            waiting.refused, waiting.cleared = None, replace(answer, request=asked)
        self.wake()

    def _failed(self, request: GangRequest, error: BaseException) -> Refusal:
        text = str(error) if isinstance(error, ApiError) else f"{type(error).__name__}: {error}"
        self._say(f"preflight in namespace {request.namespace}: {text}")
        return Refusal(Reason.PREFLIGHT, text)

    def _say(self, text: str, error: Exception | None = None) -> None:
        """Log a text that was not logged lately, with where the error came up."""
        if text in self._said:
            return
        if len(self._said) >= SAID:
            self._said.clear()
        self._said.add(text)
        logger.warning("%s", text, exc_info=error)

    def _settle(self, waiting: _Waiting, answer: Answer) -> None:
        """Keep the answer and tell the job, unless it is not worth that now."""
        uid = waiting.request.uid
        if self._waiting.get(uid) is not waiting or waiting.told == answer:
            return
        if isinstance(answer, Granted):
            self._telling.granted()
        elif not self._telling.refused(waiting.told, answer, waiting.told_at, len(self._waiting)):
            if uid not in self._answers:  # for who asks: the queue, if nobody else
                self._answers[uid] = answer
                self.changes += 1
            return
        self._answers[uid] = waiting.told = answer
        waiting.told_at = self._clock()
        self.changes += 1
        self._changed(waiting.request)
