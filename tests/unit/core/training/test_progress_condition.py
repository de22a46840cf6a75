"""What the condition ProgressReported says, before and after the first report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drumline.api.reasons import ConditionType, Reason
from drumline.api.report import ReportSource
from drumline.api.status import TrainingJobStatus
from drumline.api.training import TrainingJobSpec
from drumline.core.training import conditions
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted, Settings
from drumline.core.training.progress_condition import from_reports, silent
from drumline.core.training.progress_render import Reporting
from tests.unit.core.training import jobs

URL = "https://x/v1/report"
ALL = Reporting(URL, "img")


def spec(source: str, command: list[str] | None = None) -> TrainingJobSpec:
    container: dict[str, Any] = {"name": "train", "image": "img"}
    if command is not None:
        container["command"] = command
    progress: dict[str, Any] = {"source": source}
    if source == "scrape":
        progress["scrape"] = {"port": 9090, "step": "s"}
    return TrainingJobSpec.model_validate(
        {
            "accelerator": {"type": "cpu"},
            "template": {"spec": {"containers": [container]}},
            "progress": progress,
        }
    )


SILENT: list[tuple[str, list[str] | None, Reporting, Reason | None, str]] = [
    ("none", ["python"], ALL, None, ""),
    ("auto", None, Reporting(), None, ""),
    ("report", None, Reporting(), None, ""),
    ("auto", ["python"], ALL, Reason.NO_REPORTS, "no step of attempt 3 is known yet"),
    ("auto", None, Reporting(URL), Reason.NO_REPORTS, "no step of attempt 3"),
    ("report", None, ALL, Reason.NO_REPORTS, "no step of attempt 3"),
    ("log", None, Reporting(), Reason.NO_REPORTS, "no step of attempt 3"),
    ("scrape", None, Reporting(), Reason.NO_REPORTS, "no step of attempt 3"),
    (
        "auto",
        None,
        ALL,
        Reason.LAUNCHER_NOT_APPLIED,
        "attempt 3 runs without the launcher: container train has",
    ),
    ("launcher", ["mpirun"], ALL, Reason.LAUNCHER_NOT_APPLIED, "is 'mpirun'"),
    ("launcher", ["python"], Reporting(), Reason.LAUNCHER_NOT_APPLIED, "without --report-url"),
    ("launcher", ["python"], Reporting(URL), Reason.LAUNCHER_NOT_APPLIED, "without --launcher-image"),
]


@pytest.mark.parametrize(("source", "command", "reporting", "reason", "words"), SILENT, ids=str)
def test_before_the_first_report(
    source: str, command: list[str] | None, reporting: Reporting, reason: Reason | None, words: str
) -> None:
    said = silent(spec(source, command), reporting, 3)
    if said is None:
        assert reason is None
        return
    assert (said.value, said.reason) == (False, reason)
    assert words in said.message


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (ReportSource.REPORT, Reason.REPORTS_RECEIVED),
        (ReportSource.LAUNCHER, Reason.REPORTS_RECEIVED),
        (ReportSource.LOG, Reason.LOG_FOLLOWED),
        (ReportSource.SCRAPE, Reason.SCRAPED),
    ],
)
def test_once_steps_are_known(source: ReportSource, reason: Reason) -> None:
    said = from_reports(source, spec("auto", ["python"]), ALL, 2)
    assert (said.value, said.reason) == (True, reason)
    assert said.message.startswith("attempt 2: ")


def test_it_goes_on_saying_why_there_is_no_launcher() -> None:
    said = from_reports(ReportSource.LOG, spec("auto", ["mpirun"]), ALL, 2)
    assert "no launcher: command[0] of container train is 'mpirun'" in said.message


def begun(settings: Settings) -> TrainingJobStatus:
    """The status with which a job's first attempt begins."""
    observed = jobs.job(settings=settings)
    plan = decide(replace(observed, admission=Granted(jobs.placement(observed))), jobs.NOW)
    return TrainingJobStatus.model_validate(plan.intent)


def test_an_attempt_begins_with_it() -> None:
    status = begun(Settings(report_url=URL, launcher_image="img"))
    found = conditions.find(status, ConditionType.PROGRESS_REPORTED)
    assert found is not None
    assert (found.status, found.reason) == ("False", "LauncherNotApplied")
    assert "container train has no command" in found.message


def test_an_attempt_begins_without_it_where_no_reports_are_received() -> None:
    assert conditions.find(begun(Settings()), ConditionType.PROGRESS_REPORTED) is None


def test_the_phase_does_not_depend_on_it() -> None:
    with_it, without = begun(Settings(report_url=URL)), begun(Settings())
    assert conditions.phase_of(with_it) == conditions.phase_of(without)


def test_an_operator_that_begins_to_take_reports_leaves_a_running_gang_alone() -> None:
    running = jobs.running()
    plan = decide(replace(running, settings=Settings(report_url=URL, launcher_image="img")), jobs.NOW + 60)
    assert (plan.actions, plan.prepare, plan.status) == ((), (), None)


def test_the_next_attempt_forgets_what_the_last_one_reported() -> None:
    begun_once = jobs.running(jobs.job(settings=Settings(report_url=URL)))
    known = from_reports(ReportSource.REPORT, spec("report"), Reporting(URL), 1)
    kind = ConditionType.PROGRESS_REPORTED
    status = conditions.set_condition(
        begun_once.status, kind, known.value, known.reason, known.message, jobs.NOW
    )
    failed = jobs.with_pod(replace(begun_once, status=status), 0, jobs.failed)
    failed = jobs.settled(failed)
    assert jobs.reason(failed.status, kind) == ("True", "ReportsReceived")
    again = jobs.begun_again(replace(failed, pods={}), jobs.NOW + 60)
    assert again.status.attempt == 2
    assert jobs.reason(again.status, kind) == ("False", "NoReports")
