"""The condition `ProgressReported`: whether, and how, the operator learns of a job's steps.

An attempt begins with what is known before any report: that the launcher does not apply and why, or that
nothing has been reported yet. `silence` tells of a launcher that applies and does not run. Whoever receives
reports, follows the log or scrapes says the rest with `from_reports`. Messages name neither steps nor times: a
condition is written when something changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from drumline.api.progress import ProgressSource
from drumline.api.reasons import Reason
from drumline.api.report import ReportSource
from drumline.api.training import TrainingJobSpec
from drumline.core.training.progress_render import Reporting, launcher_refusal, reports

_TEXT: Final[dict[ReportSource, tuple[Reason, str]]] = {
    ReportSource.REPORT: (Reason.REPORTS_RECEIVED, "the program reports its steps"),
    ReportSource.LAUNCHER: (Reason.REPORTS_RECEIVED, "the launcher reports steps from the program's output"),
    ReportSource.LOG: (Reason.LOG_FOLLOWED, "steps are read from the log of rank 0"),
    ReportSource.SCRAPE: (Reason.SCRAPED, "steps are scraped from rank 0's metrics"),
}


@dataclass(frozen=True, slots=True)
class ProgressReported:
    """Value, reason and message of the condition, as `View.condition` and `set_condition` take them."""

    value: bool
    reason: Reason
    message: str


def silent(spec: TrainingJobSpec, reporting: Reporting, attempt: int) -> ProgressReported | None:
    """From the attempt's beginning until a step of it is known; None for a job of which none is expected."""
    refused = launcher_refusal(spec, reporting)
    if refused:
        text = f"attempt {attempt} runs without the launcher: {refused}"
        return ProgressReported(False, Reason.LAUNCHER_NOT_APPLIED, text)
    looked_up = spec.progress.source in (ProgressSource.LOG, ProgressSource.SCRAPE)
    if not looked_up and not reports(spec, reporting):
        return None
    return ProgressReported(False, Reason.NO_REPORTS, f"no step of attempt {attempt} is known yet")


def from_reports(
    source: ReportSource, spec: TrainingJobSpec, reporting: Reporting, attempt: int
) -> ProgressReported:
    """Once steps of the attempt are known by way of `source`."""
    reason, text = _TEXT[source]
    refused = launcher_refusal(spec, reporting) if source is not ReportSource.LAUNCHER else ""
    why = f"; no launcher: {refused}" if refused else ""
    return ProgressReported(True, reason, f"attempt {attempt}: {text}{why}")
