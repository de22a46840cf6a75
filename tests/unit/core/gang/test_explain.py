"""Why a gang waits, who would have to leave, and until when it should have its nodes at the latest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from drumline.api.queue import Reclaim
from drumline.core.gang.admission import admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.explain import Explanation, Holder, explain
from drumline.core.gang.placement import place
from drumline.core.gang.queues import Queue, QueueQuota, Queues, RunningGang
from drumline.core.gang.types import GangRequest, Placement
from tests.builders import capacity, free_gpus, gang, gpu_block

NOW = 1000.0


def running(state: Capacity, *gangs: GangRequest) -> None:
    result = admit(gangs, state, 0.0, 300.0)
    assert len(result.granted) == len(gangs)


def holder(
    uid: str, priority: int = 0, chips: int = 8, unsaved: float = 1.0, by: float | None = None
) -> Holder:
    return Holder(uid, f"ns/{uid}", priority, chips, unsaved, by)


def told(
    state: Capacity, request: GangRequest, *holders: Holder, waiting: tuple[GangRequest, ...] = ()
) -> Explanation:
    return explain(request, state, waiting, holders, NOW)


def test_a_gang_that_fits_is_held_up_by_nobody() -> None:
    assert told(capacity(gpu_block("a", 2)), gang("x", 2)) == Explanation(None, None)


def test_one_that_no_cluster_of_this_size_could_hold_says_so() -> None:
    found = told(capacity(gpu_block("a", 2)), gang("x", 3))
    assert found.ever is not None
    assert "needs 24 × nvidia-h100-80gb" in found.ever.message
    assert (found.leavers, found.by) == ((), None)


def test_those_ahead_ask_for_the_same_and_come_before_it() -> None:
    mine = gang("x", 9, queued_at=5.0)
    others = (
        gang("old", queued_at=1.0),
        gang("high", queued_at=9.0, priority=3),
        gang("late", queued_at=9.0),
        mine,
    )
    assert told(capacity(gpu_block("a", 2)), mine, waiting=others).ahead == ("team/high", "team/old")


def test_who_leaves_has_the_lowest_priority_and_the_least_to_lose() -> None:
    state = capacity(gpu_block("a", 3))
    running(state, gang("a"), gang("b"), gang("c"))
    before = free_gpus(state)
    three = holder("a", unsaved=50), holder("b", unsaved=10), holder("c", priority=1, unsaved=1)
    found = told(state, gang("x", 1, priority=5), *three)
    assert [h.uid for h in found.leavers] == ["b"]
    assert [h.uid for h in told(state, gang("x", 2, priority=5), *three).leavers] == ["b", "a"]
    assert [h.uid for h in told(state, gang("x", 3, priority=5), *three).leavers] == ["b", "a", "c"]
    assert told(state, gang("x", 3), *three).leavers == ()
    assert free_gpus(state) == before


def test_nobody_leaves_in_vain() -> None:
    """The least costly one holds nodes that do not help: with the costlier one gone it may stay."""
    state = capacity(gpu_block("a", 4))
    running(state, gang("small", 1), gang("big", 3))
    found = told(state, gang("x", 3), holder("small", unsaved=1), holder("big", chips=24, unsaved=1))
    assert [h.uid for h in found.leavers] == ["big"]


def test_deadlines_say_when_at_the_latest() -> None:
    state = capacity(gpu_block("a", 3))
    running(state, gang("a"), gang("b"), gang("c"))
    three = holder("a", by=NOW + 30), holder("b", by=NOW + 10), holder("c")
    assert told(state, gang("x", 1), *three).by == NOW + 10
    assert told(state, gang("x", 2), *three).by == NOW + 30
    assert told(state, gang("x", 3), *three).by is None
    assert told(state, gang("x", 1), holder("a", by=NOW - 9)).by == NOW


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 99)), max_size=6),
    st.integers(1, 8),
)
def test_who_leaves_makes_room_and_none_of_them_can_stay(rows: list[tuple[int, int, int]], size: int) -> None:
    state = capacity(gpu_block("a", 8))
    placed = [
        (uid, workers, priority, loss)
        for i, (workers, priority, loss) in enumerate(rows)
        if admit([gang(uid := f"g{i}", workers)], state, 0.0, 300.0).granted
    ]
    holders = [holder(uid, priority, 8 * workers, loss) for uid, workers, priority, loss in placed]
    before, request = free_gpus(state), gang("x", size, priority=1)
    found = told(state, request, *holders)
    assert free_gpus(state) == before
    assert all(h.priority <= 1 for h in found.leavers)
    if found.leavers:
        for left in (None, *found.leavers):
            rest = capacity(gpu_block("a", 8))
            running(
                rest,
                *(
                    gang(uid, w)
                    for uid, w, _, _ in placed
                    if uid not in {h.uid for h in found.leavers if h is not left}
                ),
            )
            assert isinstance(place(request, rest), Placement) is (left is None)


KIND = "nvidia-h100-80gb"


def queued(request: GangRequest, queue: str) -> GangRequest:
    return replace(request, queue=queue)


def sharing(*running: RunningGang, **rules: Any) -> Queues:
    """Two queues of a cohort with half of 16 chips each; `lends` may take back what it lends."""
    quotas = {KIND: QueueQuota(8)}
    both = (Queue("lends", "all", quotas=quotas, **rules), Queue("borrows", "all", quotas=quotas))
    return Queues({q.name: q for q in both}, {gang.uid: gang for gang in running})


def test_whom_the_queue_has_leave_is_told_by_its_right() -> None:
    state = capacity(gpu_block("a", 2))
    running(state, gang("a"), gang("b"))
    held = [RunningGang(uid, "borrows", KIND, 8, admitted_at=0.0) for uid in ("a", "b")]
    held[0] = replace(held[0], saved_at=NOW - 1)
    holders = (holder("a"), holder("b"))
    mine = queued(gang("x"), "lends")
    found = explain(mine, state, (), holders, NOW, sharing(*held, reclaim=Reclaim.ANY))
    assert ([h.uid for h in found.victims], found.leavers) == (["a"], ())
    young = [replace(gang, admitted_at=NOW - 60) for gang in held]
    found = explain(mine, state, (), holders, NOW, sharing(*young, reclaim=Reclaim.ANY))
    assert (found.victims, found.preempts_at) == ((), NOW + 240)
    found = explain(mine, state, (), holders, NOW, sharing(*held))
    assert (found.victims, [h.uid for h in found.leavers], found.preempts_at) == ((), ["a"], None)


def test_quota_holds_a_gang_up_as_nodes_do() -> None:
    state = capacity(gpu_block("a", 4))
    running(state, gang("a"), gang("b"))
    held = [RunningGang(uid, "borrows", KIND, 8) for uid in ("a", "b")]
    found = explain(
        queued(gang("x"), "borrows"), state, (), (holder("a"), holder("b", by=5.0)), NOW, sharing(*held)
    )
    assert found.refusal is not None
    assert found.refusal.reason == "QueueQuotaExceeded"
    assert ([h.uid for h in found.leavers], found.by) == (["a"], NOW)
    found = explain(queued(gang("x", 3), "borrows"), state, (), (), NOW, sharing())
    assert found.ever is not None
    assert "quota 8" in found.ever.message
    unknown = explain(queued(gang("x"), "none"), state, (), (), NOW, sharing())
    assert unknown.refusal is not None


def test_who_is_ahead_is_told_by_shares_too() -> None:
    held = [RunningGang(uid, "borrows", KIND, 8) for uid in ("a", "b")]
    mine, other = queued(gang("x", queued_at=5.0), "lends"), queued(gang("y", queued_at=1.0), "borrows")
    state = capacity(gpu_block("a", 4))
    assert explain(mine, state, (other, mine), (), NOW, sharing(*held)).ahead == ()
    assert explain(other, state, (other, mine), (), NOW, sharing(*held)).ahead == ("team/x",)
