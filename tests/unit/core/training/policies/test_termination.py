"""A pod that does not end is deleted by force where that is safe or wanted; else the gang goes elsewhere."""

from dataclasses import replace

import pytest

from drumline.api.reasons import ConditionType
from drumline.api.status import Avoidance, TrainingJobStatus
from drumline.core.gang.plan import Delete
from drumline.core.gang.types import Node, PodPhase
from drumline.core.training.conditions import set_condition
from drumline.core.training.decide import decide
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

UNTIL = NOW + 30  # end of the old pod's grace
DUE = UNTIL + 60
HERE = {"node-3": Node("node-3")}
UNREADY = {"node-3": Node("node-3", ready=False)}


def _blocked(**policy):
    """Attempt 2 lacks the pod of index 3: one of attempt 1 is still on its node, told to end."""
    backoff = {"initialSeconds": 10, "maxSeconds": 600}
    raw = jobs.spec(failurePolicy={"maxRestarts": 2, "backoff": backoff, **policy})
    observation = jobs.begun(jobs.job(raw))
    observation = replace(observation, status=observation.status.model_copy(update={"attempt": 1}))
    old = replace(observation.pods["job-1-1-1"], name="job-0-1-1", uid="old", bound=True)
    old = replace(old, deleting=True, deleting_until=UNTIL, member=replace(old.member, attempt=0))
    placed = set_condition(observation.status, ConditionType.ADMITTED, True, "Placed", "", NOW)
    rest = {n: jobs.up(p) for n, p in observation.pods.items() if n != "job-1-1-1"}
    return replace(observation, status=placed, pods={**rest, old.name: old})


def _forced(plan):
    return [a for s in plan.actions for a in s if isinstance(a, Delete) and a.grace_seconds == 0]


def _status(plan):
    return TrainingJobStatus.model_validate(jobs.written(plan))


def test_a_pod_has_its_grace_and_the_deadline():
    plan = decide(_blocked(), NOW)
    assert (_forced(plan), plan.requeue_after) == ([], 90)
    assert decide(_blocked(terminationDeadlineSeconds=5), NOW).requeue_after == 35
    assert _forced(decide(_blocked(), DUE - 1)) == []


def test_a_pod_of_a_node_that_is_gone_is_deleted_by_force():
    plan = decide(_blocked(), DUE)
    assert _forced(plan) == [Delete("pods", "ns", "job-0-1-1", "old", 0)]
    assert [e.reason for e in plan.events] == ["PodForceDeleted"]
    assert "node node-3 is gone" in plan.events[0].message
    assert _status(plan).attempts[-1].finished_at is None


@pytest.mark.parametrize("nodes", [HERE, UNREADY])
def test_the_user_may_have_any_pod_deleted_by_force(nodes):
    plan = decide(replace(_blocked(forceDelete="Always"), nodes=nodes), DUE)
    assert [d.uid for d in _forced(plan)] == ["old"]
    assert "its processes may still run" in plan.events[0].message


@pytest.mark.parametrize("nodes", [HERE, UNREADY])
def test_without_that_the_next_attempt_goes_elsewhere(nodes):
    plan = decide(replace(_blocked(), nodes=nodes), DUE)
    status = _status(plan)
    assert _forced(plan) == []
    assert [(n.name, n.avoid) for n in status.excluded_nodes] == [("node-3", Avoidance.IF_EVER_POSSIBLE)]
    ended = status.attempts[-1]
    assert (ended.cause, ended.node, ended.rank) == ("PlacementRace", "node-3", 3)
    assert "pod job-0-1-1 does not end" in ended.message
    assert status.placement is not None  # the other nodes stay reserved
    assert status.restart_count == 0


def test_an_attempt_that_does_not_wait_for_the_node_goes_on():
    observation = replace(_blocked(), nodes=HERE)
    fourth = jobs.up(replace(jobs.pods(observation)[3], node="node-9"))
    plan = decide(replace(observation, pods={**observation.pods, fourth.name: fourth}), DUE)
    status = _status(plan)
    assert status.attempts[-1].finished_at is None
    assert [n.name for n in status.excluded_nodes] == ["node-3"]


def test_what_only_a_finalizer_keeps_is_not_forced_again():
    observation = _blocked()
    held = replace(observation.pods["job-0-1-1"], forced=True)
    plan = decide(replace(observation, pods={**observation.pods, held.name: held}), DUE)
    assert (_forced(plan), plan.events) == ([], ())


def test_a_pod_that_has_ended_blocks_nothing_and_goes_with_its_node():
    observation = _blocked()
    ended = replace(observation.pods["job-0-1-1"], phase=PodPhase.FAILED)
    observation = replace(observation, pods={**observation.pods, ended.name: ended})
    assert [d.uid for d in _forced(decide(observation, DUE))] == ["old"]
    there = decide(replace(observation, nodes=HERE), DUE)
    assert (_forced(there), _status(there).excluded_nodes) == ([], ())


def _lingering(observation):
    until = {"deleting": True, "deleting_until": UNTIL, "bound": True}
    return jobs.with_pods(observation, lambda p: replace(p, **until))


def test_pods_of_a_suspended_job_go_too():
    suspended = jobs.job(jobs.spec(suspend=True))
    observation = _lingering(replace(jobs.running(), spec=suspended.spec))
    assert _forced(decide(observation, DUE - 1)) == []
    plan = decide(observation, DUE)
    assert len(_forced(plan)) == 4
    assert "and 3 more" in next(e for e in plan.events if e.reason == "PodForceDeleted").message


def test_and_those_of_one_that_has_ended():
    observation = jobs.running()
    failed = set_condition(observation.status, ConditionType.FAILED, True, "MaxRestartsExceeded", "", NOW)
    ended = failed.model_copy(update={"placement": None})
    observation = _lingering(replace(observation, status=ended))
    assert len(_forced(decide(observation, DUE))) == 4
    invalid = replace(observation, spec=None, roster=None, shape=None)
    assert len(_forced(decide(invalid, DUE))) == 4
