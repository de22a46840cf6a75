"""Admission: one serial loop over everything that waits, against one view of the capacity.

    woken (a gang joins, capacity changes, a head's wait runs out)
      → preflight of gangs not looked at yet (dry-run, namespace quota; concurrent)
      → one round of `core.gang.admission.admit`
      → answers, and the keys whose answer changed

A grant stays reserved in memory until the job's status holds the placement, or the job stops asking.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from drumline.api.reasons import Reason
from drumline.core.gang.admission import admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.types import GangRequest, Refusal
from drumline.core.training.observation import Granted
from drumline.runtime.errors import ApiError
from drumline.runtime.preflight import Preflight

Key = tuple[str, str]
Answer = Granted | Refusal

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.02  # between rounds: what arrives together is decided together
RETELL_SECONDS = 5.0  # between two refusals that differ only in their numbers
PREFLIGHT_RETRY_SECONDS = 15.0  # a refusal that may pass (quota, policy) is looked at again after this


@dataclass(slots=True)
class _Waiting:
    request: GangRequest
    cleared: GangRequest | None = None  # after preflight: with the shapes that the API server returned
    refused: Refusal | None = None  # by preflight
    retry_at: float = 0.0
    told_at: float = 0.0  # when the job last heard an answer


class Admitter:
    """The admission queue. `changed` is called with the key of a job whose answer is new."""

    def __init__(
        self,
        capacity: Capacity,
        preflight: Preflight,
        changed: Callable[[Key], None],
        clock: Callable[[], float],
        head_wait_seconds: float,
    ) -> None:
        self._capacity = capacity
        self._preflight = preflight
        self._changed = changed
        self._clock = clock
        self._head_wait = head_wait_seconds
        self._waiting: dict[str, _Waiting] = {}
        self._answers: dict[str, Answer] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def want(self, request: GangRequest) -> None:
        """Put a gang in the queue, or update what it asks for."""
        known = self._waiting.get(request.uid)
        if known is not None and known.request == request:
            return
        self._waiting[request.uid] = _Waiting(request)
        self._answers.pop(request.uid, None)
        self.wake()

    def drop(self, uid: str) -> None:
        """The gang asks no more: it began, ended or was suspended."""
        self._waiting.pop(uid, None)
        self._answers.pop(uid, None)

    def granted(self, uid: str) -> bool:
        """Whether capacity is held for a grant that no status shows yet."""
        return isinstance(self._answers.get(uid), Granted)

    def answer(self, uid: str) -> Answer | None:
        """The latest answer; None when there is none yet."""
        return self._answers.get(uid)

    def wake(self) -> None:
        """Something changed that may let a gang in."""
        if self._waiting:
            self._wake.set()

    async def run(self) -> None:
        """Decide until cancelled. An error costs one round, never the loop."""
        again: float | None = None
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), again)
            await asyncio.sleep(PAUSE_SECONDS)
            self._wake.clear()
            try:
                again = await self._round()
            except Exception:
                logger.exception("an admission round failed; trying again")
                again = 1.0

    async def _round(self) -> float | None:
        now = self._clock()
        await self._look_ahead(now)
        asking = [
            w for w in self._waiting.values() if w.cleared is not None and not self.granted(w.request.uid)
        ]
        result = admit(
            [w.cleared for w in asking if w.cleared is not None], self._capacity, now, self._head_wait
        )
        for uid, placement in result.granted:
            self._settle(self._waiting[uid], Granted(placement))
        for uid, refusal in result.refused.items():
            self._settle(self._waiting[uid], refusal)
        retries = [w.retry_at - now for w in self._waiting.values() if w.refused is not None]
        waits = [*retries, *([result.requeue_after] if result.requeue_after is not None else [])]
        return max(0.05, min(waits)) if waits else None

    async def _look_ahead(self, now: float) -> None:
        """Preflight what has not been looked at, or was refused for something that may have passed."""
        due = [
            w
            for w in self._waiting.values()
            if w.cleared is None and (w.refused is None or w.retry_at <= now)
        ]
        await asyncio.gather(*(self._check(w, now) for w in due))

    async def _check(self, waiting: _Waiting, now: float) -> None:
        try:
            answer = await self._preflight.check(waiting.request)
        except (ApiError, KeyError) as error:
            logger.warning("preflight of %s/%s: %s", waiting.request.namespace, waiting.request.name, error)
            waiting.refused, waiting.retry_at = Refusal(Reason.PREFLIGHT, str(error)), now + 1.0
            self._settle(waiting, waiting.refused)
            return
        if self._waiting.get(waiting.request.uid) is not waiting:
            return
        if isinstance(answer, Refusal):
            waiting.refused, waiting.retry_at = answer, now + PREFLIGHT_RETRY_SECONDS
            self._settle(waiting, answer)
        else:
            waiting.refused, waiting.cleared = None, replace(answer, queued_at=waiting.request.queued_at)

    def _settle(self, waiting: _Waiting, answer: Answer) -> None:
        """Keep the answer and tell the job, but not of every number that changes in a refusal's text."""
        uid, now = waiting.request.uid, self._clock()
        known = self._answers.get(uid)
        if known == answer:
            return
        same = isinstance(known, Refusal) and isinstance(answer, Refusal) and known.reason == answer.reason
        if same and now - waiting.told_at < RETELL_SECONDS:
            return
        self._answers[uid], waiting.told_at = answer, now
        self._changed((waiting.request.namespace, waiting.request.name))
