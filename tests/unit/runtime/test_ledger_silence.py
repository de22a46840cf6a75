"""The keeper and a launcher that says nothing: when it looks again, and what it writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.reasons import ConditionType
from drumline.api.report import ReportSource
from drumline.core.gang.types import PodTimes
from drumline.core.training import conditions
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted, Settings
from drumline.runtime.ledger_keeper import HELD_SECONDS
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW
from tests.unit.runtime.test_ledger_keeper import Stage, report, reporter, steps

SECONDS = 12.0
SETTINGS = Settings(report_url="https://x", launcher_image="img", launcher_silence_seconds=SECONDS)
CONTAINER = {"name": "train", "image": "img", "command": ["torchrun", "train.py"]}


def up(pod):
    return replace(jobs.up(pod, NOW), times=PodTimes(started_at=NOW))


@pytest.fixture
def running():
    """A job under the launcher that is up from NOW on, and written."""
    spec = jobs.spec(template={"spec": {"containers": [CONTAINER]}})
    stage = Stage(jobs.job(spec, settings=SETTINGS))
    granted = replace(stage.observation, admission=Granted(jobs.placement(stage.observation)))
    stage.look(plan=decide(granted, NOW))
    placed = replace(stage.observation, placement=jobs.placement(stage.observation))
    stage.observation = replace(placed, pods={p.name: p for p in jobs.pods(placed)})
    stage.change(up)
    stage.observation = jobs.published(stage.observation)
    stage.look()
    return stage


def said(stage):
    found = conditions.find(stage.observation.status, ConditionType.PROGRESS_REPORTED)
    return found.status, found.reason


def hello(**more):
    return report(sent=10, source=ReportSource.LAUNCHER, **more)


def test_silence_is_looked_at_when_it_is_due_and_written_at_once(running):
    assert running.look(2).requeue_after == pytest.approx(SECONDS - 2)
    assert said(running) == ("False", "NoReports")
    plan = running.look(SECONDS - 2)
    assert plan.status is not None
    assert plan.requeue_after == HELD_SECONDS
    assert said(running) == ("False", "LauncherSilent")
    running.balanced()
    assert running.look(1).status is None


def test_whoever_said_hello_is_left_alone(running):
    running.now += 1
    running.keeper.deliver(hello(), reporter())
    assert running.look(SECONDS).status is None
    assert said(running) == ("False", "NoReports")


def test_what_the_operator_reads_itself_is_no_hello(running):
    running.now += 1
    running.keeper.deliver(report(sent=10, source=ReportSource.LOG), reporter())
    running.look(SECONDS)
    assert said(running) == ("False", "LauncherSilent")


def test_an_old_python_is_told_of_and_stays_known_after_a_restart(running):
    running.now += 1
    running.keeper.deliver(hello(old_python="2.7.18"), reporter())
    running.look()
    assert said(running) == ("False", "NoPython")
    running.keeper = running.new_keeper()
    running.look(HELD_SECONDS + SECONDS)
    assert said(running) == ("False", "NoPython")


def test_after_a_restart_of_the_operator_launchers_have_their_time_again(running):
    running.keeper = running.new_keeper()
    running.look(SECONDS - 1)
    running.keeper = running.new_keeper()
    assert running.look(1).requeue_after == pytest.approx(SECONDS)
    assert said(running) == ("False", "NoReports")
    running.look(SECONDS)
    assert said(running) == ("False", "LauncherSilent")


def test_late_words_and_late_steps_take_it_back(running):
    running.look(SECONDS)
    running.keeper.deliver(hello(), reporter())
    running.look(1)
    assert said(running) == ("False", "NoReports")
    sent = report(*steps(3), sent=20_000, source=ReportSource.LAUNCHER)
    running.keeper.deliver(sent, reporter())
    running.look(HELD_SECONDS)
    assert said(running) == ("True", "ReportsReceived")


def test_an_attempt_that_fails_takes_no_word_with_it(running):
    running.keeper.deliver(hello(), reporter())
    running.change(lambda p: jobs.failed(p, at=NOW + 10), 1)
    assert running.look(SECONDS + 1).intent is not None
    assert said(running) == ("False", "NoReports")
