"""A restart in place in the account: each epoch has its own steps and its own way back, and all adds up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.goodput import State
from drumline.api.orders import ProcessState
from drumline.api.report import Commit
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted
from drumline.runtime.ingest.verdicts import Accepted, Stale, Unavailable
from tests.unit.core.training import crews, jobs
from tests.unit.core.training.jobs import NOW
from tests.unit.runtime.test_ledger_keeper import LANES, Stage, report, reporter, steps, up

POLICY = {"restartStrategy": "InPlace", "backoff": {"initialSeconds": 0}}


def begun(jobs_stage: Stage) -> Stage:
    """Up since NOW, its first account written."""
    stage = jobs_stage
    granted = replace(stage.observation, admission=Granted(jobs.placement(stage.observation)))
    stage.look(plan=decide(granted, NOW))
    placed = replace(stage.observation, placement=jobs.placement(stage.observation))
    stage.observation = replace(placed, pods={p.name: p for p in jobs.pods(placed)})
    stage.change(up)
    stage.observation = jobs.published(stage.observation)
    stage.look()
    return stage


@pytest.fixture
def stage() -> Stage:
    raw = jobs.spec(template=crews.TEMPLATE, failurePolicy=POLICY)
    return begun(Stage(replace(jobs.job(raw), settings=crews.SETTINGS)))


def fail(stage: Stage, epoch: int, at: float) -> None:
    """Rank 1's process fails, so many seconds after NOW; the epoch that follows is written."""
    said = crews.saying(stage.observation, r1=crews.ended(epoch, at=NOW + at))
    stage.observation = said
    stage.look(NOW + at - stage.now)


def run_again(stage: Stage, held: float, runs: float) -> None:
    """All hold, then all run, so many seconds after NOW."""
    for state, at in ((ProcessState.HELD, held), (ProcessState.RUNNING, runs)):
        stage.observation = crews.at_epoch(stage.observation, state, NOW + at)
        stage.look(NOW + at - stage.now)


def entry(stage: Stage, label: str):
    return next(a for a in stage.observation.status.attempts if a.label == label)


def test_the_way_back_is_draining_and_waiting_for_each_other(stage: Stage) -> None:
    fail(stage, 0, 10)
    run_again(stage, 13, 15)
    stage.look(60)
    stage.balanced()
    assert stage.states()[State.DRAINING] == LANES * 3000
    assert stage.states()[State.GANG_WAIT] == LANES * 2000


def test_steps_that_are_run_again_count_for_the_epoch_that_lost_them(stage: Stage) -> None:
    told = report(*steps(8), sent=9000, commits=(Commit(step=4, at_ms=5000),))
    stage.now = NOW + 9
    assert isinstance(stage.keeper.deliver(told, reporter()), Accepted)
    fail(stage, 0, 10)
    run_again(stage, 11, 12)
    stage.now = NOW + 25
    again = report(*[s.model_copy(update={"step": s.step + 5}) for s in steps(12)], sent=12_500)
    again = again.model_copy(update={"epoch": 1, "origin": "p", "resumed_step": 4})
    assert isinstance(stage.keeper.deliver(again, reporter()), Accepted)
    stage.look(60)
    stage.balanced()
    assert entry(stage, "1").lost_steps == 3
    assert entry(stage, "1.1").lost_steps is None
    phases = {p.phase: p.ms for p in entry(stage, "1.1").recovery}
    assert (phases["draining"], phases["gang_wait"]) == (1000, 1000)


def test_reports_of_an_epoch_that_is_over_are_refused_and_early_ones_put_off(stage: Stage) -> None:
    early = report(*steps(1), sent=1000, epoch=1)
    assert isinstance(stage.keeper.deliver(early, reporter()), Unavailable)
    fail(stage, 0, 10)
    assert isinstance(stage.keeper.deliver(report(*steps(9), sent=9500), reporter()), Stale)
    assert isinstance(stage.keeper.deliver(early, reporter()), Accepted)


def test_a_new_leader_in_the_middle_counts_nothing_twice(stage: Stage) -> None:
    fail(stage, 0, 10)
    stage.keeper = stage.new_keeper()
    stage.observation = replace(stage.observation, crew={})
    stage.look(2)
    run_again(stage, 14, 15)
    stage.keeper = stage.new_keeper()
    fail(stage, 1, 40)
    run_again(stage, 41, 42)
    stage.look(60)
    stage.balanced()
    assert stage.observation.status.restarts[0].count == 2
    assert stage.states()[State.DRAINING] == LANES * (4000 + 1000)
    assert [a.label for a in stage.observation.status.attempts] == ["1", "1.1", "1.2"]
