"""Provisional time: steps that are done but that no durable checkpoint covers yet.

Buckets of consecutive steps (lo, hi], in order. A commit settles those it covers; the one it falls into is
split pro rata to its steps. Of more than MAX_BUCKETS, neighbours become one, pair by pair.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_BUCKETS: Final = 64


class Work(NamedTuple):
    """What some steps amount to."""

    ms: int = 0  # accelerator-milliseconds
    shown: int = 0  # wall milliseconds that the timeline shows as provisional
    tokens: int = 0
    flops: int = 0

    def plus(self, other: Work) -> Work:
        """Both together."""
        return Work(
            self.ms + other.ms,
            self.shown + other.shown,
            self.tokens + other.tokens,
            self.flops + other.flops,
        )


class Bucket(NamedTuple):
    """Steps after `lo` up to and with `hi`."""

    lo: int
    hi: int
    work: Work


def _cut(bucket: Bucket, step: int) -> tuple[Work, Bucket]:
    done, steps = step - bucket.lo, bucket.hi - bucket.lo
    first = Work(*(n * done // steps for n in bucket.work))
    rest = Work(*(n - f for n, f in zip(bucket.work, first, strict=True)))
    return first, Bucket(step, bucket.hi, rest)


def _pairs(buckets: list[Bucket]) -> list[Bucket]:
    joined = [
        Bucket(a.lo, b.hi, a.work.plus(b.work)) for a, b in zip(buckets[::2], buckets[1::2], strict=False)
    ]
    return joined + buckets[len(joined) * 2 :]


class Buckets:
    """A list of buckets, and their time in all."""

    __slots__ = ("buckets", "ms")

    def __init__(self, buckets: list[Bucket]) -> None:
        self.buckets = buckets
        self.ms = sum(b.work.ms for b in buckets)

    def copy(self) -> Buckets:
        """One of its own."""
        new = object.__new__(Buckets)
        new.buckets, new.ms = self.buckets[:], self.ms
        return new

    def add(self, lo: int, hi: int, work: Work) -> None:
        """Steps after all that are here, or before all of them."""
        bucket = Bucket(lo, hi, work)
        if self.buckets and hi <= self.buckets[0].lo:
            self.buckets.insert(0, bucket)
        else:
            self.buckets.append(bucket)
        self.ms += work.ms
        if len(self.buckets) > MAX_BUCKETS:
            self.join()

    def join(self) -> None:
        """Half as many."""
        self.buckets = _pairs(self.buckets)

    def top_up(self, work: Work) -> None:
        """More time for the latest steps. There must be some."""
        last = self.buckets[-1]
        self.buckets[-1] = last._replace(work=last.work.plus(work))
        self.ms += work.ms

    def settle(self, step: int) -> Work:
        """What steps up to `step` amount to; they are gone from here then."""
        work = Work()
        buckets = self.buckets
        while buckets and buckets[0].lo < step:
            if buckets[0].hi <= step:
                work = work.plus(buckets.pop(0).work)
            else:
                part, buckets[0] = _cut(buckets[0], step)
                work = work.plus(part)
        self.ms -= work.ms
        return work

    def drop(self) -> Work:
        """All of it."""
        return self.settle(self.buckets[-1].hi) if self.buckets else Work()
