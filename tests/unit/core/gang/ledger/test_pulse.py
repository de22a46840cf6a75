"""What decisions are told of steps and checkpoints, and from when on a silence is a hang."""

from __future__ import annotations

import base64
import json
import zlib

from drumline.core.gang.ledger.pulse import Pulse, pulse_of
from drumline.core.gang.ledger.resume import from_resume, to_resume
from tests.unit.core.gang.ledger.story import Story, Worker

MINUTE = 60_000


def trained(*durations: int) -> Story:
    worker = Worker().steps(*(durations or (1000, 100, 100, 100, 100)))
    return Story().begin(0).hear(worker.clock, worker.report())


def pulse(story: Story, at: int) -> Pulse:
    found = pulse_of(story.ledger, at, 7.0)
    assert found is not None
    return found


def test_a_silence_is_due_to_be_a_hang_and_then_is_one() -> None:
    story = trained()
    story.tick(100_000)
    found = pulse(story, 101_400)
    assert (found.hanging, found.step, found.silent, found.limit) == (False, 5, 100.0, 300.0)
    assert found.due == 200.001
    story.tick(101_400 + 190_000)
    assert not pulse(story, 101_400 + 200_000).hanging
    found = pulse(story, 101_400 + 200_001)
    assert (found.hanging, found.progress_at, found.due, found.heard_at) == (True, 1.4, None, 7.0)
    assert story.figures.hangs == 0, "looking changes nothing"


def test_an_operator_that_was_away_waits_for_late_reports() -> None:
    story = trained()
    story.leap(20 * MINUTE)
    found = pulse(story, 20 * MINUTE + 1000)
    assert (found.hanging, found.due) == (False, 59.0)
    assert pulse(story, 21 * MINUTE).hanging


def test_nothing_is_due_before_the_first_step_or_in_a_phase() -> None:
    assert pulse(Story().begin(0).hear(100, Worker().report()), 40 * MINUTE).due is None
    story, worker = Story().begin(0), Worker().steps(100, 100)
    story.hear(200, worker.report(open="checkpoint_save", sent_ms=201)).tick(30 * MINUTE)
    assert (pulse(story, 40 * MINUTE).hanging, pulse(story, 40 * MINUTE).due) == (False, None)
    assert pulse_of(story.fail(41 * MINUTE).ledger, 42 * MINUTE, 0.0) is None


def test_a_program_that_tells_of_many_steps_at_once_is_silent_between() -> None:
    story, worker = Story().begin(0), Worker()
    for _ in range(3):
        worker.row(1000, 1000 * 400)
        story.tick(worker.clock).hear(worker.clock, worker.report())
    found = pulse(story, worker.clock)
    assert found.limit == 300 + 999 * 0.4
    assert found.due is not None
    story.tick(worker.clock + 650_000)
    assert story.figures.hangs == 0
    assert story.tick(worker.clock + 700_000).figures.hangs == 1


def test_a_row_that_was_merged_for_once_is_forgotten() -> None:
    story, worker = Story().begin(0), Worker().steps(100, 100).row(4000, 400_000)
    story.tick(worker.clock).hear(worker.clock, worker.report())
    for _ in range(12):
        worker.forget().steps(100)
        story.hear(worker.clock, worker.report())
    assert pulse(story, worker.clock).limit == 300


def test_commits_are_of_the_epoch() -> None:
    worker = Worker().steps(1000, 100).commit().steps(100)
    story = Story().begin(0).hear(worker.clock, worker.report())
    found = pulse(story, 1300)
    assert (found.committed, found.committed_at) == (2, 1.1)
    story.fail(2000).begin(3000, 2, restart=True)
    assert (pulse(story, 3000).committed, pulse(story, 3000).committed_at) == (2, 0.0)


def test_a_resume_point_of_before_rows_were_known_is_read() -> None:
    story = trained()
    parts = json.loads(zlib.decompress(base64.b64decode(to_resume(story.ledger))))
    (reporter,) = parts[11]
    assert reporter.pop() == 1
    old = base64.b64encode(zlib.compress(json.dumps(parts).encode())).decode()
    again = from_resume(old, story.ledger.settings)
    assert pulse_of(again, 2000, 0.0) == pulse_of(story.ledger, 2000, 0.0)
