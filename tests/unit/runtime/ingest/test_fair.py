"""Turns between jobs, and one waiting report for each reporter."""

from __future__ import annotations

import asyncio

from drumline.runtime.ingest.fair import FairQueue, Waiting
from drumline.runtime.ingest.verdicts import NotLeader, Reporter


def waiting(raw: bytes = b"", sequence: int = 0, since: int = 0) -> Waiting:
    future = asyncio.get_running_loop().create_future()
    return Waiting(Reporter("ns", "pod", "uid"), sequence, raw, future, since)


def next_of(queue: FairQueue) -> Waiting:
    found = queue.get()
    assert found is not None
    return found


async def test_jobs_take_turns() -> None:
    queue = FairQueue()
    for i in range(1000):
        queue.put("flood", i, waiting(b"flood"))
    for job in ("a", "b"):
        for i in range(2):
            queue.put(job, i, waiting(job.encode()))
    got = [next_of(queue).raw for _ in range(7)]
    assert got == [b"flood", b"a", b"b", b"flood", b"a", b"b", b"flood"]
    assert len(queue) == 997


async def test_a_newer_report_takes_the_older_ones_place() -> None:
    queue = FairQueue()
    queue.put("a", "first", waiting())
    verdict = queue.put("a", "second", waiting(b"old", 1, 10))
    assert queue.put("a", "second", waiting(b"new", 2, 20)) is verdict
    assert queue.put("a", "second", waiting(b"older", 0)) is verdict
    assert len(queue) == 2
    next_of(queue)
    got = next_of(queue)
    assert (got.raw, got.since, got.verdict) == (b"new", 20, verdict)


async def test_who_was_answered_is_passed_over() -> None:
    queue = FairQueue()
    queue.put("a", 1, waiting()).set_result(NotLeader())
    queue.put("a", 2, waiting(b"kept"))
    assert next_of(queue).raw == b"kept"
    assert len(queue) == 0


async def test_an_empty_queue_has_none() -> None:
    queue = FairQueue()
    assert queue.get() is None
    queue.put("a", 1, waiting()).set_result(NotLeader())
    assert queue.get() is None


async def test_draining_takes_everything() -> None:
    queue = FairQueue()
    for job in "ab":
        queue.put(job, 1, waiting(job.encode()))
    assert [w.raw for w in queue.drain()] == [b"a", b"b"]
    assert len(queue) == 0
