"""Ends and beginnings: what is lost, what proves durable, and what the way back costs."""

from typing import Any

from drumline.api.goodput import State
from drumline.core.gang.ledger.events import AttemptBegan, AttemptEnded
from tests.unit.core.gang.ledger.story import Story, Worker


def killed(*, committed: int = 0, tail: int = 0, **more: Any) -> Story:
    """Steps 1 to 10 until 1.9 s, then a failure `tail` later."""
    story, worker = Story(**more).begin(0), Worker().steps(1000, *[100] * 9)
    if committed:
        worker.commit(committed)
    return story.hear(1900, worker.report()).fail(1900 + tail)


def going_on(step: int, attempt: int = 2) -> Worker:
    worker = Worker(attempt)
    worker.step = step
    return worker


def test_the_step_under_way_is_lost_when_training_goes_on_without_it() -> None:
    story = killed(tail=50).tick(1950 + 60_000)
    assert story.provisional == 1000 + 50
    story.begin(70_000, 2, restart=True).hear(70_000, going_on(10).report(resumed_step=10))
    assert (story.ms(State.LOST_PROGRESS), story.provisional) == (50, 0)


def test_a_late_report_still_tells_of_it() -> None:
    story, worker = Story().begin(0), Worker().steps(1000, *[100] * 9)
    story.hear(1900, worker.report()).fail(2050)
    story.hear(2200, worker.steps(100).idle(200).report())
    story.begin(3000, 2, restart=True)
    assert story.provisional == 1100 + 50
    story.hear(3000, going_on(11).report(resumed_step=11))
    assert (story.ms(State.PRODUCTIVE), story.ms(State.LOST_PROGRESS)) == (1100, 50)


def test_where_training_goes_on_shows_what_was_durable_and_what_is_lost() -> None:
    story = killed().begin(3000, 2, restart=True)
    story.hear(3500, going_on(6).steps(500).report())
    assert story.ms(State.PRODUCTIVE) == 600
    assert story.ms(State.LOST_PROGRESS) == 400
    assert story.figures.lost_steps == 4
    assert [(a.attempt, a.lost_steps) for a in story.figures.attempts] == [(1, 4)]
    assert story.figures.committed_step == 6


def test_a_reporter_that_knows_where_it_goes_on_need_not_make_a_step_first() -> None:
    story = killed().begin(3000, 2, restart=True)
    story.hear(3100, going_on(6).idle(100).report(resumed_step=6))
    assert (story.ms(State.PRODUCTIVE), story.ms(State.LOST_PROGRESS)) == (600, 400)
    assert story.figures.step == 6


def test_a_restart_behind_a_commit_shows_that_it_was_not_durable() -> None:
    story = killed(committed=8).begin(3000, 2, restart=True)
    story.hear(3500, going_on(5).steps(500, 100, 100, 100).report())
    assert story.ms(State.PRODUCTIVE) == 800
    assert story.ms(State.LOST_PROGRESS) == 200
    assert story.figures.lost_steps == 5
    assert story.figures.committed_step == 5
    assert story.provisional == 400


def test_an_attempt_without_a_step_loses_nothing_of_its_own() -> None:
    story = killed().begin(3000, 2, restart=True).fail(4000, 2).begin(5000, 3, restart=True)
    story.hear(5500, going_on(6, 3).steps(500).report())
    assert [(a.attempt, a.lost_steps) for a in story.figures.attempts] == [(1, 4)]


def test_steps_lost_more_than_once_count_each_time() -> None:
    story = killed().begin(3000, 2, restart=True)
    story.hear(3700, going_on(6).steps(500, 100, 100).report()).fail(3700, 2).begin(5000, 3, restart=True)
    story.hear(5500, going_on(6, 3).steps(500).report())
    assert story.figures.lost_steps == 4 + 3


def test_training_that_goes_back_by_itself_loses_steps() -> None:
    story, worker = Story().begin(0), Worker().steps(1000, *[100] * 9)
    story.hear(1900, worker.report())
    worker.step = 7
    story.hear(2000, worker.steps(100).report())
    assert story.figures.lost_steps == 3
    assert (story.ms(State.PRODUCTIVE), story.ms(State.LOST_PROGRESS)) == (700, 300)
    assert story.figures.step == 8


def test_success_settles_what_is_provisional() -> None:
    story = killed(committed=5)
    story.close(2000, success=True)
    assert story.ms(State.PRODUCTIVE) == 1000
    assert story.provisional == 0


def test_failure_loses_it() -> None:
    story = killed(committed=5, tail=50).close(1950, success=False)
    assert story.ms(State.PRODUCTIVE) == 500
    assert story.ms(State.LOST_PROGRESS) == 550
    assert story.figures.lost_steps == 0


def test_the_rest_of_an_attempt_that_succeeds_is_unknown() -> None:
    story, worker = Story().begin(0), Worker().steps(1000, *[100] * 9)
    story.hear(1900, worker.report()).fold(AttemptEnded(2100, 1, failed=False)).close(2100, success=True)
    assert story.ms(State.UNKNOWN) == 200
    assert story.ms(State.PRODUCTIVE) == 1000


