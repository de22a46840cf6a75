"""Whom a gang waits for in line, and how deadlines of those before it bound its beginning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.queue import QueueingStrategy, WithinQueue
from drumline.core.gang.admission import admit
from drumline.core.gang.explain import Explanation, explain
from drumline.core.gang.queues import Queue, QueueQuota, Queues, RunningGang
from drumline.core.gang.types import GangRequest
from tests.builders import H100, V5P, capacity, free_gpus, gang, gpu_block, tpu_gang, tpu_pool
from tests.unit.core.gang.test_explain import NOW, holder, running

STRICT = QueueingStrategy.STRICT_FIFO


def strict(*running: RunningGang, gpus: int = 64, **rules: Any) -> Queues:
    quotas = {H100: QueueQuota(gpus), V5P: QueueQuota(64)}
    queue = Queue("strict", quotas=quotas, **{"strategy": STRICT, **rules})
    return Queues({"strict": queue}, {gang.uid: gang for gang in running})


def queued(request: GangRequest) -> GangRequest:
    return replace(request, queue="strict")


def test_in_a_strict_queue_it_waits_for_the_one_before_it() -> None:
    state = capacity(gpu_block("a", 3), tpu_pool("p", 4))
    running(state, gang("r", 2))
    first, mine = queued(gang("first", 2, queued_at=1.0)), queued(gang("mine", 1, queued_at=2.0))
    chips = queued(tpu_gang("chips", hosts=4, accelerator=V5P, chips_per_worker=4, queued_at=3.0))
    line, before = (first, mine, chips), free_gpus(state)
    held = RunningGang("r", "strict", H100, 16)
    for asked, ahead in ((mine, ("team/first",)), (chips, ("team/first", "team/mine"))):
        found = explain(asked, state, line, [holder("r", chips=16, by=NOW + 60)], NOW, strict(held))
        assert found.refusal is not None
        assert found.refusal.reason == "HeadOfQueueReserved"
        assert "queue strict is StrictFIFO; team/first is ahead and waits" in found.refusal.message
        assert (found.behind, found.ahead, found.room) == ("team/first", ahead, None)
        assert (found.leavers, found.by) == ((), NOW + 60), "first begins then"
    assert free_gpus(state) == before
    loose = strict(held, strategy=QueueingStrategy.BEST_EFFORT_FIFO)
    for asked in (mine, chips):
        assert explain(asked, state, line, (), NOW, loose).refusal is None


def test_nobody_waits_for_one_that_can_begin_or_never_could() -> None:
    state = capacity(gpu_block("a", 3))
    able, mine = queued(gang("able", queued_at=1.0)), queued(gang("mine", queued_at=2.0))
    assert explain(mine, state, (able, mine), (), NOW, strict()).refusal is None
    beyond = queued(gang("beyond", 3, queued_at=1.0))
    assert explain(mine, state, (beyond, mine), (), NOW, strict(gpus=16)).refusal is None
    for_ever = explain(mine, state, (queued(gang("huge", 9, queued_at=1.0)), mine), (), NOW, strict(gpus=96))
    assert (for_ever.behind, for_ever.by, for_ever.endless) == ("team/huge", None, ())


def bound(mine: GangRequest, *others: GangRequest, **limits: float) -> Explanation:
    state = capacity(gpu_block("a", 8))
    running(state, gang("e1", 8))
    before = free_gpus(state)
    held = [holder("e1", chips=64, by=NOW + 120)]
    found = explain(mine, state, (*others, mine), held, NOW, limits=limits)
    assert free_gpus(state) == before
    return found


def test_the_latest_beginning_goes_through_those_before_it() -> None:
    e2, e3 = gang("e2", 8, queued_at=1.0), gang("e3", 8, queued_at=2.0)
    assert bound(e2).by == NOW + 120
    assert bound(e3, e2, e2=3600.0).by == NOW + 120 + 3600
    endless = bound(e3, e2)
    assert (endless.by, endless.endless) == (None, ("team/e2",))
    small = gang("small", 4, queued_at=0.5)
    assert bound(gang("e3", 4, queued_at=2.0), small).by == NOW + 120, "both fit"
    assert bound(e3, small, e2, small=50.0, e2=100.0).by == NOW + 120 + 50 + 100
    assert bound(e3, gang("huge", 99, queued_at=0.1)).by == NOW + 120, "it never begins and keeps nobody"


def test_holders_without_a_deadline_are_named_too() -> None:
    state = capacity(gpu_block("a", 2))
    running(state, gang("a"), gang("b"))
    held = [holder("a", by=NOW + 5), holder("b")]
    found = explain(gang("x", 2), state, (), held, NOW)
    assert (found.by, found.endless) == (None, ("ns/b",))


def test_too_many_before_it_leave_no_telling() -> None:
    others = tuple(gang(f"o{i:03}", queued_at=1.0) for i in range(101))
    found = bound(gang("mine", 8, queued_at=2.0), *others, **{o.uid: 1.0 for o in others})
    assert (found.by, found.endless) == (None, ())


def test_when_the_queue_may_preempt_is_told_with_whom() -> None:
    state = capacity(gpu_block("a", 3))
    running(state, gang("a"), gang("b"), gang("c"))
    young = [
        RunningGang(uid, "strict", H100, 8, admitted_at=NOW - at) for uid, at in (("a", 250), ("b", 100))
    ]
    rules = {"within_queue": WithinQueue.LOWER_PRIORITY}
    held = [holder("a"), holder("b")]
    mine = queued(gang("mine", 1, priority=5))
    found = explain(mine, state, (), held, NOW, strict(*young, **rules))
    assert (found.preempts_at, [h.uid for h in found.later]) == (NOW + 50, ["a"])
    both = queued(gang("mine", 2, priority=5))
    found = explain(both, state, (), held, NOW, strict(*young, **rules))
    assert (found.preempts_at, {h.uid for h in found.later}) == (NOW + 200, {"a", "b"})
    alone = explain(mine, state, (), held, NOW, strict(*young))
    assert (alone.preempts_at, alone.later) == (None, ())


GANGS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 99), st.integers(0, 99)), max_size=5)


@settings(max_examples=40)
@given(GANGS, GANGS, st.integers(1, 8))
def test_whoever_ends_earlier_lets_nobody_begin_later(
    held: list[tuple[int, int, int]], line: list[tuple[int, int, int]], size: int
) -> None:
    """Rows: workers, seconds that it may run, seconds by which it ends earlier than that."""
    state = capacity(gpu_block("a", 8))
    able = [i for i, (n, _, _) in enumerate(held) if admit([gang(f"h{i}", n)], state, 0.0, 300.0).granted]
    others = [gang(f"o{i}", workers, queued_at=float(i)) for i, (workers, _, _) in enumerate(line)]
    mine, before = gang("mine", size, queued_at=9.0), free_gpus(state)

    def begins(*, early: bool) -> float:
        def seconds(row: tuple[int, int, int]) -> float:
            return max(0, row[1] - row[2]) if early else row[1]

        holders = [holder(f"h{i}", by=NOW + seconds(held[i])) for i in able]
        limits = {other.uid: float(seconds(row)) for other, row in zip(others, line, strict=True)}
        found = explain(mine, state, (*others, mine), holders, NOW, limits=limits)
        assert free_gpus(state) == before
        assert (found.by is None) == (found.refusal is None), "everybody has a deadline"
        return NOW if found.by is None else found.by

    assert NOW <= begins(early=True) <= begins(early=False)
