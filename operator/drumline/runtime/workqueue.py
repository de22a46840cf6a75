"""A queue of keys for level-triggered work.

A key is in the queue at most once, and with at most one worker at a time: a key added while it is worked
on comes back when that is done. Keys that fail come back after a delay that doubles each time; keys may
be added for later, the earliest time wins. Times are the event loop's.

There are two lanes. What nobody holds anything for waits in the back one (`back`), which has its turn when the other is
empty, and each `BACK_EVERY`-th time. A key that is wanted in both is in the front one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from drumline.runtime.errors import DrumlineError

K = TypeVar("K", bound=Hashable)
Handler = Callable[[K], Awaitable[float | None]]  # seconds until the key wants to be looked at again

BACK_EVERY: Final = 8

logger = logging.getLogger(__name__)


class WorkQueue(Generic[K]):
    """Keys to work on. `initial` and `maximum` bound the backoff of a failing key, in seconds."""

    def __init__(self, *, initial: float = 0.1, maximum: float = 60.0) -> None:
        self._initial = initial
        self._maximum = maximum
        self._ready = asyncio.Semaphore(
            0
        )  # one for each key in a lane, and one for each worker once it is over
        self._front: OrderedDict[K, None] = OrderedDict()
        self._back: OrderedDict[K, None] = OrderedDict()
        self._turn = 0
        self._wanted: dict[
            K, bool
        ] = {}  # in a lane, or to go there when its worker is done → whether in the back one
        self._working: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._closed = False

    def __len__(self) -> int:
        """Keys that wait for a worker."""
        return len(self._wanted)

    @property
    def delayed(self) -> int:
        """Keys that wait for their time."""
        return len(self._timers)

    def add(self, key: K, *, back: bool = False) -> None:
        """Have the key worked on as soon as a worker is free."""
        if self._closed:
            return
        known = self._wanted.get(key)
        self._wanted[key] = back and known is not False
        if key in self._working:
            return
        if known is None:
            self._line_up(key)
        elif known and not back:
            del self._back[key]
            self._front[key] = None

    def add_after(self, key: K, seconds: float) -> None:
        """Have the key worked on in `seconds`, or earlier if it was already to be."""
        if seconds <= 0:
            self.add(key)
        if self._closed or seconds <= 0:
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def retry(self, key: K) -> float:
        """Have a failed key worked on after its backoff, which is returned in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay: float = min(self._initial * 2.0 ** min(failures - 1, 32), self._maximum)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """The key is well again: its next failure starts from the initial backoff."""
        self._failures.pop(key, None)

    def start(self, handler: Handler[K], workers: int) -> None:
        """Start `workers` tasks that hand each key to `handler`."""
        self._workers += [asyncio.create_task(self._work(handler)) for _ in range(workers)]

    async def stop(self, grace: float) -> bool:
        """Hand out no more keys, wait up to `grace` seconds for the workers; false if some were cut off."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if not self._workers:
            return True
        for _ in self._workers:
            self._ready.release()
        _, late = await asyncio.wait(self._workers, timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        return not late

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def _line_up(self, key: K) -> None:
        (self._back if self._wanted[key] else self._front)[key] = None
        self._ready.release()

    def _next(self) -> K:
        self._turn += 1
        back = self._back and (not self._front or self._turn % BACK_EVERY == 0)
        key, _ = (self._back if back else self._front).popitem(last=False)
        return key

    async def _work(self, handler: Handler[K]) -> None:
        while True:
            await self._ready.acquire()
            if self._closed:
                return
            key = self._next()
            del self._wanted[key]
            self._working.add(key)
            try:
                await self._handle(handler, key)
            finally:
                self._working.discard(key)
                if key in self._wanted:
                    self._line_up(key)

    async def _handle(self, handler: Handler[K], key: K) -> None:
        try:
            again = await handler(key)
        except DrumlineError as error:  # the API server's word, as a rule: where it was raised says nothing
            delay = self.retry(key)
            logger.warning("%s failed, trying again in %.1f s: %s", key, delay, error)
            return
        except Exception:
            delay = self.retry(key)
            logger.exception("%s failed, trying again in %.1f s", key, delay)
            return
        self.forget(key)
        if again is not None:
            self.add_after(key, again)
