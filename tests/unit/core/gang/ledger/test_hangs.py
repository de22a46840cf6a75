"""A hang while it lasts, and what it settles as."""

from drumline.api.goodput import State
from tests.unit.core.gang.ledger.story import Story, Worker

MINUTE = 60_000


def trained() -> tuple[Story, Worker]:
    """Five steps until 1.4 s."""
    story, worker = Story().begin(0), Worker().steps(1000, 100, 100, 100, 100)
    return story.hear(worker.clock, worker.report()), worker


def test_a_silence_is_shown_as_a_hang_once_and_from_the_last_progress_on() -> None:
    story, _ = trained()
    story.tick(1400 + 5 * MINUTE)
    assert story.figures.hanging_since is None
    story.tick(1401 + 5 * MINUTE)
    assert story.figures.hanging_since == 1400
    assert story.figures.current == "hang"
    assert story.tick(20 * MINUTE).figures.hangs == 1
    assert story.ms(State.HANG) == 0


def test_it_settles_when_the_attempt_ends() -> None:
    story, _ = trained()
    story.tick(9 * MINUTE).fail(10 * MINUTE)
    assert story.ms(State.HANG) == 10 * MINUTE - 1400
    assert story.ms(State.LOST_PROGRESS) == 0
    assert story.figures.hangs == 1
    assert story.figures.hanging_since is None


def test_it_counts_even_if_nobody_looked_while_it_lasted() -> None:
    story, _ = trained()
    story.fail(10 * MINUTE).begin(11 * MINUTE, 2, restart=True)
    assert story.ms(State.HANG) == 10 * MINUTE - 1400
    assert story.figures.hangs == 1


def test_it_settles_when_a_step_ends_after_all() -> None:
    story, worker = trained()
    story.tick(9 * MINUTE)
    story.hear(10 * MINUTE, worker.steps(10 * MINUTE - 1400).report())
    assert story.ms(State.HANG) == 10 * MINUTE - 1400 - 100
    assert story.figures.hangs == 1
    assert story.figures.hanging_since is None


def test_it_settles_when_the_reporter_goes_on_without_saying_why() -> None:
    story, worker = trained()
    story.tick(9 * MINUTE)
    story.hear(10 * MINUTE, worker.idle(10 * MINUTE - 1500).steps(100).report())
    assert story.ms(State.HANG) == 10 * MINUTE - 1500
    assert story.figures.hangs == 1


def test_a_delayed_report_shows_that_it_was_none() -> None:
    story, worker = trained()
    story.tick(6 * MINUTE)
    assert story.figures.current == "hang"
    for _ in range(59):
        worker.steps(6000)
    story.hear(worker.clock, worker.report())
    assert story.ms(State.HANG) == 0
    assert story.figures.hanging_since is None


def test_a_phase_under_way_is_no_hang() -> None:
    story, worker = trained()
    story.hear(1400, worker.report(open="checkpoint_save", sent_ms=1401)).tick(10 * MINUTE)
    assert story.figures.hangs == 0
    assert story.figures.current == "checkpoint_save"
    story.fail(11 * MINUTE).begin(12 * MINUTE, 2, restart=True)
    assert story.ms(State.CHECKPOINT_SAVE) == 11 * MINUTE - 1400


def test_a_phase_that_is_told_of_late_ends_the_hang() -> None:
    story, worker = trained()
    story.tick(6 * MINUTE)
    worker.idle(10)
    story.hear(6 * MINUTE + 1, worker.report(open="eval", sent_ms=6 * MINUTE))
    assert story.figures.current == "eval"
    assert story.figures.hanging_since is None


def test_a_step_under_way_is_no_phase() -> None:
    story, worker = trained()
    story.hear(1400, worker.report(open="step", sent_ms=1401)).tick(10 * MINUTE)
    assert story.figures.hangs == 1


def test_compiling_for_long_is_no_hang() -> None:
    story = Story().begin(0).hear(100, Worker().report()).tick(30 * MINUTE)
    assert story.figures.hangs == 0
    assert story.figures.current == "compile"


def test_lanes_that_are_down_do_not_hang() -> None:
    story, _ = trained()
    story.lanes(2000, State.POD_INIT).tick(20 * MINUTE)
    assert story.figures.hangs == 0


def test_before_a_normal_step_is_known_the_first_one_says_how_long_a_step_may_take() -> None:
    worker = Worker().steps(MINUTE)
    story = Story().begin(0).hear(MINUTE, worker.report()).tick(10 * MINUTE)
    assert story.figures.hangs == 0
    assert story.tick(12 * MINUTE).figures.hangs == 1


def test_an_operator_that_was_away_waits_for_reports_first() -> None:
    story, worker = trained()
    story.leap(20 * MINUTE).tick(20 * MINUTE + 59_999)
    assert story.figures.hangs == 0
    for _ in range(200):
        worker.steps(6000)
    story.hear(worker.clock, worker.report()).tick(25 * MINUTE)
    assert (story.figures.hangs, story.ms(State.HANG)) == (0, 0)
    assert story.tick(26 * MINUTE).figures.hangs == 1


def test_a_clock_set_forward_is_time_but_no_hang() -> None:
    story, worker = trained()
    hour = 60 * MINUTE
    story.hear(hour + 1500, worker.steps(100).report())
    assert story.ms(State.HANG) == 0
    assert story.ms(State.UNKNOWN) == hour
    assert story.provisional == 600
    story.hear(hour + 1600, worker.steps(100).report())
    assert story.provisional == 700
