"""What follows a failure: the user's rules, budgets of single causes, and what each cause asks for by itself."""

from dataclasses import replace

import pytest

from drumline.api.reasons import ConditionType
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.types import Node, NodeCondition
from drumline.core.training.decide import decide
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

_XID = NodeCondition("AcceleratedHardwareReady", "False", "NvidiaXID79Error")
_HELPERS = [{"name": "eval", "replicas": 2, "template": jobs.TEMPLATE}]


def _running(**changes):
    policy = {"maxRestarts": 2, "backoff": {"initialSeconds": 10}, **changes.pop("failurePolicy", {})}
    return jobs.running(jobs.job(jobs.spec(failurePolicy=policy, **changes)))


def _after(observation, now=NOW + 60):
    plan = decide(observation, now)
    return plan, TrainingJobStatus.model_validate(jobs.written(plan))


def _rule(action, **on):
    return {"rules": [{"name": "mine", "action": action, **on}]}


def test_a_rule_ends_the_job_at_once():
    policy = _rule("Fail", onExitCodes={"operator": "In", "values": [42]})
    observation = jobs.with_pod(_running(failurePolicy=policy), 1, lambda p: jobs.failed(p, 42))
    _, status = _after(observation)
    assert jobs.reason(status, ConditionType.FAILED) == ("True", "FailedByRule")
    assert status.attempts[-1].action == "Fail"
    assert "rule mine" in status.attempts[-1].message
    assert [(r.cause, r.count) for r in status.restarts] == [("ApplicationExit", 1)]


def test_a_rule_that_does_not_hold_changes_nothing():
    policy = _rule("Fail", onExitCodes={"operator": "In", "values": [42]})
    observation = jobs.with_pod(_running(failurePolicy=policy), 1, lambda p: jobs.failed(p, 1))
    _, status = _after(observation)
    assert jobs.reason(status, ConditionType.RESTARTING) == ("True", "GangRestarting")
    assert (status.attempts[-1].action, status.excluded_nodes) == ("RestartGang", ())


def test_a_rule_replaces_the_node_and_names_the_cause():
    policy = {"maxRestarts": 0, **_rule("ReplaceNode", onMessage="NCCL", cause="DeviceFault")}
    observation = jobs.with_pod(_running(failurePolicy=policy), 2, lambda p: _says(jobs.failed(p, 1), "NCCL"))
    _, status = _after(observation)
    assert [n.name for n in status.excluded_nodes] == ["node-2"]
    assert (status.attempts[-1].cause, status.restart_count) == ("DeviceFault", 0)
    assert status.attempts[-1].last_lines == "NCCL"


def test_a_faulty_device_replaces_its_node_without_a_rule():
    observation = jobs.with_pod(_running(), 2, lambda p: jobs.failed(p, 1))
    _, status = _after(replace(observation, nodes={"node-2": Node("node-2", conditions=(_XID,))}))
    assert (status.attempts[-1].cause, status.attempts[-1].action) == ("DeviceFault", "ReplaceNode")
    assert [n.name for n in status.excluded_nodes] == ["node-2"]
    assert status.placement is not None


@pytest.mark.parametrize("by_rule", [True, False])
def test_requeue_gives_the_nodes_back(by_rule):
    policy = _rule("Requeue", onCause=["ApplicationExit"]) if by_rule else {}
    change = {} if by_rule else {"deleting": True, "disruption": "PreemptionByScheduler"}
    observation = jobs.with_pod(
        _running(failurePolicy=policy), 0, lambda p: replace(p, **change) if change else jobs.failed(p, 1)
    )
    plan, status = _after(observation)
    assert (status.placement, status.phase, status.attempts[-1].action) == (None, "Queued", "Requeue")
    assert jobs.reason(status, ConditionType.QUOTA_RESERVED) == ("False", "Requeued")
    assert plan.requeue_after == 10
    assert status.queued_at is not None
    again = decide(replace(observation, status=status, pods={}, placement=None), NOW + 71)
    assert again.waiting is not None


def test_an_ignored_helper_does_not_end_the_attempt():
    policy = _rule("Ignore", onRoles=["eval"])
    observation = _running(failurePolicy=policy, helpers=_HELPERS, successPolicy={"type": "Roles"})
    observation = jobs.with_pod(observation, 4, lambda p: jobs.failed(p, 1))
    plan, status = _after(observation)
    assert (status.phase, status.restarts) == ("Running", ())
    assert [e.reason for e in plan.events] == ["FailureIgnored"]
    observation = replace(observation, status=status)
    assert jobs.written(decide(observation, NOW + 61)) is None
    for index in (0, 1, 2, 3, 5):
        observation = jobs.with_pod(observation, index, jobs.succeeded)
    gone = {n: p for n, p in observation.pods.items() if n != "job-1-eval-0"}
    _, status = _after(replace(observation, pods=gone), NOW + 70)
    assert jobs.reason(status, ConditionType.COMPLETE) == ("True", "Completed")


def test_a_worker_beside_an_ignored_helper_still_counts():
    observation = _running(failurePolicy=_rule("Ignore", onRoles=["eval"]), helpers=_HELPERS)
    observation = jobs.with_pod(observation, 4, lambda p: jobs.failed(p, 1, at=NOW + 1))
    observation = jobs.with_pod(observation, 1, lambda p: jobs.failed(p, 3, at=NOW + 2))
    _, status = _after(observation)
    assert (status.attempts[-1].rank, status.attempts[-1].exit_code) == (1, 3)


def test_a_budget_of_one_cause_ends_the_job():
    policy = {"budgets": [{"cause": "NodeLost", "maxRestarts": 0, "windowSeconds": 60}]}
    lost = jobs.with_pod(
        _running(failurePolicy=policy), 0, lambda p: replace(p, deleting=True, disruption="DeletionByPodGC")
    )
    _, status = _after(lost)
    assert jobs.reason(status, ConditionType.FAILED) == ("True", "RestartBudgetExceeded")
    assert status.restarts[0].recent == (int(NOW + 60),)
    assert status.attempts[-1].action == "Fail"


def test_the_delay_starts_over_after_stable_running():
    observation = _running(
        failurePolicy={"maxRestarts": 9, "backoff": {"initialSeconds": 10, "resetAfterSeconds": 100}}
    )
    assert observation.status.attempts[-1].ready_at is not None
    delays = []
    now = NOW
    for ran in (50, 50, 150):
        now += ran
        at = now
        failing = jobs.with_pod(observation, len(delays), lambda p, at=at: jobs.failed(p, 1, at=at))
        plan, status = _after(failing, now)
        delays.append(plan.requeue_after)
        now += 30
        observation = jobs.begun_again(replace(observation, status=status, pods={}), now)
        observation = jobs.settled(observation, now)
    assert delays == [10, 20, 10]


def test_a_pod_that_vanished_with_its_node_went_with_it():
    observation = replace(_running(), unhealthy=frozenset({"node-2"}))
    gone = {n: p for n, p in observation.pods.items() if n != "job-1-1-0"}
    _, status = _after(replace(observation, pods=gone))
    assert (status.attempts[-1].cause, status.restart_count) == ("NodeLost", 0)


def _says(pod, text):
    return replace(pod, termination=replace(pod.termination, message=text))
