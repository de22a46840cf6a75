"""Which musters the operator hears, and which polls wait for what; both ends of the socket with each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drumline.api.orders import Muster, Orders
from drumline.runtime.ingest import link as link_module
from drumline.runtime.ingest import musters as musters_module
from drumline.runtime.ingest.bus import ReportBus
from drumline.runtime.ingest.link import Link
from drumline.runtime.ingest.musters import NO_ORDERS, WINDOW, Hold, Musters
from drumline.runtime.ingest.verdicts import (
    Forbidden,
    Heard,
    MusterVerdict,
    NotLeader,
    Reporter,
    Stale,
    Told,
    Unavailable,
)

GANG = ("job-uid", 1)


def muster(**fields: Any) -> Muster:
    job = {"namespace": "ns", "name": "llama", "uid": "job-uid"}
    whole = {"version": 1, "job": job, "attempt": 1, "origin": "one", "state": "Running", **fields}
    return Muster.model_validate(whole)


def pod(index: int = 0) -> Reporter:
    return Reporter("ns", f"llama-{index}", f"uid-{index}")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0)


class Crews:
    """The operator's part."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Muster]] = []
        self.orders: dict[tuple[str, int], Orders] = {}
        self.answer: Callable[[Muster], MusterVerdict] = lambda _muster: Heard()
        self.outlet: Callable[[Told], None] = lambda _told: None

    def hear(self, found: Muster, reporter: Reporter) -> MusterVerdict:
        self.heard.append((reporter.uid, found))
        return self.answer(found)

    def told(self) -> Iterator[Told]:
        return (Told(*gang, orders) for gang, orders in self.orders.items())

    def tell(self, orders: Orders, gang: tuple[str, int] = GANG) -> None:
        self.orders[gang] = orders
        self.outlet(Told(*gang, orders))

    def end(self, gang: tuple[str, int] = GANG) -> None:
        self.orders.pop(gang, None)
        self.outlet(Told(*gang, None, over=True))


class Pair:
    """Both ends."""

    def __init__(self, path: Path) -> None:
        self.crews = Crews()
        self.bus = ReportBus(path)
        self.bus.attend(self.crews)
        self.link = Link(path)

    @property
    def musters(self) -> Musters:
        return self.link.musters

    async def say(self, found: Muster, index: int = 0) -> MusterVerdict:
        return await self.musters.submit(found, pod(index))

    async def hold(self, found: Muster, index: int = 0) -> Hold:
        assert await self.say(found, index) == Heard()
        return self.musters.hold(found, pod(index).uid)


@pytest.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr(link_module, "RECONNECT_SECONDS", 0.0)
    made = Pair(tmp_path / "socket")
    await made.bus.start()
    running = asyncio.create_task(made.link.run())
    await until(lambda: made.link.connected)
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await made.bus.stop()


async def test_the_operator_hears_what_is_new_and_no_more(pair: Pair) -> None:
    for found in (
        muster(),
        muster(digest="x"),
        muster(state="Ended", exit_code=3),
        muster(state="Ended", exit_code=3),
    ):
        assert await pair.say(found) == Heard()
    assert await pair.say(muster(), 1) == Heard()
    states = [(uid, m.state.value, m.digest) for uid, m in pair.crews.heard]
    assert states == [("uid-0", "Running", ""), ("uid-0", "Ended", ""), ("uid-1", "Running", "")]


@pytest.mark.parametrize("verdict", [Stale("over"), Forbidden("no"), NotLeader(1.0)])
async def test_what_was_refused_is_heard_again(pair: Pair, verdict: MusterVerdict) -> None:
    pair.crews.answer = lambda _muster: verdict
    assert [await pair.say(muster()) for _ in range(2)] == [verdict] * 2
    assert len(pair.crews.heard) == 2


async def test_more_than_the_window_at_once_and_the_newest_of_each(pair: Pair) -> None:
    count = 3 * WINDOW
    sends = [pair.say(muster(), i) for i in range(count)]
    sends += [pair.say(muster(state="Ended"), i) for i in range(count)]
    assert await asyncio.gather(*sends) == [Heard()] * (2 * count)
    last = {uid: m.state.value for uid, m in pair.crews.heard}
    assert (len(last), set(last.values())) == (count, {"Ended"})
    assert len(pair.crews.heard) == count, "an older one that still waited was not worth hearing"


