"""Slow workers are found by what each needs for the same steps before it waits for the others."""

import random
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.report import Report, ReportSource
from drumline.core.gang.ledger.events import Compared
from drumline.core.gang.ledger.peers import BLOCKS, CELLS, Peers
from tests.unit.core.gang.ledger.story import Story, Worker

STEP = 1000
EPOCH = (1, 0)


def told(own: Sequence[int], *, step: int = STEP, start: int = 0, **more: Any) -> Report:
    """One worker's steps, of which it was so long busy with its own."""
    worker = Worker(**more)
    worker.step = start
    for ms in own:
        worker.steps(step, compute_ms=ms)
    return worker.report()


def compare(reports: Mapping[int, Report | Sequence[Report]]) -> Mapping[str, int] | None:
    """Who is slow of a slice's workers."""
    peers = Peers()
    for worker, said in reports.items():
        for report in [said] if isinstance(said, Report) else said:
            peers.hear((0, worker), report)
    return peers.slow(EPOCH, 3)


def test_who_needs_longer_for_every_step_is_slow() -> None:
    usual = {w: told([400 + w] * 30) for w in range(5)}
    assert compare(usual) == {}
    assert compare({**usual, 5: told([500] * 30)}) == {"0-5": 500}


def test_so_is_who_waits_for_its_input() -> None:
    late = Worker().steps(*[STEP] * 30, compute_ms=400, stall_ms=150).report()
    assert compare({**{w: told([400] * 30) for w in range(4)}, 4: late}) == {"0-4": 550}


def test_one_quick_step_in_a_row_and_it_is_not() -> None:
    usual = {w: told([400] * 40) for w in range(4)}
    hiccups = [900 if step % CELLS else 400 for step in range(40)]
    assert compare({**usual, 4: told(hiccups)}) == {}


def test_what_costs_less_than_a_twentieth_of_a_step_is_nobodys_fault() -> None:
    usual = {w: told([400] * 30) for w in range(4)}
    assert compare({**usual, 4: told([449] * 30)}) == {}
    assert compare({**usual, 4: told([451] * 30)}) == {"0-4": 451}


def test_workers_that_differ_anyway_are_slow_only_beyond_that() -> None:
    uneven = {w: told([300 + 50 * w] * 30) for w in range(7)}
    assert compare({**uneven, 7: told([750] * 30)}) == {}
    assert compare({**uneven, 7: told([800] * 30)}) == {"0-7": 800}


def test_the_same_steps_are_compared_though_one_has_told_of_more() -> None:
    # all of them become slower at step 30, and some have said so already
    before, after = [400] * 29, [400] * 29 + [700] * 30
    told_more = {w: told(after) for w in range(2)}
    assert compare({**told_more, **{w: told(before) for w in range(2, 5)}}) == {}


def test_nothing_is_said_of_few() -> None:
    assert compare({0: told([400] * 30), 1: told([900] * 30)}) is None
    assert compare({w: told([400] * (CELLS - 2)) for w in range(5)}) is None
    assert compare({}) is None


def test_nothing_is_said_of_a_gang_of_which_most_cannot_be_compared() -> None:
    # some tell of every second step, so they have no row that is known in full
    worker = Worker()
    for _ in range(30):
        worker.step += 1
        worker.steps(STEP, compute_ms=400)
    gaps = worker.report()
    some = {w: told([400 + 300 * (w == 2)] * 60) for w in range(3)}
    assert compare({**some, **dict.fromkeys(range(3, 6), gaps)}) == {"0-2": 700}
    assert compare({**some, **dict.fromkeys(range(3, 7), gaps)}) is None


def test_who_has_gone_silent_holds_nobody_up() -> None:
    usual = {w: told([400] * 200) for w in range(4)}
    assert compare({**usual, 4: told([400] * 20), 5: told([800] * 200)}) == {"0-5": 800}


def test_a_worker_that_recovers_is_slow_no_more() -> None:
    peers, workers = Peers(), [Worker() for _ in range(4)]
    for row, ms in enumerate((400, 800, 400)):
        for lane, worker in enumerate(workers):
            worker.steps(*[STEP] * 2 * CELLS, compute_ms=ms if lane == 3 else 400)
            peers.hear((0, lane), worker.report())
        assert peers.slow(EPOCH, 3) == ({"0-3": 800} if row == 1 else {})


def test_a_worker_at_the_edge_keeps_its_verdict() -> None:
    peers, workers = Peers(), [Worker() for _ in range(4)]
    rows = (([460, 440], {}), ([460, 460], {"0-3": 460}), ([460, 440], {"0-3": 450}), ([440, 440], {}))
    for own, verdict in rows:
        for lane, worker in enumerate(workers):
            for step in range(2 * CELLS):
                worker.steps(STEP, compute_ms=own[step % 2] if lane == 3 else 400)
            peers.hear((0, lane), worker.report())
        assert peers.slow(EPOCH, 3) == verdict


