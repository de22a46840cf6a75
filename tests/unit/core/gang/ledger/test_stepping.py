"""What a step's time is split into, and when it settles."""

import pytest

from drumline.api.goodput import State
from drumline.core.gang.ledger.events import AttemptEnded
from drumline.core.gang.ledger.steps import Piece, Steps
from tests.unit.core.gang.ledger.story import Story, Worker

MINUTE = 60_000


def trained(*durations: int, **settings: int) -> tuple[Story, Worker]:
    """Lanes are up from 0, the first step takes 1 s, and all that went before is on record."""
    story, worker = Story(**settings).begin(0), Worker().steps(1000, *durations)
    return story.hear(worker.clock, worker.report()), worker


def test_what_the_first_step_takes_beyond_a_normal_one_is_compiling() -> None:
    story, worker = trained(100, 100)
    assert story.ms(State.COMPILE) == 0
    story.hear(1300, worker.steps(100).report())
    assert story.ms(State.COMPILE) == 900
    assert story.provisional == 400


def test_the_unreported_time_before_the_first_step_is_compiling_too() -> None:
    worker = Worker().phase("device_init", 500).idle(200).steps(1000, 100, 100, 100)
    story = Story().begin(0).hear(2000, worker.report())
    assert story.ms(State.DEVICE_INIT) == 500
    assert story.ms(State.COMPILE) == 1100
    assert story.provisional == 400


def test_time_before_the_first_phase_compiles_and_phases_have_their_own_states() -> None:
    worker = (
        Worker().idle(300).phase("device_init", 500).phase("checkpoint_restore", 700).phase("compile", 900)
    )
    story = Story().begin(0).hear(2400, worker.report())
    assert [story.ms(s) for s in (State.COMPILE, State.DEVICE_INIT, State.CHECKPOINT_RESTORE)] == [
        1200,
        500,
        700,
    ]
    assert story.figures.checkpoint_restores == 1


def test_a_segment_that_ends_early_is_measured_by_the_steps_it_has() -> None:
    story, _ = trained(100)
    story.fold(AttemptEnded(1100, 1, failed=False)).close(1100, success=True)
    assert story.ms(State.COMPILE) == 900
    assert story.ms(State.PRODUCTIVE) == 200


def test_a_segment_of_one_step_is_measured_by_an_earlier_one() -> None:
    story, worker = trained(100, 100, 100)
    story.fail(worker.clock).begin(2000, 2, restart=True)
    again = Worker(2)
    again.step = 4
    story.hear(2500, again.steps(500).report()).fail(2500, 2).begin(3000, 3, restart=True)
    assert story.ms(State.COMPILE) == 900 + 400
    assert story.restart_ms(State.COMPILE) == 400


def test_a_segment_of_one_step_and_nothing_to_measure_it_by_compiled() -> None:
    story, _ = trained()
    story.close(1000, success=True)
    assert story.ms(State.COMPILE) == 1000


def test_parts_are_taken_in_order_and_clamped() -> None:
    story, worker = trained(*[100] * 4)
    worker.steps(1000, save_ms=300, stall_ms=200, eval_ms=100)
    story.hear(worker.clock, worker.report())
    assert [story.ms(s) for s in (State.CHECKPOINT_SAVE, State.DATA_STALL, State.EVAL)] == [300, 200, 100]
    worker.steps(100, save_ms=80, stall_ms=80, eval_ms=80)
    story.hear(worker.clock, worker.report())
    assert [story.ms(s) for s in (State.CHECKPOINT_SAVE, State.DATA_STALL, State.EVAL)] == [380, 220, 100]
    assert story.figures.checkpoint_saves == 2


def test_the_first_steps_own_parts_are_not_compiling() -> None:
    worker = Worker().steps(1000, save_ms=100, stall_ms=200).steps(100, 100, 100)
    story = Story().begin(0).hear(worker.clock, worker.report())
    assert [story.ms(s) for s in (State.COMPILE, State.CHECKPOINT_SAVE, State.DATA_STALL)] == [600, 100, 200]


def test_a_far_too_long_step_hung_for_what_is_beyond_the_median() -> None:
    story, worker = trained(*[100] * 4)
    story.hear(6 * MINUTE, worker.steps(6 * MINUTE - worker.clock).report())
    assert story.ms(State.HANG) == 6 * MINUTE - 1400 - 100
    assert story.figures.hangs == 1


def test_a_long_save_is_no_hang() -> None:
    story, worker = trained(*[100] * 4)
    story.hear(10 * MINUTE, worker.steps(6 * MINUTE, save_ms=6 * MINUTE - 100).report())
    assert story.ms(State.HANG) == 0
    assert story.ms(State.CHECKPOINT_SAVE) == 6 * MINUTE - 100


def test_slow_steps_may_take_ten_times_the_median() -> None:
    story, worker = trained(MINUTE, MINUTE)
    story.hear(20 * MINUTE, worker.steps(9 * MINUTE).report())
    assert story.ms(State.HANG) == 0


