"""Spans from the recorder of ml-goodput-measurement (Google's), with no cloud behind it.

`GoodputRecorder` writes each event as a dictionary to its logger, and takes that logger as an argument
(`cloud_logger`; 0.2.3, the file is `ml_goodput_measurement/src/goodput.py`). So it can be pointed here:

    from ml_goodput_measurement import goodput
    from drumline.worker.adapter_goodput import SpanLogger

    recorder = goodput.GoodputRecorder(run, "goodput", True, cloud_logger=SpanLogger(run))

What its events become:

- `tpu_init_start_time`, `…_end_time`: the phase device_init.
- `data_loading_…`: data_wait.
- `custom_badput_event_…`: the phase that the event's type names (eval, checkpoint save or restore, compile); else
  nothing.
- `step_start_time`: the step before it has ended; `job_end_time`: the last one has. A step's duration therefore
  has in it what the program does between two steps, as the library itself has it.
- `training_prep_…`, `job_start_time` and the elastic events: nothing; preparation overlaps with restoring, and is
  what the ledger finds before the first step.

It records no durable checkpoints (`record_checkpoint_progress` does nothing in 0.2.3): say them with
`drumline.worker.checkpoint_committed`. Times are those at which events arrive, not the wall clock in them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from drumline import worker

_PHASES: Final = {"tpu_init": "device_init", "data_loading": "data_wait"}
# the first that is a part of a custom event's type, in lower case
_CUSTOM: Final = (
    ("eval", "eval"),
    ("restore", "checkpoint_restore"),
    ("checkpoint", "checkpoint_save"),
    ("save", "checkpoint_save"),
    ("compil", "compile"),
)


class Target(Protocol):
    """Where spans go: `drumline.worker` itself, or a reporter."""

    def report_step(self, step: int, tokens: int = 0, flops: float = 0.0) -> None:
        """A step has ended."""

    def phase(self, kind: str) -> AbstractContextManager[None]:
        """What runs inside is this phase."""


class SpanLogger:
    """In the place of the library's logger to Google Cloud. Not thread-safe, as the recorder is not."""

    def __init__(self, job_name: str, target: Target | None = None) -> None:
        self.job_name = job_name
        self.job_start_time = None
        self._target: Target = target or worker
        self._step: int | None = None
        self._open: dict[str, AbstractContextManager[None]] = {}

    def write_cloud_logging_entry(self, entry: Mapping[str, Any] | None) -> None:
        """One event. Never raises."""
        if entry is None or entry.get("job_name") != self.job_name:
            return
        with contextlib.suppress(Exception):
            self._take(entry)

    def flush(self) -> None:
        """Nothing waits here."""

    def read_cloud_logging_entries(self, *_: Any, **__: Any) -> tuple[list[Any], tuple[None, None]]:
        """Nothing can be read back: the operator has the account."""
        return [], (None, None)

    def _take(self, entry: Mapping[str, Any]) -> None:
        if "step_start_time" in entry:
            self._ended()
            self._step = int(entry["step_count"])
        elif "job_end_time" in entry:
            self._ended()
        for field in entry:
            if field.endswith("_start_time"):
                self._begin(_phase(field[: -len("_start_time")], entry))
            elif field.endswith("_end_time"):
                self._finish(_phase(field[: -len("_end_time")], entry))

    def _ended(self) -> None:
        if self._step is not None:
            self._target.report_step(self._step)
            self._step = None

    def _begin(self, kind: str) -> None:
        if kind and kind not in self._open:
            self._open[kind] = self._target.phase(kind)
            self._open[kind].__enter__()

    def _finish(self, kind: str) -> None:
        phase = self._open.pop(kind, None)
        if phase is not None:
            phase.__exit__(None, None, None)


def _phase(event: str, entry: Mapping[str, Any]) -> str:
    if event != "custom_badput_event":
        return _PHASES.get(event, "")
    named = str(entry.get("custom_badput_event_type", "")).lower()
    return next((kind for part, kind in _CUSTOM if part in named), "")
