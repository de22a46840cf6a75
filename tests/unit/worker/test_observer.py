"""From observed lines to the timeline."""

from __future__ import annotations

import pytest

from drumline.worker.identity import identity
from drumline.worker.observer import LAST_LINES, Observer, apply, observer
from drumline.worker.patterns import LineReader, Observed
from drumline.worker.timeline import Timeline

from .conftest import ENVIRONMENT


@pytest.mark.parametrize(
    ("step", "seconds", "count"),
    [
        (10, 1.0, 10),  # a program that prints every tenth step
        (10, 7.0, 1),  # there was no time for ten: it went on from somewhere
        (10, None, 1),
        (50_000, 0.001, 1),
    ],
)
def test_the_first_line_stands_for_as_many_steps_as_there_was_time_for(
    step: int, seconds: float | None, count: int
) -> None:
    timeline = Timeline()
    apply(timeline, 60_000, Observed(step=step, seconds=seconds))
    assert [(s.step, s.count) for s in timeline.spans] == [(step, count)]


def test_what_went_on_from_a_checkpoint_counts_from_there() -> None:
    timeline = Timeline()
    apply(timeline, 1000, Observed(resumed_step=95))
    apply(timeline, 60_000, Observed(step=100, seconds=1.0))
    assert (timeline.resumed_step, timeline.spans[0].count) == (95, 5)


def test_the_same_step_told_twice_is_one() -> None:
    timeline = Timeline()
    apply(timeline, 1000, Observed(step=5))
    apply(timeline, 1500, Observed(step=5, committed_step=5))
    assert [s.duration for s in timeline.spans] == [1000]
    assert timeline.commits == [(5, 1500)]


def test_a_line_that_commits_and_ends_a_step_does_both() -> None:
    timeline = Timeline()
    apply(timeline, 1000, Observed(step=5, tokens=10, flops=2.0, committed_step=4))
    assert timeline.commits == [(4, 1000)]
    assert (timeline.spans[0].tokens, timeline.spans[0].flops) == (10, 2.0)


def test_the_last_lines_are_kept_even_where_nobody_reads_them() -> None:
    watching = Observer(None, lambda: None)
    watching.start()
    for number in range(100):
        watching.line(str(number))
    watching.finish()
    assert list(watching.last) == [str(number) for number in range(100 - LAST_LINES, 100)]


def test_a_reader_that_breaks_stops_reading_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(LineReader):
        def read(self, line: str) -> Observed | None:
            raise RuntimeError(line)

    watching = Observer(Broken(), lambda: None)
    watching.start()
    watching.line("this")
    watching.finish()
    assert capsys.readouterr().err == "drumline: the launcher stopped reading the output: this\n"


def test_nobody_reads_for_a_job_that_reports_in_another_way() -> None:
    for progress in ('{"source":"report"}', '{"source":"log"}'):
        environ = {**ENVIRONMENT, "DRUMLINE_PROGRESS": progress, "DRUMLINE_REPORTER": "none"}
        assert observer(identity(environ), environ)._reader is None
    environ = {**ENVIRONMENT, "DRUMLINE_SLICE": "1", "DRUMLINE_REPORTER": "all-slices"}
    made = observer(identity({**environ, "DRUMLINE_REPORT_URL": ""}), environ)
    assert made._reader is None
