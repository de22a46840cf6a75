"""Replicas, one record, and a clock that each of them may be cut off from."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from drumline.runtime.errors import AlreadyExists, Conflict, LeaseLost, NotFound, Unavailable
from drumline.runtime.lease import Lease, LeaseTimes

pytestmark = pytest.mark.looptime(start=0)

TIMES = LeaseTimes(duration=15, renew_deadline=10, retry=2)


class Record:
    """The Lease as the API server keeps it."""

    def __init__(self) -> None:
        self.value: dict[str, Any] | None = None
        self.version = 0
        self.writes: list[tuple[float, str]] = []

    def write(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        if method == "POST" and self.value is not None:
            raise AlreadyExists("taken", status=409)
        if method == "PUT" and self.value is None:
            raise NotFound("gone", status=404)
        if self.value and body["metadata"]["resourceVersion"] != str(self.version):
            raise Conflict("modified", status=409)
        self.version += 1
        self.value = copy.deepcopy(body)
        self.value["metadata"]["resourceVersion"] = str(self.version)
        self.writes.append((now(), body["spec"]["holderIdentity"]))
        return copy.deepcopy(self.value)


class Line:
    """A replica's connection: it may be cut, or slow."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.cut = False
        self.delay = 0.0

    async def request(self, method: str, path: str, *, body: Any, attempts: int, seconds: float) -> Any:
        assert attempts == 1
        assert seconds < TIMES.renew_deadline
        await asyncio.sleep(self.delay)
        if self.cut:
            raise Unavailable("cut off")
        if method != "GET":
            return self.record.write(method, body)
        if self.record.value is None:
            raise NotFound("no lease", status=404)
        return copy.deepcopy(self.record.value)


def now() -> float:
    return asyncio.get_running_loop().time()


class Replica:
    def __init__(self, record: Record, identity: str) -> None:
        self.line = Line(record)
        self.lost: list[tuple[float, str]] = []
        self.led: list[float] = []
        self.lease = Lease(
            self.line, namespace="ns", name="l", identity=identity, clock=now, now=now, times=TIMES,
            on_lost=lambda why: self.lost.append((now(), why)),
        )  # fmt: skip

    async def run(self) -> None:
        await self.lease.acquire()
        self.led.append(now())
        await self.lease.hold()


@pytest.fixture
def record() -> Record:
    return Record()


async def test_first_replica_leads_at_once_and_keeps_renewing(record) -> None:
    a = Replica(record, "a")
    task = asyncio.create_task(a.run())
    await asyncio.sleep(60)
    assert a.led == [0]
    assert a.lease.held
    a.lease.check()
    assert len(record.writes) >= 29
    assert record.value["spec"]["leaseTransitions"] == 1
    task.cancel()


async def test_nobody_writes_before_leading(record) -> None:
    a = Replica(record, "a")
    with pytest.raises(LeaseLost):
        a.lease.check()
    assert a.lost == []


async def test_second_waits_while_the_first_is_alive(record) -> None:
    a, b = Replica(record, "a"), Replica(record, "b")
    tasks = [asyncio.create_task(r.run()) for r in (a, b)]
    await asyncio.sleep(300)
    assert (a.led, b.led, a.lost) == ([0], [], [])
    for task in tasks:
        task.cancel()


@pytest.mark.parametrize("dies_after", [0.5, 7.3, 60.0])
async def test_second_takes_over_a_whole_duration_after_the_last_sign(record, dies_after: float) -> None:
    a, b = Replica(record, "a"), Replica(record, "b")
    first, second = asyncio.create_task(a.run()), asyncio.create_task(b.run())
    await asyncio.sleep(dies_after)
    first.cancel()
    last = record.writes[-1][0]
    await asyncio.sleep(60)
    assert len(b.led) == 1
    assert last + TIMES.duration <= b.led[0] <= last + TIMES.duration + 3 * TIMES.retry
    second.cancel()


async def test_late_comer_does_not_trust_an_old_record(record) -> None:
    a, b = Replica(record, "a"), Replica(record, "b")
    task = asyncio.create_task(a.run())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.sleep(1000)
    began = now()
    await b.lease.acquire()
    assert now() - began >= TIMES.duration


async def test_cut_off_leader_is_out_before_its_successor_is_in(record) -> None:
    a, b = Replica(record, "a"), Replica(record, "b")
    first, second = asyncio.create_task(a.run()), asyncio.create_task(b.run())
    await asyncio.sleep(20)
    last = record.writes[-1][0]
    a.line.cut = True
    await asyncio.sleep(60)
    assert len(a.lost) == 1
    assert a.lost[0][0] == pytest.approx(last + TIMES.renew_deadline)
    assert b.led[0] - a.lost[0][0] >= TIMES.duration - TIMES.renew_deadline
    with pytest.raises(LeaseLost):
        await first
    second.cancel()


async def test_validity_counts_from_before_the_request(record) -> None:
    a = Replica(record, "a")
    a.line.delay = 4
    await a.lease.acquire()
    assert now() == 8  # a look and a creation
    assert a.lease.held
    await asyncio.sleep(5.9)
    assert a.lease.held
    await asyncio.sleep(0.2)
    with pytest.raises(LeaseLost):
        a.lease.check()
    assert len(a.lost) == 1


async def test_stopped_process_finds_its_fence_closed(record) -> None:
    """What SIGSTOP does: nothing of the replica runs while time goes on and another takes over."""
    a, b = Replica(record, "a"), Replica(record, "b")
    await a.lease.acquire()
    await b.lease.acquire()
    assert now() >= 15
    with pytest.raises(LeaseLost):
        a.lease.check()
    assert [why for _, why in a.lost] == ["the lease could not be renewed in time"]


@pytest.mark.parametrize("how", ["taken", "deleted"])
async def test_record_that_is_no_longer_ours_ends_leadership_at_once(record, how: str) -> None:
    a = Replica(record, "a")
    task = asyncio.create_task(a.run())
    await asyncio.sleep(3)
    if how == "taken":
        record.value["spec"]["holderIdentity"] = "b"
        record.version += 1
        record.value["metadata"]["resourceVersion"] = str(record.version)
    else:
        record.value = None
    with pytest.raises(LeaseLost):
        await task
    assert now() == 4
    assert not a.lease.held
    assert len(a.lost) == 1


async def test_edited_record_stays_ours(record) -> None:
    a = Replica(record, "a")
    task = asyncio.create_task(a.run())
    await asyncio.sleep(3)
    record.version += 1
    record.value["metadata"] |= {"labels": {"x": "y"}, "resourceVersion": str(record.version)}
    await asyncio.sleep(30)
    assert a.lost == []
    assert a.lease.held
    task.cancel()


async def test_released_lease_is_taken_at_once(record) -> None:
    a, b = Replica(record, "a"), Replica(record, "b")
    first, second = asyncio.create_task(a.run()), asyncio.create_task(b.run())
    await asyncio.sleep(20)
    first.cancel()
    await a.lease.release()
    assert not a.lease.held
    await asyncio.sleep(TIMES.retry)
    assert len(b.led) == 1
    assert a.lost == []
    second.cancel()


async def test_lost_answer_of_our_own_write_is_recognised(record) -> None:
    a = Replica(record, "a")
    record.write("POST", {"metadata": {}, "spec": {"holderIdentity": "a"}})
    await a.lease.acquire()
    assert now() == 0


@pytest.mark.parametrize("times", [(10, 15, 2), (15, 10, 11), (15, 10, 0)])
def test_times_that_do_not_fence_are_refused(times: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="lease times"):
        LeaseTimes(*times)
