"""The parts of a ledger, alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.core.gang.ledger.amount import Amount, clamped, shares
from drumline.core.gang.ledger.buckets import MAX_BUCKETS, Buckets, Work
from drumline.core.gang.ledger.chart import Chart
from drumline.core.gang.ledger.codes import FIRST, HANG, PRODUCTIVE, PROVISIONAL, QUEUED, UP
from drumline.core.gang.ledger.steps import mad_of, median_of
from drumline.core.gang.ledger.uptime import MAX_RUNS, UpTime

numbers = st.integers(0, 10_000)


@given(st.builds(Amount, numbers, numbers, numbers), st.lists(numbers, max_size=5), numbers)
def test_shares_add_up(amount: Amount, wanted: list[int], whole: int) -> None:
    pieces = shares(amount, clamped(wanted, whole), whole)
    assert [sum(column) for column in zip(*pieces, strict=True)] == list(amount)
    assert all(n >= 0 for piece in pieces for n in piece)


def test_clamped_takes_what_is_left() -> None:
    assert clamped([5, -1, 7, 9], 10) == [5, 0, 5, 0]


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9), st.booleans()), max_size=120), st.data())
def test_up_time_is_taken_once_and_all_of_it(runs: list[tuple[int, int, bool]], data: st.DataObject) -> None:
    up, at, total = UpTime([]), 0, 0
    for length, chips, pause in runs:
        up.add(at, at + length, Amount(chips * length, length, length))
        at += length + 5 * pause
        total += chips * length
        assert len(up.runs) <= MAX_RUNS
    assert up.total().ms == total
    taken, reached = 0, 0
    while reached < at:
        reached += data.draw(st.integers(1, 400))
        taken += up.take(reached).ms
    assert (taken, up.runs) == (total, [])


def test_up_time_that_goes_on_is_one_run() -> None:
    up = UpTime([])
    for i in range(10):
        up.add(i * 10, i * 10 + 10, Amount(80, 10, 10))
    assert len(up.runs) == 1
    assert up.take(25) == (200, 25, 25)


def test_up_time_by_wall_skips_pauses() -> None:
    up = UpTime([])
    up.add(0, 10, Amount(80, 10, 10))
    up.add(100, 120, Amount(80, 20, 20))
    assert up.take_wall(15) == (100, 15, 15)
    assert up.take_wall(99) == (60, 15, 15)
    assert up.take_wall(1) == (0, 0, 0)


@given(st.lists(st.tuples(st.integers(1, 5), numbers), max_size=300), st.data())
def test_buckets_settle_once_and_all(steps: list[tuple[int, int]], data: st.DataObject) -> None:
    buckets, step = Buckets([]), 0
    for count, ms in steps:
        buckets.add(step, step + count, Work(ms, ms, ms, ms))
        step += count
        assert len(buckets.buckets) <= MAX_BUCKETS
    total, settled = sum(ms for _, ms in steps), Work()
    while buckets.buckets:
        settled = settled.plus(buckets.settle(buckets.buckets[0].lo + data.draw(st.integers(1, 100))))
        assert settled.ms + buckets.ms == total
    assert settled == (total,) * 4


def test_a_first_step_that_was_split_late_goes_before_the_rest() -> None:
    buckets = Buckets([])
    buckets.add(1, 2, Work(20))
    buckets.add(0, 1, Work(10))
    assert buckets.settle(1) == Work(10)
    assert buckets.drop() == Work(20)
    assert buckets.drop() == Work()


def test_the_timeline_shows_what_up_time_turned_out_to_be() -> None:
    chart = Chart([])
    chart.append(QUEUED, 5, 0)
    chart.append(UP, 100, 1)
    chart.append(QUEUED, 7, 1)
    chart.append(UP, 50, 1)
    chart.relabel(UP, 120, PROVISIONAL)
    chart.relabel(PROVISIONAL, 30, PRODUCTIVE)
    chart.relabel(UP, 10, HANG)
    assert chart.texts() == (
        "queued:5:0",
        "productive:30:1",
        "provisional:70:1",
        "queued:7:1",
        "provisional:20:1",
        "hang:10:1",
        "provisional:20:1",
    )


labels = st.sampled_from([QUEUED, HANG, PRODUCTIVE, UP, PROVISIONAL, FIRST])


@given(st.lists(st.tuples(labels, st.integers(1, 1000), labels), max_size=400))
def test_the_timeline_keeps_its_length_and_its_bound(steps: list[tuple[int, int, int]]) -> None:
    chart = Chart([])
    for i, (code, wall, target) in enumerate(steps):
        chart.append(code, wall, i // 7)
        if code >= UP and target != code:
            chart.relabel(code, wall // 2, target)
        assert len(chart.entries) <= 128
    assert sum(int(text.split(":")[1]) for text in chart.texts()) == sum(wall for _, wall, _ in steps)


@pytest.mark.parametrize(
    ("numbers", "median", "mad"),
    [([], 0, 0), ([4], 4, 0), ([1, 4], 2, 1), ([1, 2, 9], 2, 1), ([10, 10, 10, 50], 10, 0)],
)
def test_medians(numbers: list[int], median: int, mad: int) -> None:
    assert (median_of(numbers), mad_of(numbers)) == (median, mad)
