"""What the keeper tells decisions of steps and checkpoints, and when it has a job looked at for one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.orders import OrderKind
from drumline.api.progress import ProgressSource
from drumline.api.report import Commit, ReportSource
from drumline.core.training.requests import ask
from drumline.core.training.view import View
from drumline.runtime.ledger_keeper import HELD_SECONDS
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW, UID
from tests.unit.runtime.test_ledger_keeper import report, reporter, running, steps

__all__ = ["running"]


def pulse(stage):
    return stage.keeper.pulse(stage.observation)


def train(stage, seconds=4, **more):
    """Steps of a second each until `seconds`, told of then."""
    stage.now += seconds
    stage.keeper.deliver(report(*steps(seconds), sent=seconds * 1000, **more), reporter())


def wait(stage, seconds):
    """Time passes, and the operator looks as often as it does."""
    for _ in range(round(seconds / HELD_SECONDS)):
        stage.look(HELD_SECONDS)


def test_a_silence_is_due_and_then_a_hang(running):
    train(running)
    found = pulse(running)
    assert (found.hanging, found.step, found.heard_at) == (False, 3, NOW + 4)
    wait(running, 270)
    assert pulse(running).due == pytest.approx(30, abs=0.01)
    wait(running, 60)
    found = pulse(running)
    assert (found.hanging, found.progress_at, found.silent) == (True, NOW + 4, pytest.approx(330))


def test_a_report_without_steps_shows_that_it_gets_through(running):
    train(running)
    running.now += 100
    running.keeper.deliver(report(sent=104_000), reporter())
    assert pulse(running).heard_at == running.now
    running.now += 50
    running.keeper.deliver(report(sent=150_000, source=ReportSource.LOG), reporter())
    assert pulse(running).heard_at == running.now - 50, "what is read from a log may be read again and again"
    running.keeper.alive(UID)
    assert pulse(running).heard_at == running.now


def test_a_successor_knows_of_the_hang_and_has_heard_nothing(running):
    train(running)
    wait(running, 360)
    running.keeper = running.new_keeper()
    found = pulse(running)
    assert (found.hanging, found.heard_at) == (True, 0.0)


def test_a_program_that_has_said_its_last_word_does_not_hang(running):
    train(running)
    running.keeper.deliver(report(sent=4100, final=True), reporter())
    wait(running, 600)
    assert (pulse(running).hanging, pulse(running).due) == (False, None)


def test_limits_are_the_jobs_own(running):
    policy = running.observation.spec.failure_policy
    hang = policy.hang.model_copy(update={"floor_seconds": 60, "factor": 2})
    spec = running.observation.spec.model_copy(
        update={"failure_policy": policy.model_copy(update={"hang": hang})}
    )
    running.observation = replace(running.observation, spec=spec)
    running.keeper = running.new_keeper()
    running.look()
    train(running)
    assert pulse(running).limit == 60
    wait(running, 90)
    assert pulse(running).hanging


def test_nothing_is_said_of_what_does_not_run_or_is_not_asked(running):
    assert pulse(running) is not None
    spec = running.observation.spec
    silent = spec.model_copy(
        update={"progress": spec.progress.model_copy(update={"source": ProgressSource.NONE})}
    )
    assert running.keeper.pulse(replace(running.observation, spec=silent)) is None
    later = running.observation.status.model_copy(update={"epoch": 1})
    assert running.keeper.pulse(replace(running.observation, status=later)) is None
    running.change(lambda p: jobs.failed(p, at=NOW + 10), 1)
    running.look(11)
    assert pulse(running) is None


@pytest.mark.parametrize("asked", [True, False])
def test_a_checkpoint_that_was_asked_for_is_looked_at_at_once(running, asked):
    woken = []
    running.keeper.committed = woken.append
    if asked:
        view = View(running.observation, running.now, running.observation.status)
        status = ask(view, OrderKind.CHECKPOINT, "why", "node-1").status
        running.observation = replace(running.observation, status=status)
        running.show()
    train(running, commits=(Commit(step=2, at_ms=3500),))
    assert woken == ([("ns", "job")] if asked else [])
    found = pulse(running)
    assert (found.committed, found.committed_at) == (2, NOW + 3.5)
