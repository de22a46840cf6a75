"""The loop that lets gangs in: who waits for whom, and what nobody waits for."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drumline.api.reasons import Reason
from drumline.core.gang import admission_turn
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.placement_elastic import place_most
from drumline.core.gang.queues import Queue
from drumline.core.gang.types import GangRequest, Refusal
from drumline.core.training.observation import Granted
from drumline.runtime import telling
from drumline.runtime.admitter import CHECKS, Admitter, Patience
from drumline.runtime.errors import Unavailable
from drumline.runtime.preflight import Preflight, Sample
from tests.builders import capacity, gang, gpu_block, pod

pytestmark = pytest.mark.looptime(start=0)


class Api:
    """Dry runs that may hang or fail by namespace, and one quota for each namespace that has one."""

    def __init__(self) -> None:
        self.hanging: set[str] = set()
        self.failing: dict[str, Exception] = {}
        self.quotas: dict[str, int] = {}  # pods that are free
        self.under_way = 0
        self.most = 0
        self.lists: Counter[str] = Counter()

    async def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Any:
        namespace = path.split("/")[4]
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(1e6 if namespace in self.hanging else 0.01)
        finally:
            self.under_way -= 1
        if namespace in self.failing:
            raise self.failing[namespace]
        if method == "POST":
            return body
        self.lists[namespace] += 1
        free = self.quotas.get(namespace)
        status = {"hard": {"pods": str(free)}, "used": {"pods": "0"}}
        return {"items": [] if free is None else [{"metadata": {"name": "q"}, "status": status}]}


PATIENCE = Patience(300.0)


class Hall:
    """An admitter at work."""

    def __init__(self, room: Capacity, patience: Patience = PATIENCE) -> None:
        clock = asyncio.get_running_loop().time
        self.api = Api()
        self.changed: list[tuple[str, str]] = []
        preflight = Preflight(self.api, self.samples, clock)  # type: ignore[arg-type]
        self.room = room
        self.admitter = Admitter(room, preflight, self.heard, clock, patience)
        self.loop = asyncio.create_task(self.admitter.run())

    def heard(self, request: GangRequest) -> None:
        self.changed.append((request.namespace, request.name))

    def samples(self, request: GangRequest) -> list[Sample]:
        metadata = {"name": f"{request.name}-1-0-0", "annotations": {"only": request.name}}
        limits = {"nvidia.com/gpu": str(request.chips_per_worker)}
        container = {"name": "c", "resources": {"limits": limits, "requests": {"cpu": "1"}}}
        return [Sample(request.workers, {"metadata": metadata, "spec": {"containers": [container]}})]

    def want(self, uid: str, workers: int = 1, **more: Any) -> None:
        self.admitter.want(gang(uid, workers, **more))

    def reason(self, uid: str) -> str:
        answer = self.admitter.answer(uid)
        return answer.reason if isinstance(answer, Refusal) else "granted" if answer else ""


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    made = Hall(capacity(gpu_block("a", 8)))
    yield made
    made.loop.cancel()
    await asyncio.gather(made.loop, return_exceptions=True)


async def test_a_gang_that_fits_is_granted(hall: Hall) -> None:
    hall.want("g", 2)
    await asyncio.sleep(1)
    assert isinstance(hall.admitter.answer("g"), Granted)
    assert hall.changed == [("team", "g")]


async def test_nobody_is_let_in_while_pods_or_nodes_are_to_be_listed_anew(hall: Hall) -> None:
    blind = [True]
    hall.admitter.is_blind = lambda: bool(blind)
    hall.want("g", 2)
    await asyncio.sleep(60)
    assert hall.reason("g") == ""
    blind.clear()
    await asyncio.sleep(1)
    assert hall.reason("g") == "granted"


async def test_nobody_passes_queues_that_are_not_taken_in(hall: Hall) -> None:
    book = hall.admitter.book
    book.settling = True
    hall.want("g")
    await asyncio.sleep(1)
    assert hall.reason("g") == ""
    book.take_in({}, {"q": Queue("q")})
    hall.want("h", queue="q")
    await asyncio.sleep(1)
    assert (hall.reason("g"), hall.reason("h")) == ("", Reason.QUEUE_QUOTA), "g may be in q by now"
    hall.want("g")
    await asyncio.sleep(1)
    assert hall.reason("g") == "granted"


async def test_a_webhook_that_hangs_in_one_namespace_holds_up_no_other(hall: Hall) -> None:
    hall.api.hanging.add("stuck")
    for number in range(50):
        hall.want(f"s{number}", namespace="stuck")
    hall.want("g")
    await asyncio.sleep(1)
    assert hall.reason("g") == "granted"
    assert hall.reason("s0") == ""


async def test_a_gang_goes_before_every_priority_when_its_patience_ends() -> None:
    hall = Hall(capacity(gpu_block("a", 2)), Patience(300.0, aging=50.0))
    try:
        hall.want("runs", 2)
        await asyncio.sleep(1)
        now = asyncio.get_running_loop().time()
        hall.want("old", 2, queued_at=now)
        await asyncio.sleep(30)
        hall.want("high", 2, priority=9, queued_at=now + 30)
        await asyncio.sleep(1)
        assert [r.uid for r in hall.admitter.waiting() if r.aged] == []
        await asyncio.sleep(30)
        hall.room.release("runs")
        hall.admitter.drop("runs")
        hall.admitter.wake()
        await asyncio.sleep(1)
        assert (hall.reason("old"), hall.reason("high")) == ("granted", "InsufficientAccelerators")
    finally:
        hall.loop.cancel()
        await asyncio.gather(hall.loop, return_exceptions=True)


async def test_few_preflights_run_at_once(hall: Hall) -> None:
    for number in range(100):
        hall.want(f"g{number}", namespace=f"n{number}", gpus=1)
    await asyncio.sleep(0.02)
    assert len(hall.admitter) == 100
    await asyncio.sleep(5)
    assert hall.api.most == CHECKS


async def test_the_preflight_of_a_gang_that_asks_no_more_is_cancelled(hall: Hall) -> None:
    hall.api.hanging.add("stuck")
    for number in range(4):
        hall.want(f"s{number}", namespace="stuck")
    await asyncio.sleep(1)
    for number in range(4):
        hall.admitter.drop(f"s{number}")
    hall.api.hanging.clear()
    hall.want("next", namespace="stuck")
    await asyncio.sleep(1)
    assert hall.reason("next") == "granted"


async def test_what_is_under_way_ends_with_the_loop(hall: Hall) -> None:
    hall.api.hanging.add("stuck")
    hall.want("s", namespace="stuck")
    await asyncio.sleep(1)
    assert hall.api.under_way == 1
    hall.loop.cancel()
    await asyncio.gather(hall.loop, return_exceptions=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert hall.api.under_way == 0


@pytest.mark.parametrize("error", [Unavailable("no answer"), KeyError("spec"), TypeError("odd")])
async def test_an_error_is_that_gangs_refusal_and_logged_once(
    hall: Hall, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    hall.api.failing["odd"] = error
    hall.want("x", namespace="odd")
    hall.want("g")
    with caplog.at_level(logging.WARNING):
        await asyncio.sleep(60)
    assert hall.reason("x") == Reason.PREFLIGHT
    assert hall.reason("g") == "granted"
    assert len([r for r in caplog.records if "preflight" in r.message]) == 1
    hall.api.failing.clear()
    await asyncio.sleep(20)
    assert hall.reason("x") == "granted"


async def test_a_preflight_that_ends_after_its_gang_leaves_nothing_behind(hall: Hall) -> None:
    hall.api.failing["odd"] = Unavailable("no answer")
    hall.want("x", namespace="odd")
    await asyncio.sleep(0.025)
    hall.admitter.drop("x")
    await asyncio.sleep(5)
    assert hall.admitter.answer("x") is None
    assert len(hall.admitter) == 0


async def test_two_gangs_of_one_quota_are_not_granted_together(hall: Hall) -> None:
    hall.api.quotas["team"] = 5
    hall.want("a", 3)
    hall.want("b", 3)
    await asyncio.sleep(1)
    assert (hall.reason("a"), hall.reason("b")) == ("granted", Reason.NAMESPACE_QUOTA)
    assert not hall.room.reserved("b")
    hall.admitter.drop("a")
    await asyncio.sleep(10)
    assert hall.reason("b") == "granted"


async def test_a_gang_that_waited_is_checked_again_before_it_begins(hall: Hall) -> None:
    hall.want("a", 8)
    hall.want("b", 8)
    await asyncio.sleep(60)
    assert hall.reason("b") == Reason.INSUFFICIENT_ACCELERATORS
    hall.api.quotas["team"] = 7
    hall.admitter.drop("a")
    hall.room.release("a")
    hall.admitter.wake()
    await asyncio.sleep(1)
    assert hall.reason("b") == Reason.NAMESPACE_QUOTA
    hall.api.quotas["team"] = 8
    await asyncio.sleep(20)
    assert hall.reason("b") == "granted"


async def test_nobody_passes_a_gang_whose_quota_is_being_looked_up(hall: Hall) -> None:
    hall.want("a", 8)
    hall.want("first", 8, namespace="one")
    hall.want("later", 8, namespace="two", queued_at=1.0)
    await asyncio.sleep(60)
    hall.admitter.drop("a")
    hall.room.release("a")
    hall.admitter.wake()
    await asyncio.sleep(1)
    assert (hall.reason("first"), hall.reason("later")) == ("granted", Reason.INSUFFICIENT_ACCELERATORS)


async def test_a_quota_that_cannot_be_listed_holds_up_its_own_namespace_only(hall: Hall) -> None:
    hall.want("a", 8)
    hall.want("first", 8, namespace="one")
    hall.want("later", 8, namespace="two", queued_at=1.0)
    await asyncio.sleep(60)
    hall.api.hanging.add("one")
    hall.admitter.drop("a")
    hall.room.release("a")
    hall.admitter.wake()
    await asyncio.sleep(10)
    assert hall.reason("later") == "granted"


async def test_many_that_wait_are_told_of_numbers_less_often(hall: Hall) -> None:
    for number in range(400):
        hall.want(f"g{number}", 9)
    await asyncio.sleep(5)
    assert len(hall.changed) == 400
    for step in range(15):
        for extra in gpu_block("b", step + 1, gpus=1):
            hall.room.set_node(extra)
        hall.admitter.wake()
        await asyncio.sleep(1)
    assert len(hall.changed) == 400
    await asyncio.sleep(5)
    for extra in gpu_block("c", 1, gpus=2):
        hall.room.set_node(extra)
    hall.admitter.wake()
    await asyncio.sleep(1)
    assert len(hall.changed) == 800


async def test_numbers_that_were_not_told_are_told_though_nothing_else_happens(hall: Hall) -> None:
    hall.want("a", 8)
    hall.want("b", 8)
    await asyncio.sleep(2)
    hall.want("c", 8)
    for extra in gpu_block("b", 1, gpus=1):
        hall.room.set_node(extra)
    hall.admitter.wake()
    await asyncio.sleep(1)
    told = len(hall.changed)
    await asyncio.sleep(telling.RETELL_SECONDS * 2)
    assert len(hall.changed) == told + 1, "b hears of the node"
    await asyncio.sleep(60)
    assert len(hall.changed) == told + 1, "and nobody hears the same again"


async def test_of_very_many_that_wait_the_first_in_line_hear_first_and_all_in_time(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "BURST", 20.0)
    for number in range(100):
        hall.want(f"g{number:02}", 9, queued_at=float(number))
    await asyncio.sleep(2)
    told = [name for _, name in hall.changed]
    assert "g00" in told
    assert len(told) < 100
    assert hall.reason("g99") == Reason.INSUFFICIENT_ACCELERATORS, "whoever asks hears it"
    await asyncio.sleep(30)
    assert len({name for _, name in hall.changed}) == 100


async def test_who_is_let_in_hears_it_at_once_however_many_wait(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "BURST", 20.0)
    for number in range(100):
        hall.want(f"g{number}", 9)
    hall.want("small")
    await asyncio.sleep(2)
    assert ("team", "small") in hall.changed
    assert len(hall.changed) < 100


@pytest.mark.parametrize(("free", "slices"), [(6, 3), (5, 2), (4, 2), (3, 1), (8, 4)])
async def test_a_quota_lets_an_elastic_gang_in_with_what_it_has_room_for(
    hall: Hall, free: int, slices: int
) -> None:
    hall.api.quotas["team"] = free
    hall.want("g", 2, slices=4, min_slices=1)
    await asyncio.sleep(1)
    answer = hall.admitter.answer("g")
    assert isinstance(answer, Granted)
    assert (answer.slices, len(answer.placement.nodes)) == (slices, 2 * slices)


async def test_a_quota_without_room_for_the_fewest_refuses(hall: Hall) -> None:
    hall.api.quotas["team"] = 3
    hall.want("g", 2, slices=4, min_slices=2)
    await asyncio.sleep(1)
    assert hall.reason("g") == Reason.NAMESPACE_QUOTA


async def test_its_own_pods_that_are_going_make_no_gang_smaller(hall: Hall) -> None:
    hall.api.quotas["team"] = 4
    hall.room.set_pod(pod("old", on="a-host-0", gpus=8, gang="g"))
    hall.want("g", 2, slices=4, min_slices=1)
    await asyncio.sleep(1)
    assert hall.reason("g") == Reason.NAMESPACE_QUOTA
    hall.room.remove_pod("team", "old")
    await asyncio.sleep(5)
    answer = hall.admitter.answer("g")
    assert isinstance(answer, Granted)
    assert answer.slices == 2


async def test_an_elastic_gang_claims_only_what_it_was_granted(hall: Hall) -> None:
    hall.api.quotas["team"] = 8
    hall.room.set_pod(pod("alien", on="a-host-7", gpus=8))
    hall.want("g", 2, slices=4, min_slices=1)
    hall.want("h", 1, namespace="team", gpus=0)
    await asyncio.sleep(1)
    answer = hall.admitter.answer("g")
    assert isinstance(answer, Granted)
    assert answer.slices == 3
    assert hall.reason("h") == "granted"


async def test_an_error_over_one_gang_keeps_no_other_waiting(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def placed(request: GangRequest, *rest: Any) -> Any:
        if request.uid == "odd":
            raise ZeroDivisionError("no such number")
        return place_most(request, *rest)

    monkeypatch.setattr(admission_turn, "place_most", placed)
    hall.want("odd", priority=10)
    hall.want("even")
    await asyncio.sleep(1)
    assert (hall.reason("even"), hall.reason("odd")) == ("granted", Reason.INTERNAL_ERROR)
    hall.admitter.wake()
    await asyncio.sleep(1)
    (record,) = [r for r in caplog.records if "ZeroDivisionError: no such number" in r.getMessage()]
    assert record.exc_info is not None
