"""A job that never reports: what it did while it was up is estimated."""

from drumline.api.goodput import Source, State
from drumline.core.gang.ledger.events import AttemptEnded
from tests.unit.core.gang.ledger.story import Story, Worker


def test_up_time_is_provisional_until_the_job_succeeds() -> None:
    story = Story().begin(1000).tick(5000)
    assert story.figures.source is Source.ESTIMATED
    assert story.provisional == 4000
    story.fold(AttemptEnded(6000, 1, failed=False)).close(6000, success=True)
    assert story.ms(State.PRODUCTIVE) == 5000


def test_a_failure_loses_half_a_checkpoint_interval() -> None:
    story = Story(checkpoint_interval_ms=600, expects_reports=False).begin(0).fail(5000)
    assert story.ms(State.PRODUCTIVE) == 4700
    assert story.ms(State.LOST_PROGRESS) == 300
    assert story.provisional == 0


def test_a_failure_loses_no_more_than_there_was() -> None:
    story = Story(checkpoint_interval_ms=60_000, expects_reports=False).begin(0).fail(5000)
    assert story.ms(State.LOST_PROGRESS) == 5000
    assert story.ms(State.PRODUCTIVE) == 0


def test_without_an_interval_a_failure_loses_all_of_the_attempt() -> None:
    story = Story(expects_reports=False).begin(0).fail(5000).begin(6000, 2, restart=True)
    assert story.ms(State.LOST_PROGRESS) == 5000
    story.close(9000, success=True)
    assert story.ms(State.LOST_PROGRESS) == 5000
    assert story.ms(State.PRODUCTIVE) == 3000


def test_where_reports_may_come_the_estimate_waits_for_a_late_one() -> None:
    story = Story(checkpoint_interval_ms=600).begin(0).fail(5000).tick(64_999)
    assert story.provisional == 5000
    story.tick(65_000)
    assert story.ms(State.PRODUCTIVE) == 4700
    assert story.provisional == 0


def test_one_report_makes_the_job_reported() -> None:
    story = Story().begin(0).tick(5000).hear(5000, Worker().report())
    assert story.figures.source is Source.REPORTED
    story.fail(6000).begin(7000, 2, restart=True)
    assert story.ms(State.COMPILE) == 6000


def test_a_silent_attempt_of_a_job_that_reports_is_unknown() -> None:
    story = Story().begin(0).hear(1000, Worker().report()).fail(1000).begin(2000, 2, restart=True)
    story.tick(9000).fail(9000, 2).begin(10_000, 3, restart=True)
    assert story.ms(State.UNKNOWN) == 7000


def test_a_suspension_loses_like_a_failure() -> None:
    story = Story(checkpoint_interval_ms=600, expects_reports=False).begin(0)
    story.fold(AttemptEnded(5000, 1, failed=False)).lanes(5000, State.SUSPENDED).begin(70_000, 2)
    assert story.ms(State.LOST_PROGRESS) == 300
    assert story.ms(State.PRODUCTIVE) == 4700


def test_up_time_of_part_of_the_gang_is_split_by_wall_time() -> None:
    story = Story(checkpoint_interval_ms=2000, expects_reports=False).begin(0)
    story.lanes(4000, State.QUEUED, 1).fail(6000)
    # up: 4 s of both lanes, 2 s of one; the last second is lost
    assert story.figures.totals[State.LOST_PROGRESS] == 4000
    assert story.figures.totals[State.PRODUCTIVE] == 4 * 8000 + 4000
