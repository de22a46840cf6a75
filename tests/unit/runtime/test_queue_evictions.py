"""Victims are told, once, from the round that named them until they have left or are needed no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drumline.api.queue import Reclaim, WithinQueue
from drumline.api.reasons import Reason
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.preemption import MAX_SEARCHES, Claim
from drumline.core.gang.queue_choice import QueueEntry
from drumline.core.gang.queues import Eviction, Queue, QueueQuota, RunningGang
from drumline.core.gang.types import GangRequest, Placement, Refusal
from drumline.core.training.observation import Granted
from drumline.runtime import admitter
from drumline.runtime.admitter import SEARCH_SECONDS, Admitter, Patience
from drumline.runtime.errors import Forbidden
from drumline.runtime.preflight import KEPT_SECONDS, Preflight, Sample
from drumline.runtime.queue_book import QueueBook
from drumline.runtime.queue_evictions import relieved
from tests.builders import H100, capacity, gang, gpu_block

pytestmark = pytest.mark.looptime(start=1000)


class Api:
    """Dry runs that are taken unless `refuses`, and no quotas of namespaces."""

    refuses = False

    async def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Any:
        if self.refuses and method == "POST":
            raise Forbidden("a policy says no", status=403, reason="Forbidden")
        return body if method == "POST" else {"items": []}


class Hall:
    """An admitter over one node of 8 chips, which gang "low" of queue "q" holds."""

    def __init__(self, room: Capacity) -> None:
        clock = asyncio.get_running_loop().time
        self.room, self.pods, self.heard = room, set[str](), list[str]()
        self.book = QueueBook(lambda uid: uid not in self.pods, self.heard.append, clock)
        queue = Queue(
            "q",
            quotas={H100: QueueQuota(16)},
            within_queue=WithinQueue.LOWER_PRIORITY,
            reclaim=Reclaim.NEVER,
            min_run_seconds=0,
        )
        self.book.queues["q"], self.book.entries["q"] = queue, QueueEntry("q", None)
        self.api = Api()
        preflight = Preflight(self.api, self.samples, clock)  # type: ignore[arg-type]
        self.admitter = Admitter(room, preflight, lambda _: None, clock, Patience(300.0), self.book)
        self.loop = asyncio.create_task(self.admitter.run())
        self.begin("low")

    def samples(self, request: GangRequest) -> list[Sample]:
        limits = {"nvidia.com/gpu": str(request.chips_per_worker)}
        container = {"name": "c", "resources": {"limits": limits, "requests": {"cpu": "1"}}}
        return [Sample(request.workers, {"metadata": {"name": "x"}, "spec": {"containers": [container]}})]

    def request(self, uid: str, **more: Any) -> GangRequest:
        return gang(uid, 1, chips_per_worker=8, queue="q", **more)

    def begin(self, uid: str) -> None:
        self.room.reserve(self.request(uid), Placement(("a-host-0",)))
        self.pods.add(uid)
        self.book.hold(uid, RunningGang(uid, "q", H100, 8))

    def end(self, uid: str) -> None:
        """It gives its node back, and its pods are gone."""
        self.room.release(uid)
        self.pods.discard(uid)
        self.book.hold(uid, None)
        self.admitter.wake()


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    made = Hall(capacity(gpu_block("a", 1)))
    yield made
    made.loop.cancel()
    await asyncio.gather(made.loop, return_exceptions=True)


async def test_a_victim_is_told_who_goes_first_and_leaves(hall: Hall) -> None:
    hall.admitter.want(hall.request("high", priority=10))
    await asyncio.sleep(1)
    text = "it has a higher priority in queue q, 10 over 0"
    assert hall.book.evictions.of("low") == Eviction("team/high", text)
    assert hall.heard == ["low"]
    assert isinstance(hall.admitter.answer("high"), Refusal)
    hall.admitter.wake()
    await asyncio.sleep(1)
    assert hall.heard == ["low"], "once"
    assert hall.book.evictions.named == {"q": 1}
    hall.end("low")
    await asyncio.sleep(1)
    assert isinstance(hall.admitter.answer("high"), Granted)
    assert hall.book.evictions.of("low") is None
    assert set(hall.book.now().running) == {"high"}


async def test_gangs_for_whom_nobody_can_leave_keep_no_other_from_its_turn(hall: Hall) -> None:
    for number in range(MAX_SEARCHES + 1):
        large = gang(f"large{number}", 2 + number, chips_per_worker=8, queue="q", priority=20)
        hall.admitter.want(large)
    hall.admitter.want(hall.request("high", priority=10))
    await asyncio.sleep(SEARCH_SECONDS / 2)
    assert hall.heard == []
    await asyncio.sleep(SEARCH_SECONDS)
    assert hall.heard == ["low"]


async def test_it_stays_when_nobody_asks_for_its_place_any_more(hall: Hall) -> None:
    hall.admitter.want(hall.request("high", priority=10))
    await asyncio.sleep(1)
    hall.admitter.drop("high")
    assert hall.book.evictions.of("low") is None
    assert hall.heard == ["low", "low"]


async def test_it_stays_when_there_is_another_place_by_now(hall: Hall) -> None:
    hall.admitter.want(hall.request("high", priority=10))
    await asyncio.sleep(1)
    for node in gpu_block("b", 1):
        hall.room.set_node(node)
    hall.admitter.wake()
    await asyncio.sleep(1)
    assert isinstance(hall.admitter.answer("high"), Granted)
    assert hall.book.evictions.of("low") is None


async def test_a_preemptor_that_asks_in_other_words_is_still_waited_for(hall: Hall) -> None:
    hall.admitter.want(hall.request("high", priority=10))
    await asyncio.sleep(1)
    hall.admitter.want(hall.request("high", priority=11))
    assert hall.book.evictions.of("low") is not None
    await asyncio.sleep(1)
    assert hall.book.evictions.of("low") is not None
    assert hall.heard == ["low"]


async def test_it_stays_when_who_was_to_go_first_is_refused_by_now(hall: Hall) -> None:
    hall.admitter.want(hall.request("high", priority=10))
    await asyncio.sleep(1)
    assert hall.book.evictions.of("low") is not None
    hall.api.refuses = True
    await asyncio.sleep(KEPT_SECONDS)  # that a dry run's answer counts
    hall.admitter.want(hall.request("high", priority=11))
    await asyncio.sleep(1)
    assert isinstance(hall.admitter.answer("high"), Refusal)
    assert hall.book.evictions.of("low") is None
    assert hall.heard == ["low", "low"]


async def test_who_gave_its_nodes_back_is_told_no_more_and_waited_for(hall: Hall) -> None:
    hall.admitter.want(hall.request("high", priority=10))
    await asyncio.sleep(1)
    hall.room.reserve(hall.request("low"), Placement(("a-host-0",)))
    hall.book.hold("low", None)  # its pods are still there
    assert hall.book.evictions.of("low") is None
    assert hall.book.now().running["low"].leaving
    hall.admitter.wake()
    await asyncio.sleep(1)
    assert isinstance(hall.admitter.answer("high"), Refusal)
    assert hall.heard == ["low"]


async def test_a_chip_that_is_granted_is_not_granted_again(hall: Hall) -> None:
    hall.end("low")
    for node in gpu_block("b", 4):
        hall.room.set_node(node)
    for uid in ("one", "two", "three"):
        hall.admitter.want(hall.request(uid))
        await asyncio.sleep(1)
    answers = [hall.admitter.answer(uid) for uid in ("one", "two", "three")]
    assert [type(answer) for answer in answers] == [Granted, Granted, Refusal]


def test_a_claim_waits_no_more_for_who_was_admitted_again() -> None:
    targets = {"p": Claim.of(["n"], ["v", "w"], 8), "head": frozenset({"m"})}
    found = relieved(targets, {"v"})
    claim = found["p"]
    assert isinstance(claim, Claim)
    assert (set(claim), claim.victims, claim.chips) == ({"n"}, {"w"}, 8)
    assert found["head"] == {"m"}


async def test_nobody_leaves_for_a_gang_whose_claims_can_not_be_counted_any_more(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    hall.admitter.want(hall.request("high", priority=10))
    await asyncio.sleep(1)
    assert hall.book.evictions.of("low") is not None
    refusal = Refusal(Reason.NO_FEASIBLE_NODE, "resourceclaimtemplate team/t does not exist")
    monkeypatch.setattr(admitter, "resolved", lambda *_: refusal)
    hall.admitter.wake()
    await asyncio.sleep(1)
    assert hall.book.evictions.of("low") is None


async def test_an_error_over_the_claims_of_one_gang_keeps_no_other_waiting(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolved(request: GangRequest, _: Capacity) -> GangRequest:
        if request.uid == "odd":
            raise OverflowError("a selector of its own")
        return request

    monkeypatch.setattr(admitter, "resolved", resolved)
    hall.end("low")
    for uid in ("odd", "even"):
        hall.admitter.want(hall.request(uid))
    await asyncio.sleep(1)
    assert isinstance(hall.admitter.answer("even"), Granted)
    answer = hall.admitter.answer("odd")
    assert isinstance(answer, Refusal)
    assert answer.reason is Reason.INTERNAL_ERROR
    assert "OverflowError: a selector of its own" in answer.message
