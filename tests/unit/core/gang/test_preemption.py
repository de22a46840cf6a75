"""Who has to leave, and that nobody leaves in vain."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from drumline.api.queue import QueueingStrategy, Reclaim, WithinQueue
from drumline.core.gang.admission import AdmissionRound, Undecided
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.preemption import MAX_SEARCHES, Claim
from drumline.core.gang.queues import Queue, Queues, RunningGang
from drumline.core.gang.types import GangRequest, Refusal
from tests.builders import capacity, gang, gpu_block
from tests.unit.core.gang.queue_cases import decide, hold, names, queue, queues, runs

LOWER = WithinQueue.LOWER_PRIORITY


def full(*running: RunningGang) -> Capacity:
    """A cluster of 8-chip nodes that is full with these gangs."""
    state = capacity(gpu_block("x", sum(r.chips for r in running) // 8))
    first = 0
    for each in running:
        hosts = range(first, first + each.chips // 8)
        hold(state, each.uid, *(f"x-host-{i}" for i in hosts))
        first = hosts.stop
    return state


def within(**more: Any) -> Queue:
    return queue("a", 64, within_queue=LOWER, **more)


def round_of(every: tuple[Queue, ...], running: list[RunningGang], *pending: GangRequest) -> AdmissionRound:
    return decide(full(*running), queues(*every, running=running), *pending)


def high(uid: str = "p", workers: int = 1, **more: Any) -> GangRequest:
    return gang(uid, workers, **{"queue": "a", "priority": 10, **more})


def test_the_gang_of_lowest_priority_goes_then_the_one_that_loses_least() -> None:
    running = [
        runs("dear", "a", admitted_at=100.0),
        runs("saved", "a", admitted_at=100.0, saved_at=650.0),
        runs("mid", "a", priority=5, admitted_at=600.0),
    ]
    result = round_of((within(),), running, high())
    assert result.victims == {"p": ("saved",)}
    assert names(result) == []
    assert result.refused["p"].message.endswith("waits for 1 that is to leave")


def test_no_more_go_than_need_to() -> None:
    running = [
        runs("cheap", "a", 8),
        runs("large", "a", 16, saved_at=0.0),
        runs("other", "a", 8, priority=10),
    ]
    assert round_of((within(),), running, high("p", 2)).victims == {"p": ("large",)}


@pytest.mark.parametrize(
    ("policy", "victim"),
    [
        (within(), runs("v", "a", priority=10)),
        (within(), runs("v", "a", admitted_at=900.0)),
        (within(), runs("v", "b")),
        (within(), runs("v", "")),
        (queue("a", 64), runs("v", "a")),
        (queue("a", 64, reclaim=Reclaim.ANY), runs("v", "a")),
        (queue("a", 64, reclaim=Reclaim.ANY), runs("v", "b")),
    ],
    ids=[
        "equal priority",
        "ran too short",
        "another queue",
        "no queue",
        "never",
        "own gang",
        "does not borrow",
    ],
)
def test_whom_policy_protects_stays(policy: Queue, victim: RunningGang) -> None:
    result = round_of((policy, queue("b", 64)), [victim], high())
    assert not result.victims
    assert "p" in result.refused


def test_who_runs_too_short_yet_is_looked_at_again_when_that_is_over() -> None:
    assert round_of((within(),), [runs("v", "a", admitted_at=900.0)], high()).requeue_after == 200.0


def test_who_can_not_be_told_to_leave_stays() -> None:
    result = round_of((within(min_run_seconds=0),), [runs("odd", "a", admitted_at=inf)], high())
    assert result.victims == {}
    assert result.requeue_after == pytest.approx(1e9, rel=1e-3), "for the head, and for nobody else"


def test_a_full_pinned_node_evicts_nobody() -> None:
    """One gang that may be preempted would free a node, but not the one that is asked for."""
    pinned = frozenset({"x-host-0"})
    running = [runs("v", "a"), runs("guard", "a", priority=10)]
    assert not round_of((within(),), running, high(excluded=pinned)).victims


def test_what_would_not_be_enough_evicts_nobody() -> None:
    running = [runs("v", "a"), runs("guard", "a", priority=10)]
    assert not round_of((within(),), running, high(workers=2)).victims


@pytest.mark.parametrize(("reclaim", "named"), [(Reclaim.ANY, True), (Reclaim.LOWER_PRIORITY, False)])
def test_a_queue_takes_back_what_others_borrow(reclaim: Reclaim, named: bool) -> None:
    every = queue("a", 8, reclaim=reclaim), queue("b", 8)
    running = [runs("b1", "b", priority=20), runs("b2", "b", priority=20)]
    result = round_of(every, running, high(priority=10))
    assert result.victims == ({"p": ("b1",)} if named else {})


def test_a_queue_takes_back_no_more_than_its_own_quota() -> None:
    every = queue("a", 8, reclaim=Reclaim.ANY), queue("b", 16), queue("c", 16)
    running = [runs("b1", "b", 16), runs("b2", "b", 24)]
    assert not round_of(every, running, high(workers=2)).victims
    assert round_of(every, running, high()).victims == {"p": ("b1",)}


def test_a_queue_is_not_pushed_below_its_own_quota() -> None:
    """Two gangs of b would have to go, and after the first b borrows no more."""
    every = queue("a", 16, reclaim=Reclaim.ANY), queue("b", 8)
    assert not round_of(every, [runs("b1", "b", 8), runs("b2", "b", 8)], high(workers=2)).victims


def test_of_two_of_whom_one_may_go_the_one_that_helps_is_found() -> None:
    every = queue("a", 8, reclaim=Reclaim.ANY), queue("b", 8)
    running = [runs("b1", "b"), runs("b2", "b", priority=1)]
    assert round_of(every, running, high(excluded=frozenset({"x-host-0"}))).victims == {"p": ("b2",)}


def test_over_quota_though_nodes_are_free() -> None:
    running = [runs("v", "a", 16)]
    state = capacity(gpu_block("x", 8))
    hold(state, "v", "x-host-0", "x-host-1")
    known = queues(queue("a", 16, cohort="", within_queue=LOWER), running=running)
    assert decide(state, known, high()).victims == {"p": ("v",)}


def test_one_victim_serves_one() -> None:
    running = [runs("v1", "a"), runs("v2", "a")]
    result = round_of((within(),), running, high("p1"), high("p2"), high("p3"))
    assert result.victims == {"p1": ("v1",), "p2": ("v2",)}
    assert sorted(result.targets) == ["p1", "p2"]


def left(state: Capacity, known: Queues, *uids: str) -> Queues:
    for uid in uids:
        state.release(uid)
    return Queues(known.queues, {uid: r for uid, r in known.running.items() if uid not in uids})


def leaving(known: Queues, *uids: str) -> Queues:
    told = {uid: replace(known.running[uid], leaving=True) for uid in uids}
    return Queues(known.queues, {**known.running, **told})


def test_what_victims_free_is_kept_until_the_preemptor_begins_and_nobody_else_is_told() -> None:
    running = [runs("v", "b", 16, priority=20), runs("w", "b", 8, priority=30)]
    known = queues(queue("a", 16, reclaim=Reclaim.ANY), queue("b", 8), running=running)
    state = full(*running)
    p, again = high("p", 2), gang("v", 2, queue="b", priority=20)
    first = decide(state, known, p)
    assert first.victims == {"p": ("v",)}
    second = decide(state, leaving(known, "v"), p, gang("small", queue="b"), kept=first.targets)
    assert not second.victims
    assert second.targets == first.targets
    known = left(state, known, "v")
    third = decide(state, known, again, p, kept=second.targets)
    assert names(third) == ["p"]
    assert "v" in third.refused


def test_after_a_restart_those_who_leave_are_enough_and_nobody_else_is_told() -> None:
    running = [runs("v", "a"), runs("w", "a")]
    result = decide(full(*running), leaving(queues(within(), running=running), "v"), high())
    assert not result.victims
    assert result.targets == {"p": {"x-host-0"}}
    assert not isinstance(result.targets["p"], Claim)


def test_a_victim_not_yet_marked_is_taken_to_be_leaving() -> None:
    running = [runs("v", "a"), runs("w", "a")]
    known, state = queues(within(), running=running), full(*running)
    first = decide(state, known, high())
    again = decide(state, known, high(), high("p2", queued_at=1.0), kept=first.targets)
    assert first.victims == {"p": ("v",)}
    assert again.victims == {"p2": ("w",)}


def test_a_claim_takes_nothing_of_another_heads_target() -> None:
    state = capacity(gpu_block("x", 3))
    known = queues(within(), running=[runs("v", "a"), runs("w", "")])
    hold(state, "v", "x-host-0")
    hold(state, "w", "x-host-1")
    head = high("head", 2, queue="", priority=20, excluded=frozenset({"x-host-0"}))
    first = decide(state, known, head, high(), wait=0.0)
    assert first.targets == {"head": {"x-host-1", "x-host-2"}, "p": {"x-host-0"}}
    second = decide(state, known, head, high(), wait=0.0, kept=first.targets)
    assert names(second) == []
    assert second.targets == first.targets


def test_one_claim_takes_nothing_of_another() -> None:
    running = [runs("v", "a"), runs("w", "a", 16)]
    known, state = queues(within(), running=running), full(*running)
    pending = high("p", queued_at=1.0), high("q", 2, queued_at=2.0)
    first = decide(state, known, *pending)
    assert first.victims == {"p": ("v",), "q": ("w",)}
    known = left(state, known, "w")
    second = decide(state, known, *pending, kept=first.targets)
    assert names(second) == ["q"]


def test_a_claim_that_is_of_no_use_any_more_gives_the_gang_its_place_in_the_line() -> None:
    state = capacity(gpu_block("x", 2))
    hold(state, "other", "x-host-0", "x-host-1")
    kept = {"p": Claim.of({"x-host-0"}, {"v"}, 8)}
    result = decide(state, queues(within()), high("p", queued_at=5.0), high("q"), kept=kept, wait=0.0)
    assert names(result) == []
    assert set(result.targets) == {"q"}


def test_nobody_is_told_for_a_gang_that_something_else_forbids() -> None:
    running = [runs("v", "a")]
    veto = Refusal("NamespaceQuotaExceeded", "no room")
    known = queues(within(), running=running)
    result = decide(full(*running), known, high(), allowed=lambda _: veto)
    assert (result.victims, result.refused) == ({}, {"p": veto})

    def unknown(_: GangRequest) -> Refusal | None:
        raise Undecided

    result = decide(full(*running), known, high(), allowed=unknown)
    assert [r.uid for r in result.undecided] == ["p"]
    assert not result.victims


def test_an_elastic_gang_that_can_begin_with_less_preempts_nobody() -> None:
    running = [runs("v", "a")]
    state = full(*running, runs("free", "a"))
    state.release("free")
    result = decide(state, queues(within(), running=running), high(slices=2, min_slices=1))
    assert result.sizes == {"p": 1}
    assert not result.victims


def test_a_strict_queue_keeps_everybody_behind_the_preemptor() -> None:
    strict = within(strategy=QueueingStrategy.STRICT_FIFO)
    running = [runs("v", "a", 8), runs("w", "a", 8, priority=10)]
    state = capacity(gpu_block("x", 4))
    hold(state, "v", "x-host-0")
    hold(state, "w", "x-host-1")
    result = decide(state, queues(strict, running=running), high("p", 3), gang("s", queue="a", priority=1))
    assert result.victims == {"p": ("v",)}
    assert names(result) == []


def test_those_for_whom_nobody_can_leave_keep_no_other_from_its_turn() -> None:
    running = [runs("low", "a")]
    state, known = full(*running), queues(queue("a", 800, within_queue=LOWER), running=running)
    vain = [high(f"large{n}", 2 + n, priority=20) for n in range(2 * MAX_SEARCHES)]
    alike = [replace(gang, uid=f"{gang.uid}-too") for gang in vain]
    pending, tried = (*vain, *alike, high()), frozenset[Hashable]()
    for _ in range(2):
        result = decide(state, known, *pending, tried=tried)
        assert not result.victims
        tried = result.tried
    assert len(tried) == len(vain)
    result = decide(state, known, *pending, tried=tried)
    assert result.victims == {"p": ("low",)}
    assert result.tried == frozenset(), "those that were passed over have their turn again"