def test_a_job_that_closes_while_it_runs_has_failed_attempts_only_if_it_failed() -> None:
    assert Story().begin(0).close(100, success=True).figures.failures == 0
    assert Story().begin(0).close(100, success=False).figures.failures == 1


def test_the_way_back_by_phase() -> None:
    story = killed(tail=100)
    story.fold(AttemptBegan(2500, 2, 0, restart=True))
    story.lanes(3000, State.POD_INIT).lanes(3200, State.GANG_WAIT, 0).lanes(3300, State.IMAGE_PULL, 1)
    story.lanes(3700, None)
    worker = going_on(6).idle(50).phase("device_init", 150).phase("checkpoint_restore", 200)
    story.hear(4600, worker.steps(500, 100, 100, 100).idle(0).report(sent_ms=900 + 300 - 300))
    recovery = dict(next(a for a in story.figures.attempts if a.attempt == 2).recovery)
    assert recovery == {
        "draining": 1000,
        "pod_init": 300,
        "image_pull": 400,
        "device_init": 150,
        "checkpoint_restore": 200,
        "compile": 450,
        "productive": 100,
        "total": 2600,
    }
    assert story.restart_ms(State.COMPILE) == 450
    assert story.restart_ms(State.DEVICE_INIT) == 150


def test_after_its_first_step_a_restart_costs_no_more() -> None:
    story = killed().begin(3000, 2, restart=True)
    story.hear(3900, going_on(6).steps(500, 100, 100, 100).phase("checkpoint_restore", 100).report())
    assert story.ms(State.CHECKPOINT_RESTORE) == 100
    assert story.restart_ms(State.CHECKPOINT_RESTORE) == 0
    assert story.restart_ms(State.COMPILE) == 400


def test_an_attempt_that_was_not_a_restart_recovers_nothing() -> None:
    story = Story().begin(0).hear(1300, Worker().steps(1000, 100, 100, 100).report())
    assert story.figures.attempts == ()


def test_without_reports_a_recovery_is_over_when_the_gang_is_up() -> None:
    story = Story(expects_reports=False).begin(0).fail(1000).fold(AttemptBegan(1500, 2, 0, restart=True))
    story.lanes(2000, State.POD_INIT).lanes(2600, None).tick(9000)
    assert dict(story.figures.attempts[0].recovery) == {"draining": 1000, "pod_init": 600, "total": 1600}
    story.lanes(9000, State.POD_INIT, 1).tick(9500)
    assert story.restart_ms(State.POD_INIT) == 600


def test_on_nodes_that_are_kept_the_wait_for_the_next_attempt_is_told_from_its_binding() -> None:
    story = Story(expects_reports=False).begin(0).fail(1000).lanes(1400, State.BINDING)
    story.fold(AttemptBegan(2000, 2, 0, restart=True)).lanes(2300, State.POD_INIT).lanes(2500, None).tick(
        9000
    )
    assert dict(story.figures.attempts[0].recovery) == {
        "draining": 400,
        "placement": 600,
        "binding": 300,
        "pod_init": 200,
        "total": 1500,
    }
    assert story.ms(State.BINDING) == 600 + 300, "the account knows states alone"


def test_where_reports_could_have_come_that_shows_at_the_attempts_end() -> None:
    story = Story().begin(0).fail(1000).begin(1500, 2, restart=True).tick(3000)
    assert story.figures.attempts == ()
    story.fail(4000, 2)
    assert dict(story.figures.attempts[0].recovery) == {"draining": 500, "total": 500}


def test_a_new_epoch_is_a_segment_of_its_own() -> None:
    story, worker = Story().begin(0), Worker().steps(1000, *[100] * 9)
    story.hear(1900, worker.report()).fold(AttemptEnded(1900, 1, failed=True))
    story.fold(AttemptBegan(2000, 1, 1, restart=True))
    story.hear(2900, going_on(6, 1).steps(600, 100, 100, 100).report(epoch=1))
    assert story.ms(State.DRAINING) == 100
    assert story.ms(State.COMPILE) == 900 + 500
    assert story.figures.lost_steps == 4
    assert story.figures.epoch == 1


def test_only_the_latest_attempts_are_kept() -> None:
    story = Story(expects_reports=False)
    for attempt in range(1, 15):
        story.begin(attempt * 1000, attempt, restart=attempt > 1).fail(attempt * 1000 + 500, attempt)
        story.lanes(attempt * 1000 + 600, State.POD_INIT)
    assert [a.attempt for a in story.figures.attempts] == list(range(5, 15))


def test_lanes_that_outlive_a_failure_drain_in_the_recovery_too() -> None:
    story = Story(expects_reports=False).begin(0).fold(AttemptEnded(1000, 1, failed=True))
    story.lanes(1300, State.QUEUED).begin(2000, 2, restart=True).tick(3000)
    assert dict(story.figures.attempts[0].recovery) == {"queued": 700, "draining": 300, "total": 1000}