async def test_a_poll_waits_for_other_orders_than_it_knows(pair: Pair) -> None:
    assert pair.musters.body(GANG) == NO_ORDERS
    hold = await pair.hold(muster())
    assert not hold.ended.done()
    orders = Orders(epoch=1, go=False)
    pair.crews.tell(orders)
    assert await hold.ended == Heard()
    assert Orders.model_validate_json(pair.musters.body(GANG)) == orders
    pair.musters.release(hold)
    knows = await pair.hold(muster(digest=orders.digest))
    pair.crews.tell(orders)
    pair.crews.tell(Orders(epoch=5), ("job-uid", 2))
    pair.crews.tell(Orders(epoch=6), ("other", 1))
    await until(lambda: pair.musters.body(("other", 1)) != NO_ORDERS)
    assert not knows.ended.done()
    assert (await pair.hold(muster(), 1)).ended.done(), "it knows none"
    assert pair.musters.held == 2


async def test_an_attempt_that_is_over(pair: Pair) -> None:
    pair.crews.tell(Orders(epoch=1))
    hold = await pair.hold(muster(digest=Orders(epoch=1).digest))
    pair.crews.end()
    assert await hold.ended == Stale()
    assert pair.musters.body(GANG) == NO_ORDERS
    await pair.say(muster())
    assert len(pair.crews.heard) == 2, "nothing of it is known any more"


async def test_an_attempt_that_ends_before_who_was_heard_waits(pair: Pair) -> None:
    assert await pair.say(muster()) == Heard()
    pair.crews.end()
    await until(lambda: bool(pair.musters._over))
    hold = pair.musters.hold(muster(), "uid-0")
    assert hold.ended.result() == Stale()
    pair.musters.release(hold)
    assert not (await pair.hold(muster())).ended.done(), "the operator has the last word"


async def test_a_pod_has_one_poll(pair: Pair) -> None:
    first = await pair.hold(muster())
    second = await pair.hold(muster(state="Ended"))
    assert (await first.ended, second.ended.done(), pair.musters.held) == (Heard(), False, 1)
    pair.musters.release(first)
    assert pair.musters.held == 1
    pair.musters.release(second)
    assert (pair.musters.held, pair.musters._holds) == (0, {})


async def test_an_operator_that_comes_back_is_told_and_tells_all_again(pair: Pair) -> None:
    pair.crews.tell(Orders(epoch=1))
    hold = await pair.hold(muster(digest=Orders(epoch=1).digest))
    await pair.bus.stop()
    assert await hold.ended == Unavailable()
    pair.musters.release(hold)
    assert await pair.say(muster()) == Unavailable()
    assert pair.musters.hold(muster(), "uid-0").ended.result() == Unavailable()
    pair.crews.orders = {GANG: Orders(epoch=2)}
    await pair.bus.start()
    await until(lambda: pair.link.connected)
    assert await pair.say(muster()) == Heard()
    assert Orders.model_validate_json(pair.musters.body(GANG)).epoch == 2
    assert len(pair.crews.heard) == 2


async def test_a_replica_that_does_not_lead_hears_nothing(pair: Pair) -> None:
    pair.bus.ignore()
    assert isinstance(await pair.say(muster()), NotLeader)
    pair.crews.orders = {GANG: Orders(epoch=3)}
    pair.bus.attend(pair.crews)
    assert await pair.say(muster()) == Heard()
    assert Orders.model_validate_json(pair.musters.body(GANG)).epoch == 3


async def test_an_operator_that_fails_or_is_too_slow(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_muster: Muster) -> MusterVerdict:
        raise KeyError("oops")

    pair.crews.answer = fail
    assert await pair.say(muster()) == Unavailable("the operator failed")
    monkeypatch.setattr(musters_module, "VERDICT_SECONDS", -1.0)
    monkeypatch.setattr(pair.bus, "hear", lambda *_: pair.musters.give_up() or Heard())
    assert await pair.say(muster()) == Unavailable("the operator did not answer in time")


async def test_memory_has_an_end(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(musters_module, "MOST_HEARD", 3)
    for index in range(4):
        await pair.say(muster(), index)
    await pair.say(muster(), 3)
    assert len(pair.crews.heard) == 4
    await pair.say(muster(), 0)
    assert len(pair.crews.heard) == 5, "it was forgotten, which costs a repeat"


async def test_room_to_wait_is_made_by_the_gang_that_has_most_of_it(pair: Pair) -> None:
    await pair.say(muster())
    first, *_ = [pair.musters.hold(muster(), f"uid-{i}") for i in range(3)]
    assert not pair.musters.make_room(GANG), "it has most itself"
    assert pair.musters.make_room(("other", 1))
    assert (first.displaced, first.ended.result()) == (True, Heard())
    pair.musters.release(first)
    other = muster(job={"namespace": "ns", "name": "other", "uid": "other"})
    pair.musters.hold(other, "uid-9")
    assert not pair.musters.make_room(("other", 1)), "one more, and it would have as many"
