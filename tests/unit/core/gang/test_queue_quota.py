"""What a queue may take: its own, what its cohort lends, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.reasons import Reason
from drumline.core.gang.queue_quota import QueueQuotas, over_quota
from drumline.core.gang.queues import NO_QUEUES
from tests.builders import H100, capacity, gang, gpu_block
from tests.unit.core.gang.queue_cases import decide, names, queue, queues, runs


def room(*every, running=(), of: str = "a") -> int:
    return QueueQuotas(queues(*every, running=running)).available(of, H100)


def test_a_queue_alone_takes_its_own_quota_and_no_more() -> None:
    alone = queue("a", 16, cohort="")
    assert room(alone) == 16
    assert room(alone, running=[runs("r", "a", 8)]) == 8
    assert room(alone, running=[runs("r", "a", 24)]) == 0


def test_queues_of_one_cohort_lend_what_they_do_not_use() -> None:
    a, b = queue("a", 16), queue("b", 32)
    assert room(a, b) == 48
    assert room(a, b, running=[runs("r", "b", 24)]) == 24
    assert room(a, replace(b, cohort="other")) == 16


def test_borrowing_and_lending_end_at_their_limits() -> None:
    assert room(queue("a", 16, borrow=8), queue("b", 32)) == 24
    assert room(queue("a", 16), queue("b", 32, lend=4)) == 20
    assert room(queue("a", 16, borrow=8), queue("b", 32), running=[runs("r", "a", 20)]) == 4


def test_what_is_lent_to_nobody_stays_its_owners_whoever_borrows() -> None:
    a, b, c = queue("a", 0), queue("b", 32, lend=8), queue("c", 16)
    borrowed = [runs("r", "a", 24)]  # 8 of b, 16 of c
    assert room(a, b, c, running=borrowed) == 0
    assert room(a, b, c, running=borrowed, of="b") == 24
    assert room(a, b, c, running=borrowed, of="c") == 0


def test_what_an_owner_uses_is_first_what_it_lends_to_nobody() -> None:
    a, b = queue("a", 0), queue("b", 32, lend=8)
    assert room(a, b, running=[runs("r", "b", 24)]) == 8
    assert room(a, b, running=[runs("r", "b", 28)]) == 4


def test_the_share_is_the_dominant_one_beyond_the_own_quota_by_weight() -> None:
    a, b = queue("a", 8), queue("b", 24, weight=2.0)
    quotas = QueueQuotas(queues(a, b, running=[runs("r", "a", 16), runs("s", "b", 24)]))
    assert quotas.share("a") == 8 / 32
    assert quotas.share("b") == 0.0
    heavy = QueueQuotas(queues(queue("a", 8, weight=2.0), b, running=[runs("r", "a", 16)]))
    assert heavy.share("a") == 8 / 32 / 2
    assert quotas.share("unknown") == 0.0


def test_claims_and_gangs_left_out_change_what_is_to_be_had_but_make_nobody_a_borrower() -> None:
    quotas = QueueQuotas(queues(queue("a", 8), queue("b", 8), running=[runs("r", "b", 8)]))
    quotas.claim(gang("g", 2, queue="a"), 16)
    assert (quotas.available("a", H100), quotas.available("b", H100)) == (0, 0)
    assert quotas.borrowed("a", H100) == 0
    with quotas.without(["g", "r"]):
        assert quotas.available("b", H100) == 16
    assert quotas.available("b", H100) == 0
    quotas.grant(gang("g", queue="a"), 8)
    assert (quotas.used("a", H100), quotas.available("a", H100)) == (8, 0)
    quotas.unclaim("nobody")


def test_a_gang_over_quota_is_told_the_numbers() -> None:
    known = queues(queue("a", 16, borrow=8), queue("b", 32), running=[runs("r", "a", 16)])
    result = decide(capacity(gpu_block("x", 8)), known, gang("g", 2, queue="a"))
    assert result.refused["g"].reason == Reason.QUEUE_QUOTA
    assert result.refused["g"].message == (
        "needs 16 × nvidia-h100-80gb; queue a may take 8 more: quota 16, 16 used, 0 of them borrowed; "
        "cohort all has 32 of 48 left to lend, of which the queue may borrow 8 in all"
    )


def test_what_no_end_of_others_helps_says_so_and_keeps_nobody_waiting() -> None:
    known = queues(queue("a", 16, cohort=""))
    result = decide(
        capacity(gpu_block("x", 8)),
        known,
        gang("g", 3, queue="a", priority=1),
        gang("h", 2, queue="a"),
        wait=0.0,
    )
    assert result.refused["g"].message.endswith(
        "may have 16 at most: quota 16, no cohort to borrow from, even if every other gang ended"
    )
    assert names(result) == ["h"]


@pytest.mark.parametrize(
    ("borrow", "why"),
    [
        (8, "quota 16, borrowing limit 8"),
        (0, "quota 16, borrowing limit 0"),
        (None, "quota 16, cohort all lends 32"),
    ],
)
def test_more_than_a_queue_could_ever_have_is_said_with_what_limits_it(borrow: int | None, why: str) -> None:
    known = queues(queue("a", 16, borrow=borrow), queue("b", 32), running=[runs("r", "a", 16)])
    result = decide(capacity(gpu_block("x", 8)), known, gang("g", 7, queue="a"))
    most = 16 + (32 if borrow is None else borrow)
    assert result.refused["g"].message == (
        f"needs 56 × nvidia-h100-80gb; queue a may have {most} at most: {why}, even if every other gang ended"
    )


def test_what_is_kept_for_others_is_said() -> None:
    quotas = QueueQuotas(queues(queue("a", 16, cohort="")))
    quotas.claim(gang("g", 1, queue="a"), 8)
    text = over_quota(gang("h", 2, queue="a"), quotas, 16).message
    assert "may take 8 more: quota 16, 0 used, 0 of them borrowed, 8 kept for gangs that go first" in text


def test_a_type_without_quota_and_a_queue_that_is_not_there() -> None:
    known = queues(queue("a", quotas={}))
    result = decide(capacity(gpu_block("x", 2)), known, gang("g", queue="a"), gang("h", queue="gone"))
    assert result.refused["g"].message.startswith("queue a has no quota of nvidia-h100-80gb; it has: none")
    assert result.refused["h"].message == "there is no AcceleratorQueue gone"
    assert {r.reason for r in result.refused.values()} == {Reason.QUEUE_QUOTA}


def test_gangs_of_no_queue_and_gangs_without_chips_need_no_quota() -> None:
    state = capacity(gpu_block("x", 2))
    known = queues(queue("a", 0, cohort=""))
    cpu = gang("cpu", gpus=0, queue="a")
    assert names(decide(state, known, gang("free"), cpu)) == ["cpu", "free"]
    assert names(decide(capacity(gpu_block("x", 1)), NO_QUEUES, gang("g", queue="gone"))) == ["g"]


def test_an_elastic_gang_takes_the_slices_that_the_quota_has_room_for() -> None:
    known = queues(queue("a", 20, cohort=""))
    elastic = gang("g", 1, slices=4, min_slices=1, queue="a")
    result = decide(capacity(gpu_block("x", 8)), known, elastic)
    assert result.sizes == {"g": 2}
    refused = decide(capacity(gpu_block("x", 8)), known, replace(elastic, min_slices=3))
    assert refused.refused["g"].message.startswith("needs 24 × nvidia-h100-80gb; queue a may have 20 at most")
    patient = decide(capacity(gpu_block("x", 8)), known, replace(elastic, patient_until=2000.0))
    assert patient.refused["g"].message.startswith("needs 32 × nvidia-h100-80gb")


def test_spares_are_held_as_far_as_the_quota_goes() -> None:
    result = decide(
        capacity(gpu_block("x", 8)), queues(queue("a", 24, cohort="")), gang("g", 2, spares=3, queue="a")
    )
    assert len(result.granted[0][1].nodes) == 3


def test_what_a_gang_itself_holds_is_no_obstacle_to_it() -> None:
    known = queues(queue("a", 16, cohort=""), running=[runs("g", "a", 16)])
    assert names(decide(capacity(gpu_block("x", 2)), known, gang("g", 2, queue="a"))) == ["g"]


def test_once_it_has_waited_what_comes_free_of_the_quota_is_kept_for_the_head() -> None:
    known = queues(queue("a", 16), queue("b", 16), running=[runs("r", "a", 16)])
    state = capacity(gpu_block("x", 8))
    pending = (
        gang("large", 3, queue="a"),
        gang("s1", queue="a", queued_at=1.0),
        gang("s2", queue="b", queued_at=1.0),
    )
    fresh = decide(state, known, *pending[:2], now=100.0, wait=300.0)
    assert names(fresh) == ["s1"]
    assert fresh.requeue_after == 200.0
    state = capacity(gpu_block("x", 8))
    waited = decide(state, known, *pending, now=400.0, wait=300.0)
    assert names(waited) == []
    assert waited.refused["large"].message.endswith(
        "first in line: what comes free of it is kept for this gang"
    )
    ended = queues(queue("a", 16), queue("b", 16))
    assert names(decide(state, ended, *pending, now=401.0, wait=300.0)) == ["large", "s2"]


def test_a_gang_that_no_node_holds_keeps_no_quota() -> None:
    known = queues(queue("a", 32, cohort=""), running=[runs("r", "a", 16)])
    state = capacity(gpu_block("x", 2))
    result = decide(state, known, gang("g", 3, queue="a"), gang("h", 2, queue="a", queued_at=1.0), wait=0.0)
    assert result.refused["g"].message.endswith("even if every other gang ended")
    assert names(result) == ["h"]
