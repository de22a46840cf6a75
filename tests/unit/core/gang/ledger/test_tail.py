"""Rank 0 dies without its last report: where training goes on proves what it had done by then."""

import base64
import json
import zlib

from hypothesis import given
from hypothesis import strategies as st

from drumline.api.goodput import State
from drumline.core.gang.ledger.events import AttemptEnded
from drumline.core.gang.ledger.fold import fold
from drumline.core.gang.ledger.resume import from_resume, to_resume
from drumline.core.gang.ledger.summary import summary
from tests.unit.core.gang.ledger.story import Story, Worker


def silent(tail: int = 950) -> Story:
    """Steps 1 to 10 until 1.9 s, the last ones of 100 ms; a failure `tail` later, until which nothing was told."""
    return Story().begin(0).hear(1900, Worker().steps(1000, *[100] * 9).report()).fail(1900 + tail)


def gone_on(story: Story, step: int) -> Story:
    """The second attempt says from which step it goes on."""
    at = story.now + 1000
    worker = Worker(2).idle(100)
    return story.begin(at, 2, restart=True).hear(at + 100, worker.report(resumed_step=step))


def settled(story: Story) -> tuple[int, int, int]:
    """Productive, lost and provisional, but for what the second attempt did."""
    return story.ms(State.PRODUCTIVE), story.ms(State.LOST_PROGRESS), story.provisional - 100


def test_steps_that_were_not_told_of_are_durable_if_training_goes_on_after_them() -> None:
    assert settled(gone_on(silent(), 20)) == (1000 + 950, 0, 0)


def test_so_they_are_when_it_is_known_late() -> None:
    story = silent().tick(200_000)
    assert story.provisional == 1000 + 950
    assert story.ms(State.LOST_PROGRESS) == 0
    assert settled(gone_on(story, 20)) == (1000 + 950, 0, 0)


def test_what_came_after_the_step_that_training_goes_on_from_is_lost() -> None:
    story = gone_on(silent(), 15)
    assert settled(story) == (1000 + 500, 450, 0)
    assert story.figures.lost_steps == 0
    assert story.figures.committed_step == 15


def test_all_of_it_is_where_training_goes_on_from_a_step_that_was_told_of() -> None:
    assert settled(gone_on(silent(), 10)) == (1000, 950, 0)
    assert settled(gone_on(silent(), 6)) == (600, 400 + 950, 0)


def test_the_first_step_shows_it_where_nothing_is_said() -> None:
    story = silent().begin(4000, 2, restart=True)
    worker = Worker(2)
    worker.step = 15
    story.hear(4300, worker.steps(300).report())
    assert (story.ms(State.PRODUCTIVE), story.ms(State.LOST_PROGRESS)) == (1000 + 500, 450)


def test_an_attempt_in_between_that_makes_no_step_decides_nothing() -> None:
    story = silent().begin(4000, 2, restart=True).hear(4100, Worker(2).idle(100).report()).fail(4100, 2)
    story.begin(5000, 3, restart=True).hear(5000, Worker(3).report(resumed_step=20))
    assert story.ms(State.PRODUCTIVE) == 1000 + 950


def test_time_that_is_held_is_settled_when_the_job_ends() -> None:
    for success in (False, True):
        story = silent().tick(200_000).close(200_000, success=success)
        assert story.provisional == 0
        assert story.ms(State.LOST_PROGRESS) == 950 + 1000 * (not success)


def test_a_suspension_is_no_different() -> None:
    story = Story().begin(0).hear(1900, Worker().steps(1000, *[100] * 9).report())
    story.fold(AttemptEnded(2850, 1, failed=False)).lanes(2850, State.SUSPENDED).tick(200_000)
    assert settled(gone_on(story, 20)) == (1000 + 950, 0, 0)


def test_a_report_that_comes_very_late_tells_what_was_done_in_it() -> None:
    worker = Worker().steps(1000, *[100] * 9)
    story = Story().begin(0).hear(1900, worker.report()).fail(2850).tick(100_000)
    late = worker.steps(*[100] * 5).report(sent_ms=2850)
    story.hear(100_000, late)
    assert story.figures.step == 15
    assert story.provisional == 1000 + 950
    assert settled(gone_on(story, 15)) == (1000 + 500, 450, 0)


def test_a_checkpoint_that_is_told_of_very_late_covers_its_part() -> None:
    worker = Worker().steps(1000, *[100] * 9)
    story = Story().begin(0).hear(1900, worker.report()).fail(2850).tick(100_000)
    story.hear(100_000, worker.steps(*[100] * 5).commit(12).report(sent_ms=2850))
    assert story.ms(State.PRODUCTIVE) == 1000 + 200


def test_where_no_step_time_is_known_all_of_it_counts() -> None:
    story = Story().begin(0).hear(1000, Worker().steps(1000).report()).fail(1400)
    story = gone_on(story, 2)
    assert story.ms(State.PRODUCTIVE) + story.ms(State.COMPILE) == 1000 + 400


def test_the_way_of_waiting_steps_counts_into_their_time() -> None:
    worker = Worker().steps(1000, 200, 200, 200, 200, stall_ms=100)
    story = gone_on(Story().begin(0).hear(1800, worker.report()).fail(2400), 7)
    assert story.ms(State.LOST_PROGRESS) == 200


def test_a_resume_point_of_before_there_were_tails_is_read() -> None:
    ledger = silent().ledger
    parts = json.loads(zlib.decompress(base64.b64decode(to_resume(ledger))))
    text = base64.b64encode(zlib.compress(json.dumps(parts[:15]).encode())).decode()
    assert to_resume(from_resume(text, ledger.settings)) == to_resume(ledger)


@given(st.integers(0, 400_000), st.integers(-1, 40), st.integers(0, 90_000), st.booleans())
def test_whatever_was_held_is_settled_once(tail: int, step: int, wait: int, restart: bool) -> None:
    story = silent(tail).tick(1900 + tail + wait)
    if restart:
        text = to_resume(story.ledger)
        story.ledger = from_resume(text, story.ledger.settings)
        assert to_resume(story.ledger) == text
    before = summary(story.ledger, story.now)
    assert fold(story.ledger, AttemptEnded(story.now, 1, failed=True)).buckets.ms == story.ledger.buckets.ms
    after = gone_on(story, step).figures
    assert after.provisional_ms == 8 * 100
    hang = 8 * tail if tail > 300_000 else 0
    assert after.totals.get(State.HANG, 0) == hang
    gained = after.totals.get(State.PRODUCTIVE, 0) - before.totals.get(State.PRODUCTIVE, 0)
    durable = min(max(0, step) * 100, 1000) + min(max(0, step - 10) * 100, 0 if hang else tail)
    assert gained == 8 * durable
