"""One failed pod ends the attempt of the whole gang, once."""

from dataclasses import replace

import pytest

from drumline.api.reasons import ConditionType
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.plan import Create, Delete
from drumline.core.gang.types import PodPhase
from drumline.core.training.decide import decide
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW


def _after(observation, now=NOW + 60):
    plan = decide(observation, now)
    return plan, TrainingJobStatus.model_validate(jobs.written(plan))


def test_a_failed_rank_restarts_the_gang_after_the_delay():
    observation = jobs.with_pod(jobs.running(), 2, lambda p: jobs.failed(p, 3, at=NOW + 59))
    plan, status = _after(observation)
    assert jobs.reason(status, ConditionType.RESTARTING) == ("True", "GangRestarting")
    assert jobs.written(plan)["phase"] == "Restarting"
    last = status.attempts[-1]
    assert (last.cause, last.rank, last.node, last.exit_code) == ("ApplicationExit", 2, "node-2", 3)
    assert [(r.cause, r.count) for r in status.restarts] == [("ApplicationExit", 1)]
    assert plan.requeue_after == 10
    deleted = {a.name for stage in plan.actions for a in stage if isinstance(a, Delete)}
    assert deleted == {"job-1-0-0", "job-1-0-1", "job-1-1-0", "job-1-1-1"}
    assert plan.events[0].type == "Warning"
    assert "exited with 3" in plan.events[0].message


def test_pods_that_fell_with_it_are_not_counted():
    observation = jobs.with_pod(jobs.running(), 2, lambda p: jobs.failed(p, 3, at=NOW + 50))
    observation = jobs.with_pod(observation, 0, lambda p: jobs.failed(p, 1, at=NOW + 52))
    _, status = _after(observation)
    assert status.attempts[-1].rank == 2
    assert status.restart_count == 1


def test_a_pod_deleted_by_somebody_else_is_a_failure():
    observation = jobs.with_pod(jobs.running(), 1, lambda p: replace(p, deleting=True))
    _, status = _after(observation)
    assert status.attempts[-1].rank == 1
    assert jobs.reason(status, ConditionType.RESTARTING)[0] == "True"


def test_a_pod_that_vanished_unseen_is_a_failure_of_unknown_cause():
    observation = jobs.running()
    observation = replace(observation, pods={n: p for n, p in observation.pods.items() if n != "job-1-1-0"})
    _, status = _after(observation)
    assert (status.attempts[-1].cause, status.attempts[-1].pod) == ("Unknown", "job-1-1-0")


def test_completed_pods_deleted_with_their_nodes_restart_nothing():
    observation = jobs.with_pod(jobs.running(), 1, jobs.succeeded)
    observation = jobs.settled(observation, NOW + 30)
    observation = replace(observation, pods={n: p for n, p in observation.pods.items() if n != "job-1-0-1"})
    plan = decide(observation, NOW + 60)
    assert jobs.written(plan) is None
    assert not [a for stage in plan.actions for a in stage if isinstance(a, Create | Delete)]


def test_the_budget_ends_the_job():
    observation = jobs.job(jobs.spec(failurePolicy={"maxRestarts": 0}))
    observation = jobs.with_pod(jobs.running(observation), 0, lambda p: jobs.failed(p, 7))
    plan, status = _after(observation)
    assert jobs.reason(status, ConditionType.FAILED) == ("True", "MaxRestartsExceeded")
    assert status.placement is None
    assert status.attempts[-1].exit_code == 7
    deleted = {a.name for stage in plan.actions for a in stage if isinstance(a, Delete)}
    assert "job-1-0-0" not in deleted  # what ended stays for its log
    assert len(deleted) == 3


def test_infrastructure_does_not_spend_the_budget():
    observation = jobs.job(jobs.spec(failurePolicy={"maxRestarts": 0}))
    lost = jobs.with_pod(
        jobs.running(observation), 0, lambda p: replace(p, deleting=True, disruption="DeletionByTaintManager")
    )
    _, status = _after(lost)
    assert status.restart_count == 0
    assert [(r.cause, r.count) for r in status.restarts] == [("NodeLost", 1)]
    assert jobs.reason(status, ConditionType.FAILED) == ("", "")


@pytest.mark.parametrize(("failures", "delay"), [(1, 10), (2, 20), (3, 40)])
def test_the_delay_doubles(failures, delay):
    observation = jobs.running(jobs.job(jobs.spec(failurePolicy={"maxRestarts": 9})))
    now = NOW
    plan = None
    for rank in range(failures):  # a node that fails twice would be avoided
        now += 5
        at = now
        observation = jobs.with_pod(observation, rank, lambda p, at=at: jobs.failed(p, 1, at=at))
        plan, status = _after(observation, now)
        now += 1000
        observation = replace(observation, status=status, pods={})
        observation = jobs.begun_again(observation, now)
    assert plan is not None
    assert plan.requeue_after == delay


def test_new_pods_wait_for_their_nodes_to_be_free_of_old_ones():
    observation = jobs.running(jobs.job(jobs.spec(failurePolicy={"backoff": {"initialSeconds": 0}})))
    observation = jobs.with_pod(observation, 0, lambda p: jobs.failed(p, 1))
    plan, status = _after(observation)
    assert status.attempt == 2
    creates = [
        a.manifest["metadata"]["name"]
        for s in plan.actions
        for a in s
        if isinstance(a, Create) and a.resource == "pods"
    ]
    assert creates == ["job-2-0-0"]  # the failed pod holds nothing; the others still sit on their nodes
    half_gone = {
        n: replace(p, deleting=True) for n, p in observation.pods.items() if n in ("job-1-1-0", "job-1-1-1")
    }
    new = {p.name: p for p in jobs.pods(replace(observation, status=status)) if p.name == "job-2-0-0"}
    plan = decide(replace(observation, status=status, pods={**half_gone, **new}), NOW + 62)
    creates = [
        a.manifest["metadata"]["name"]
        for s in plan.actions
        for a in s
        if isinstance(a, Create) and a.resource == "pods"
    ]
    assert creates == ["job-2-0-1"]


def test_names_are_emptied_before_the_next_attempt_has_pods():
    observation = jobs.published(
        jobs.running(jobs.job(jobs.spec(failurePolicy={"backoff": {"initialSeconds": 0}})))
    )
    observation = jobs.with_pod(observation, 0, lambda p: jobs.failed(p, 1))
    plan, _ = _after(observation)
    kinds = [{getattr(a, "resource", "") for a in stage} for stage in plan.actions]
    assert kinds.index({"endpointslices"}) < max(i for i, k in enumerate(kinds) if k == {"pods"})
    emptied = next(a for s in plan.actions for a in s if getattr(a, "resource", "") == "endpointslices")
    assert emptied.manifest["endpoints"] == []


def test_a_failed_pod_after_success_of_all_workers_changes_nothing():
    observation = jobs.running(jobs.job(jobs.spec(successPolicy={"type": "Rank0"})))
    observation = jobs.with_pod(observation, 0, jobs.succeeded)
    observation = jobs.with_pod(observation, 3, lambda p: jobs.failed(p, 1))
    plan, status = _after(observation)
    assert jobs.reason(status, ConditionType.COMPLETE) == ("True", "Completed")
    assert jobs.written(plan)["phase"] == "Succeeded"
    assert all(p.phase is not PodPhase.UNKNOWN for p in observation.pods.values())
