"""A client-side limit on writes: a token bucket and a number in flight.

The bucket is kept as one number, the theoretical arrival time of the next request (the generic cell rate
algorithm): a request may go once that time is at most ``burst / qps`` ahead of now. Waiters reserve their
slot when they arrive, so they go in order and a crowd of them wakes once each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Limiter:
    """At most `qps` requests a second on average, `burst` at once, `in_flight` open. qps 0 = no rate limit."""

    def __init__(self, *, qps: float = 0.0, burst: int = 1, in_flight: int = 100) -> None:
        if qps < 0 or burst < 1 or in_flight < 1:
            raise ValueError(f"bad limit: qps={qps} burst={burst} in_flight={in_flight}")
        self._interval = 1.0 / qps if qps else 0.0
        self._slack = self._interval * (burst - 1)
        self._next = 0.0
        self._paused_until = 0.0
        self._slots = asyncio.Semaphore(in_flight)
        self.in_flight = in_flight

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the requests in flight, after waiting for the rate."""
        async with self._slots:
            if delay := self._reserve(asyncio.get_running_loop().time()):
                await asyncio.sleep(delay)
            yield

    def pause(self, seconds: float) -> None:
        """Let no new request start for `seconds`: the server asked everybody to slow down."""
        self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + seconds)

    def _reserve(self, now: float) -> float:
        """Seconds to wait for the next free slot, which is taken."""
        if not self._interval:
            return max(0.0, self._paused_until - now)
        start = max(now, self._next - self._slack, self._paused_until)
        self._next = max(self._next, start) + self._interval
        return max(0.0, start - now)
