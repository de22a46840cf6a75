"""Events as ml-goodput-measurement 0.2.3 writes them (ml_goodput_measurement/src/goodput.py)."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.api.report import Report
from drumline.worker.adapter_goodput import SpanLogger
from drumline.worker.client import Reporter

from .conftest import Clock

RUN = "llama-run"


class Recorder:
    """Writes what `GoodputRecorder` writes, a second after each other."""

    def __init__(self, reporter: Reporter, clock: Clock) -> None:
        self.reporter = reporter
        self.logger = SpanLogger(RUN, reporter)
        self._clock = clock

    def write(self, field: str, **more: Any) -> None:
        self.logger.write_cloud_logging_entry({"job_name": RUN, **more, field: 1763632800.5})
        self._clock.now += 1000

    def spans(self) -> list[tuple[str, int, int, int]]:
        report = Report.model_validate_json(self.reporter.report())
        return [(s.kind.value, s.step, s.start_ms, s.duration_ms) for s in report.spans]


@pytest.fixture
def recorder(reporter: Reporter, clock: Clock) -> Recorder:
    return Recorder(reporter, clock)


def test_a_run(recorder: Recorder) -> None:
    recorder.write("job_start_time")
    recorder.write("tpu_init_start_time")
    recorder.write("tpu_init_end_time")
    recorder.write("training_prep_start_time")
    recorder.write("training_prep_end_time")
    for step in (5, 6):
        recorder.write("step_start_time", step_count=step)
        recorder.write("data_loading_start_time")
        recorder.write("data_loading_end_time")
    recorder.write("job_end_time")
    assert recorder.spans() == [
        ("device_init", -1, 1000, 1000),
        ("data_wait", -1, 6000, 1000),
        ("step", 5, 7000, 1000),
        ("step", 6, 8000, 3000),
    ]


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("eval_step", "eval"),
        ("checkpoint_restore", "checkpoint_restore"),
        ("emergency_checkpoint", "checkpoint_save"),
        ("XLA compilation", "compile"),
    ],
)
def test_custom_events_are_phases_by_name(recorder: Recorder, event: str, kind: str) -> None:
    recorder.write("custom_badput_event_start_time", custom_badput_event_type=event)
    recorder.write("custom_badput_event_end_time", custom_badput_event_type=event)
    assert recorder.spans() == [(kind, -1, 0, 1000)]


def test_other_events_are_nothing(recorder: Recorder) -> None:
    recorder.write("custom_badput_event_start_time", custom_badput_event_type="lunch")
    recorder.write("custom_badput_event_end_time", custom_badput_event_type="lunch")
    recorder.write("tpu_init_end_time")
    recorder.logger.write_cloud_logging_entry(None)
    recorder.logger.write_cloud_logging_entry(
        {"job_name": "another", "step_count": 1, "step_start_time": 1.0}
    )
    recorder.logger.write_cloud_logging_entry({"job_name": RUN, "step_count": "x", "step_start_time": 1.0})
    recorder.logger.flush()
    assert recorder.spans() == []


def test_nothing_can_be_read_back(recorder: Recorder) -> None:
    assert recorder.logger.read_cloud_logging_entries(None, None) == ([], (None, None))