def test_a_new_attempt_knows_nothing_of_the_one_before() -> None:
    peers = Peers()
    for lane in range(4):
        peers.hear((0, lane), told([400 + 400 * (lane == 3)] * 30))
    assert peers.slow(EPOCH, 3) == {"0-3": 800}
    assert peers.slow((2, 0), 3) is None
    peers.hear((0, 0), told([400] * 30, attempt=2))
    assert peers.slow((2, 0), 3) is None
    peers.hear((0, 1), told([400] * 30))
    assert peers.slow(EPOCH, 3) is None


def test_training_that_goes_back_is_compared_anew() -> None:
    peers = Peers()
    workers = [Worker().steps(*[STEP] * 40, compute_ms=400) for _ in range(4)]
    for lane, worker in enumerate(workers):
        worker.step = 10
        worker.steps(*[STEP] * 40, compute_ms=800 if lane == 3 else 400)
        peers.hear((0, lane), worker.report())
    assert peers.slow(EPOCH, 3) == {"0-3": 800}


def test_a_process_that_began_again_is_compared_anew() -> None:
    peers = Peers()
    for life in ("a", "b"):
        for lane in range(4):
            slow = lane == 3 and life == "b"
            peers.hear((0, lane), told([400 + 400 * slow] * 30, origin=life))
    assert peers.slow(EPOCH, 3) == {"0-3": 800}


@pytest.mark.parametrize("step", [1, 7, 40, 250])
def test_short_steps_are_taken_together(step: int) -> None:
    """Reporters are up to 8 s apart in what they have told, and merge what takes less than 0.1 s."""
    peers, row = Peers(), max(1, 100 // step)
    for life in ("first", "again"):  # by the first of them it shows how short the steps are
        for lane in range(5):
            worker = Worker(origin=life)
            for _ in range((60_000 + 2000 * lane) // (row * step)):
                worker.row(row, row * step, compute_ms=row * step * (3 if lane == 4 else 2) // 5)
            peers.hear((0, lane), worker.report())
    assert set(peers.slow(EPOCH, 3) or {}) == {"0-4"}


def test_the_ledger_takes_it_for_the_attempt_that_it_is_of() -> None:
    story = Story().begin(0)
    story.fold(Compared(10, 1, 0, {f"0-{i}": 500 + i for i in range(40)}))
    assert len(story.figures.stragglers) == 16
    assert (story.figures.stragglers[0].lane, story.figures.stragglers[0].median_ms) == ("0-39", 539)
    story.fold(Compared(20, 1, 0, {"0-3": 700}))
    assert [s.lane for s in story.figures.stragglers] == ["0-3"]
    story.fold(Compared(30, 2, 0, {"0-1": 700}))
    assert [s.lane for s in story.figures.stragglers] == ["0-3"]
    assert story.fold(Compared(40, 1, 0, {})).figures.stragglers == ()


owns = st.lists(st.integers(0, STEP), min_size=3 * CELLS, max_size=3 * CELLS)


@given(st.lists(owns, min_size=3, max_size=9), st.randoms(use_true_random=False), st.data())
def test_neither_order_nor_repetition_nor_how_it_is_divided_matters(
    gang: list[list[int]], rng: random.Random, data: st.DataObject
) -> None:
    once = compare({w: told(own) for w, own in enumerate(gang)})
    parts: list[tuple[int, Report]] = []
    for w, own in enumerate(gang):
        cuts = sorted(data.draw(st.sets(st.integers(1, len(own)), max_size=4)))
        parts += [(w, told(own[:cut])) for cut in cuts] + [(w, told(own))] * 2
    rng.shuffle(parts)
    peers = Peers()
    for w, report in parts:
        peers.hear((0, w), report)
    assert peers.slow(EPOCH, 3) == once


@given(st.lists(st.integers(100, 400), min_size=3, max_size=12), st.integers(0, 30), st.randoms())
def test_who_is_far_beyond_all_others_is_found_and_who_is_not_beyond_half_of_them_never(
    usual: list[int], jitter: int, rng: random.Random
) -> None:
    gang = [[own + rng.randint(0, jitter) for _ in range(40)] for own in sorted(usual)]
    far = 4 * (max(usual) + jitter)  # no deviation is greater than the greatest
    found = compare(dict(enumerate(told(own, step=2000) for own in [*gang, [far] * 40])))
    assert found is not None
    assert found[f"0-{len(usual)}"] == far
    assert "0-0" not in found
    assert len(found) <= (len(usual) + 1) // 2


def test_what_is_kept_of_a_worker_is_bounded() -> None:
    peers, report = Peers(), told([400] * (BLOCKS + 4) * CELLS)
    tracemalloc.start()
    for lane in range(100):
        peers.hear((0, lane), report)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used / 100 < 2500, "bytes"


def test_ten_thousand_workers_are_compared_at_once() -> None:
    peers, reports = Peers(), [told([400 + 400 * slow] * 2 * CELLS) for slow in (False, True)]
    for lane in range(10_000):
        peers.hear(divmod(lane, 100), reports[lane == 4242])
    began = time.process_time()
    assert peers.slow(EPOCH, 3) == {"42-42": 800}
    assert time.process_time() - began < 0.5


def test_what_is_not_told_by_the_program_itself_is_not_compared() -> None:
    read = {w: told([400] * 30, source=ReportSource.LAUNCHER) for w in range(4)}
    assert compare(read) is None
