"""Whose turn it is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from drumline.api.queue import QueueingStrategy
from drumline.core.gang.admission import admit
from drumline.core.gang.fairness import Line, aged
from tests.builders import capacity, gang, gpu_block
from tests.unit.core.gang.queue_cases import decide, names, queue, queues, runs

STRICT = QueueingStrategy.STRICT_FIFO


def order(*pending, shares=None, known=None, first=()) -> list[str]:
    shares = shares or {}
    return [r.uid for r in Line(pending, known or {}, lambda name: shares.get(name, 0.0), first)]


def test_priority_comes_before_share_share_before_age_age_before_uid() -> None:
    shares = {"a": 0.5, "b": 0.1}
    pending = (
        gang("a-old", queue="a", queued_at=1.0),
        gang("b-new", queue="b", queued_at=9.0),
        gang("b-also", queue="b", queued_at=9.0),
        gang("a-high", queue="a", queued_at=99.0, priority=1),
    )
    assert order(*pending, shares=shares) == ["a-high", "b-also", "b-new", "a-old"]


def test_a_share_is_asked_for_anew_after_each_gang_of_its_queue() -> None:
    shares = {"a": 0.0, "b": 0.15}
    line = Line([gang(f"{q}{i}", queue=q) for q in "ab" for i in range(3)], {}, shares.__getitem__)
    seen = []
    for request in line:
        seen.append(request.uid)
        shares[request.queue] += 0.1
    assert seen == ["a0", "a1", "b0", "a2", "b1", "b2"]


def test_weight_zero_is_last_whatever_its_priority() -> None:
    known = {"z": queue("z", weight=0.0), "a": queue("a")}
    assert order(gang("z", queue="z", priority=9), gang("a", queue="a"), known=known) == ["a", "z"]


def test_who_is_let_go_first_can_be_put_back() -> None:
    line = Line(
        [gang(uid, queue="a", queued_at=at) for uid, at in (("x", 1.0), ("y", 2.0))], {}, lambda _: 0.0, "y"
    )
    assert next(line).uid == "y"
    assert line.demote(gang("y", queue="a", queued_at=2.0))
    assert [r.uid for r in line] == ["x", "y"]
    assert not line.demote(gang("x", queue="a"))


def test_who_has_waited_beyond_all_patience_goes_before_priority_and_share() -> None:
    pending = [
        gang("old", queue="a", queued_at=0.0, priority=-5),
        gang("older", queue="b", queued_at=-1.0),
        gang("high", queue="b", queued_at=90.0, priority=9),
    ]
    grown = [aged(request, 100.0, 100.0) for request in pending]
    assert [request.aged for request in grown] == [True, True, False]
    assert order(*grown, shares={"a": 0.1, "b": 0.9}) == ["older", "old", "high"]
    assert [aged(request, 1e9, 0.0) for request in pending] == pending


@pytest.mark.parametrize(("aging", "begins"), [(20.0, True), (0.0, False)])
def test_nobody_starves_behind_a_higher_priority(aging: float, begins: bool) -> None:
    """Gangs of a higher priority keep every host, for ever; each runs for two steps."""
    state, ends = capacity(gpu_block("a", 4)), dict[str, float]()
    waiting = {"low": gang("low", 3, priority=-1)}
    kept: Mapping[str, frozenset[str]] = {}
    for now in map(float, range(60)):
        waiting |= {f"h{now:.0f}-{i}": gang(f"h{now:.0f}-{i}", queued_at=now, priority=1) for i in range(4)}
        for uid in [uid for uid, end in ends.items() if end <= now]:
            state.release(uid)
            del ends[uid]
        asking = [aged(request, now, aging) for request in waiting.values()]
        found = admit(asking, state, now, 5.0, kept=kept)
        kept = found.targets
        for uid, _ in found.granted:
            del waiting[uid]
            ends[uid] = now + 2
        if "low" not in waiting:
            break
    assert ("low" not in waiting) is begins
    assert not begins or now <= aging + 5


def test_the_rest_of_a_queue_leaves_the_line_in_order() -> None:
    line = Line([gang(f"{q}{i}", queue=q) for q in "ab" for i in range(3)], {}, lambda _: 0.0)
    assert next(line).uid == "a0"
    assert [r.uid for r in line.rest("a")] == ["a1", "a2"]
    assert [r.uid for r in line] == ["b0", "b1", "b2"]


def test_queues_that_borrow_take_turns_by_weight() -> None:
    known = queues(queue("a", 0, weight=1.0), queue("b", 0, weight=2.0), queue("lender", 48))
    pending = [gang(f"{q}{i}", queue=q) for q in "ab" for i in range(6)]
    granted = names(decide(capacity(gpu_block("x", 6)), known, *pending))
    assert sorted(granted) == ["a0", "a1", "b0", "b1", "b2", "b3"]
    assert granted[:3] == ["a0", "b0", "b1"]


def test_in_a_strict_queue_nobody_passes_the_head_in_another_one_somebody_does() -> None:
    known = queues(
        queue("s", 16, cohort="", strategy=STRICT),
        queue("f", 16, cohort=""),
        running=[runs("r", "s"), runs("q", "f")],
    )
    pending = [gang("s-large", 2, queue="s"), gang("s-small", queue="s", queued_at=1.0)]
    pending += [gang("f-large", 2, queue="f"), gang("f-small", queue="f", queued_at=1.0)]
    result = decide(capacity(gpu_block("x", 8)), known, *pending)
    assert names(result) == ["f-small"]
    assert result.refused["s-small"].message == "queue s is StrictFIFO; team/s-large is ahead and waits"


def test_in_a_strict_queue_a_head_that_waits_for_nodes_holds_up_the_rest_too() -> None:
    known = queues(queue("s", 64, strategy=STRICT))
    result = decide(
        capacity(gpu_block("x", 1)),
        known,
        gang("large", 2, queue="s"),
        gang("small", queue="s", queued_at=1.0),
    )
    assert names(result) == []


def test_a_strict_queue_is_not_held_up_by_what_its_quota_could_never_hold() -> None:
    known = queues(queue("s", 16, cohort="", strategy=STRICT))
    result = decide(
        capacity(gpu_block("x", 4)),
        known,
        gang("huge", 3, queue="s"),
        gang("small", queue="s", queued_at=1.0),
    )
    assert names(result) == ["small"]
