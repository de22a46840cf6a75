"""When a launcher that says nothing is missed, what an old Python's word does, and when all this is no matter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drumline.api.reasons import ConditionType, Reason
from drumline.core.gang.types import Pod, PodTimes
from drumline.core.training import conditions
from drumline.core.training.observation import Observation, Settings
from drumline.core.training.silence import NOTHING, Hello, Silence, judge
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

SETTINGS = Settings(report_url="https://x/v1/report", launcher_image="img", launcher_silence_seconds=30)
STARTED = NOW + 2


def container(**changes: Any) -> dict[str, Any]:
    base = {"name": "train", "image": "img", "command": ["sh", "-c", "train"], **changes}
    return jobs.spec(template={"spec": {"containers": [base]}})


def started(pod: Pod) -> Pod:
    return replace(pod, times=PodTimes(started_at=STARTED))


def gang(raw: dict[str, Any] | None = None, settings: Settings = SETTINGS) -> Observation:
    """A gang whose containers run since STARTED."""
    found = jobs.running(jobs.job(raw or container(), settings=settings))
    return jobs.with_pods(found, started)


def look(found: Observation, now: float, hello: Hello | None = None, since: float = 0.0) -> Silence:
    return judge(found, found.status, hello, since, now)


def saying(found: Observation, silence: Silence) -> Observation:
    """The same job once that was written."""
    assert silence.said is not None
    kind, said = ConditionType.PROGRESS_REPORTED, silence.said
    status = conditions.set_condition(found.status, kind, said.value, said.reason, said.message, NOW)
    return replace(found, status=status)


def test_it_is_missed_when_its_time_is_over_and_not_before() -> None:
    assert look(gang(), STARTED + 29) == Silence(due=1)
    said = look(gang(), STARTED + 30).said
    assert said is not None
    assert (said.value, said.reason) == (False, Reason.LAUNCHER_SILENT)
    assert said.message.startswith(
        "attempt 1: the launcher in pod job-1-0-0 says nothing: either the image of"
    )
    assert "container train has no Python 3.9 or newer" in said.message
    assert "progress.source log, report or none" in said.message


def test_the_setting_says_how_long() -> None:
    settings = replace(SETTINGS, launcher_silence_seconds=5)
    assert look(gang(settings=settings), STARTED + 1) == Silence(due=4)


def test_an_operator_that_has_just_started_could_not_have_heard_it() -> None:
    assert look(gang(), STARTED + 100, since=STARTED + 90) == Silence(due=20)


def test_it_is_said_once() -> None:
    found = gang()
    missed = saying(found, look(found, STARTED + 30))
    assert look(missed, STARTED + 300) == NOTHING


def test_who_said_hello_is_not_missed() -> None:
    assert look(gang(), STARTED + 300, Hello(1)) == NOTHING


def test_the_last_attempts_hello_does_not_count() -> None:
    assert look(gang(), STARTED + 300, Hello(2)).said is not None


def test_a_late_hello_takes_it_back() -> None:
    found = gang()
    missed = saying(found, look(found, STARTED + 30))
    said = look(missed, STARTED + 60, Hello(1)).said
    assert said is not None
    assert (said.value, said.reason) == (False, Reason.NO_REPORTS)
    assert said.message == "no step of attempt 1 is known yet"


def test_an_old_python_is_known_for_certain_and_at_once() -> None:
    found = gang()
    for before in (found, saying(found, look(found, STARTED + 30))):
        told = look(before, STARTED + 1, Hello(1, "3.8.18"))
        assert told.said is not None
        assert (told.said.value, told.said.reason) == (False, Reason.NO_PYTHON)
        assert "needs Python 3.9 or newer, and the image's is 3.8.18" in told.said.message
        after = saying(found, told)
        assert look(after, STARTED + 300, Hello(1, "3.8.18")) == NOTHING
        assert look(after, STARTED + 300) == NOTHING, "nor after a restart of the operator"


@pytest.mark.parametrize(
    "raw",
    [
        container(command=["mpirun"]),
        container(env=[{"name": "DRUMLINE_REPORTER", "value": "none"}]),
        {**container(), "progress": {"source": "report"}},
        {**container(), "progress": {"source": "none"}},
        {**container(), "progress": {"source": "log"}},
    ],
    ids=["not taken", "reports forbidden", "report", "none", "log"],
)
def test_none_is_expected(raw: dict[str, Any]) -> None:
    assert look(gang(raw), STARTED + 300) == NOTHING


def test_another_reporter_leaves_it_expected() -> None:
    env = [{"name": "DRUMLINE_REPORTER", "value": "all-workers"}, {"name": "X"}]
    assert look(gang(container(env=env)), STARTED + 300).said is not None


def test_an_attempt_that_began_without_a_launcher_has_none() -> None:
    """An operator that was given a launcher since: pods are not told anew."""
    before = gang(settings=Settings())
    assert look(replace(before, settings=SETTINGS), STARTED + 300) == NOTHING


def test_steps_that_are_known_another_way_are_enough() -> None:
    found = gang()
    kind = ConditionType.PROGRESS_REPORTED
    status = conditions.set_condition(found.status, kind, True, Reason.LOG_FOLLOWED, "", NOW)
    assert look(replace(found, status=status), STARTED + 300) == NOTHING


@pytest.mark.parametrize(
    "change",
    [
        lambda pod: replace(pod, times=PodTimes()),
        jobs.failed,
        jobs.succeeded,
        lambda pod: replace(pod, deleting=True),
    ],
    ids=["not started", "failed", "succeeded", "deleted"],
)
def test_a_program_that_does_not_run_says_nothing(change: Any) -> None:
    assert look(jobs.with_pod(gang(), 0, change), STARTED + 300) == NOTHING


def test_an_attempt_that_has_ended_is_past() -> None:
    found = gang()
    ended = found.status.attempts[-1].model_copy(update={"finished_at": "2027-01-15T08:00:10Z"})
    assert look(replace(found, status=found.status.model_copy(update={"attempts": (ended,)})), NOW) == NOTHING
    assert look(replace(found, pods={}), STARTED + 300) == NOTHING