def test_steps_beyond_three_mads_waited_for_a_straggler() -> None:
    story, worker = trained(*[90, 110] * 10)  # median 100, MAD 10
    worker.steps(170)
    story.hear(worker.clock, worker.report())
    assert story.ms(State.STRAGGLER) == 40


def test_nothing_is_slow_before_twenty_steps_are_known() -> None:
    story, worker = trained(*[90, 110] * 9)
    worker.steps(170)
    story.hear(worker.clock, worker.report())
    assert story.ms(State.STRAGGLER) == 0


def test_steps_told_of_together_count_as_steps_of_their_mean() -> None:
    story, worker = trained(*[90, 110] * 10)
    worker.row(10, 1500, stall_ms=100)
    story.hear(worker.clock, worker.report())
    assert story.figures.step == 31
    assert story.ms(State.DATA_STALL) == 100
    assert story.ms(State.STRAGGLER) == 1400 - 10 * 130
    assert story.figures.step_times.count == 31


def test_a_commit_settles_the_steps_it_covers() -> None:
    story, worker = trained(*[100] * 9)
    story.hear(worker.clock, worker.commit(5).report())
    assert story.ms(State.PRODUCTIVE) == 500
    assert story.provisional == 500
    assert story.figures.committed_step == 5
    assert story.figures.last_checkpoint_at == 1900


def test_a_commit_within_a_row_of_steps_settles_pro_rata() -> None:
    story, worker = trained(*[100] * 4)
    worker.row(10, 1000, tokens=70)
    story.hear(worker.clock, worker.commit(8).report())
    assert story.ms(State.PRODUCTIVE) == 500 + 300
    assert story.figures.tokens == 21
    assert story.figures.seen_tokens == 70


def test_steps_that_a_commit_covers_before_they_are_told_of_settle_at_once() -> None:
    story, worker = trained(*[100] * 4)
    story.hear(worker.clock, worker.commit(7).report())
    story.hear(worker.clock + 300, worker.steps(100, 100, 100).report())
    assert story.ms(State.PRODUCTIVE) == 700
    assert story.provisional == 100


def test_tokens_and_flops_of_durable_steps_count() -> None:
    story, worker = trained(*[100] * 4)
    worker.steps(100, 100, tokens=1000, flops=1.5e15)
    story.hear(worker.clock, worker.commit(6).report())
    assert (story.figures.tokens, story.figures.flops) == (1000, 1_500_000_000_000_000)
    assert (story.figures.seen_tokens, story.figures.recent.tokens) == (2000, 2000)
    assert story.figures.recent.wall_ms == 600
    assert story.figures.seen_step_ms == 8 * 700


def test_step_times_are_counted_by_duration() -> None:
    story, _ = trained(100, 100, 40, 100)
    times = story.figures.step_times
    assert (times.count, times.sum_ms, times.median_ms, times.p90_ms) == (5, 1340, 100, 100)
    assert (times.buckets[2], times.buckets[3], times.buckets[6]) == (1, 3, 1)


def test_gaps_between_steps_are_unknown() -> None:
    story, worker = trained(*[100] * 4)
    story.hear(worker.clock + 300, worker.idle(200).steps(100).report())
    assert story.ms(State.UNKNOWN) == 200


def test_phases_between_steps_have_their_states() -> None:
    story, worker = trained(*[100] * 4)
    worker.phase("checkpoint_save", 50).phase("eval", 60).phase("data_wait", 70).steps(100)
    story.hear(worker.clock, worker.report())
    assert [story.ms(s) for s in (State.CHECKPOINT_SAVE, State.EVAL, State.DATA_STALL)] == [50, 60, 70]
    assert story.figures.checkpoint_saves == 1


def test_many_steps_without_a_commit_stay_bounded_and_exact() -> None:
    story, worker = trained(*[100] * 500)
    assert len(story.ledger.buckets.buckets) <= 64
    story.hear(worker.clock, worker.commit(251).report())
    assert abs(story.figures.totals[State.PRODUCTIVE] - 8 * 25_100) <= 8
    story.hear(worker.clock + 1, worker.commit(501).report())
    assert story.figures.totals[State.PRODUCTIVE] == 8 * 50_100


def test_the_average_time_between_commits() -> None:
    story, worker = trained(100)
    for _ in range(3):
        story.hear(worker.clock + 500, worker.steps(500).commit().report())
    assert story.figures.commits == 3
    assert story.figures.commit_gap_ms == 500


@pytest.mark.parametrize("row", [1, 63, 64, 65, 1000])
def test_a_row_of_steps_is_as_many_single_ones(row: int) -> None:
    one = Piece(0, 0, 0, 5, 1, 7, 0, 0, 0, 0, 0, again=False)
    rows, singles = Steps([3] * 40, [], []), Steps([3] * 40, [], [])
    rows.add(one._replace(steps=row, duration=7 * row))
    for _ in range(row):
        singles.add(one)
    assert (rows.net, rows.ordered, rows.median()) == (singles.net, singles.ordered, singles.median())
    assert (rows.recent, rows.segment) == (singles.recent, singles.segment)
