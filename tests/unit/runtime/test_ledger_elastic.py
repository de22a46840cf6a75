"""The keeper and elastic jobs: lanes that come and go with attempts, and who is told of a checkpoint."""

from __future__ import annotations

from dataclasses import replace

from drumline.api.goodput import State
from drumline.api.report import Commit
from drumline.api.status import ResizeStatus
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.training.decide import decide
from drumline.core.training.elastic import fitted
from tests.unit.core.training import elastic_jobs, jobs
from tests.unit.core.training.jobs import NOW
from tests.unit.runtime.test_ledger_keeper import Stage, report, reporter, steps


def running(slices=2, wanted=4):
    """A gang of that size that was up from its beginning at NOW, after five seconds in the queue."""
    stage = Stage(elastic_jobs.job(wanted))
    stage.look()
    granted = elastic_jobs.granted(stage.observation, slices)
    stage.look(plan=decide(granted, NOW))
    settle(stage, granted.admission.placement)
    return stage


def settle(stage, placement):
    """The pods of the attempt that has just begun run, and the status says so."""
    placed = fitted(replace(stage.observation, placement=placement, admission=None), stage.observation.status)
    placed = replace(placed, pods={p.name: jobs.up(p, stage.now) for p in jobs.pods(placed, stage.now)})
    stage.observation = jobs.published(placed)
    stage.look()


def balanced(stage, lane_seconds):
    found = stage.goodput
    assert found.elapsed_ms == lane_seconds * 1000
    assert sum(s.ms for s in found.states) + found.provisional_ms == lane_seconds * 1000


def test_what_is_wanted_waits_and_what_is_had_is_held():
    stage = running()
    assert stage.goodput.lanes == 2
    assert stage.states()[State.QUEUED] == 4 * 5000
    stage.look(40)
    balanced(stage, 4 * 5 + 2 * 40)


def test_lanes_follow_a_resize_in_the_very_plan_that_begins_it():
    stage = running(4)
    stage.observation = elastic_jobs.scaled(stage.observation, 1)
    plan = decide(stage.observation, NOW + 600)
    stage.look(600, plan=plan)
    assert stage.observation.status.slices == 1
    assert stage.goodput.lanes == 1
    settle(stage, replace(stage.observation.placement, nodes=("node-0",)))
    stage.look(40)
    balanced(stage, 4 * 5 + 4 * 600 + 1 * 40)


def test_a_successor_tells_a_ledger_of_another_size():
    stage = running()
    stage.look(40)
    status = stage.observation.status
    attempt = status.attempts[0].model_copy(update={"attempt": 2, "started_at": rfc3339_millis(NOW + 50)})
    over = status.attempts[0].model_copy(update={"finished_at": rfc3339_millis(NOW + 50)})
    later = status.model_copy(update={"attempt": 2, "slices": 3, "attempts": (over, attempt)})
    stage.observation = fitted(replace(stage.observation, status=later, pods={}), later)
    stage.keeper = stage.new_keeper()
    stage.look(20)
    assert stage.goodput.lanes == 3
    balanced(stage, 4 * 5 + 2 * 50 + 3 * 10)


def test_only_who_waits_for_a_checkpoint_is_told_of_one():
    stage, told = running(), []
    stage.keeper.committed = told.append
    commit = Commit(step=9, at_ms=10_000)
    said = report(*steps(10), sent=10_000, commits=(commit,))
    who = replace(reporter(), pod="job-1-0-0")
    stage.keeper.deliver(said, who)
    assert told == []
    status = stage.observation.status
    due = status.model_copy(update={"resize": ResizeStatus(slices=4, since=rfc3339_millis(NOW))})
    stage.observation = replace(stage.observation, status=due)
    stage.show()
    stage.keeper.deliver(report(*steps(10), sent=10_000, commits=(commit,)), who)
    assert told == [("ns", "job")]
    assert stage.keeper.checkpoint_of(stage.observation) is not None
