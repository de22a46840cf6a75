"""How much anybody may send: rates by key, and memory for what is on its way.

A rate is a token bucket kept as one number, the theoretical arrival time of the key's next request (the
generic cell rate algorithm): a request may come once that time is at most ``(burst - 1) / rate`` ahead.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

MOST_KEYS: Final = 50_000
ROUNDING: Final = 1e-5  # seconds: Unix time in a float is good for no more


class Buckets:
    """A bucket for each key: `rate` a second on average, `burst` at once. Full buckets need no memory."""

    def __init__(self, rate: float, burst: int, most: int = MOST_KEYS) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError(f"bad rate: {rate} a second, {burst} at once")
        self._interval = 1.0 / rate
        self._slack = self._interval * (burst - 1)
        self._most = most
        self._next: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._next)

    def take(self, key: Hashable, now: float) -> float:
        """0.0 when one more may come at `now` (seconds), which then counts; else how many seconds too early."""
        due = max(self._next.get(key, now), now)
        if (early := due - self._slack - now) > ROUNDING:
            return early
        self._next[key] = due + self._interval
        self._next.move_to_end(key)
        self._forget(now)
        return 0.0

    def charge(self, key: Hashable, more: int, now: float) -> None:
        """What came counts as `more` besides: the key's next request has to wait for them."""
        if more > 0:
            self._next[key] = max(self._next.get(key, now), now) + more * self._interval
            self._next.move_to_end(key)

    def _forget(self, now: float) -> None:
        """Drop the longest unused key if its bucket is full again, and whatever is beyond the limit."""
        oldest = next(iter(self._next))
        if self._next[oldest] <= now or len(self._next) > self._most:
            del self._next[oldest]


class Budget:
    """So many bytes may be held at once."""

    def __init__(self, size: int) -> None:
        self.left = size

    @contextmanager
    def hold(self, size: int) -> Iterator[bool]:
        """Hold `size` bytes for a while; False, and nothing is held, when so much is not left."""
        if not self.take(size):
            yield False
            return
        try:
            yield True
        finally:
            self.give(size)

    def take(self, size: int) -> bool:
        """Hold `size` bytes until they are given back; False, and nothing is held, when so much is not left."""
        if size > self.left:
            return False
        self.left -= size
        return True

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self.left += size
