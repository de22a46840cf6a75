"""Provisional time: steps that are done but that no durable checkpoint covers yet.

Buckets of consecutive steps (lo, hi], in order. A commit settles those it covers; the one it falls into is
split pro rata to its steps. Of more than MAX_BUCKETS, neighbours become one, pair by pair.

Beside them there may be a tail: what processes that are gone did after the last step that they told of. How many
steps that was, nobody knows; each is taken for as long as a usual one.
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


class Tail(NamedTuple):
    """Time after step `lo`, `wall` ms of it; `step_ms` is what a step usually takes, 0 = not known."""

    lo: int
    step_ms: int
    wall: int
    work: Work

    def upto(self, step: int) -> tuple[Work, Tail | None]:
        """What steps up to `step` amount to, all of it where nothing says how many there were; and the rest."""
        if step <= self.lo:
            return Work(), self
        done = min(self.wall, (step - self.lo) * self.step_ms) if self.step_ms else self.wall
        if done >= self.wall:
            return self.work, None
        part = Work(*(n * done // self.wall for n in self.work))
        rest = Work(*(n - p for n, p in zip(self.work, part, strict=True)))
        return part, Tail(step, self.step_ms, self.wall - done, rest)


def _pairs(buckets: list[Bucket]) -> list[Bucket]:
    joined = [
        Bucket(a.lo, b.hi, a.work.plus(b.work)) for a, b in zip(buckets[::2], buckets[1::2], strict=False)
    ]
    return joined + buckets[len(joined) * 2 :]


class Buckets:
    """A list of buckets, the tail, and their time in all."""

    __slots__ = ("buckets", "ms", "tail")

    def __init__(self, buckets: list[Bucket], tail: Tail | None = None) -> None:
        self.buckets = buckets
        self.tail = tail
        self.ms = sum(b.work.ms for b in buckets) + (tail.work.ms if tail else 0)

    def copy(self) -> Buckets:
        """One of its own."""
        new = object.__new__(Buckets)
        new.buckets, new.ms, new.tail = self.buckets[:], self.ms, self.tail
        return new

    @property
    def empty(self) -> bool:
        """Whether nothing is provisional here."""
        return not self.buckets and self.tail is None

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

    def hold(self, tail: Tail) -> None:
        """Processes are gone that did more than they told of."""
        if self.tail is not None:
            wall, work = self.tail.wall + tail.wall, self.tail.work.plus(tail.work)
            tail = self.tail._replace(wall=wall, work=work)
            self.ms -= self.tail.work.ms
        self.tail = tail
        self.ms += tail.work.ms

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
        if self.tail is not None:
            part, self.tail = self.tail.upto(step)
            work = work.plus(part)
        self.ms -= work.ms
        return work

    def drop(self) -> Work:
        """All of it."""
        work = self.settle(self.buckets[-1].hi) if self.buckets else Work()
        if self.tail is not None:
            work = work.plus(self.tail.work)
            self.ms, self.tail = self.ms - self.tail.work.ms, None
        return work
