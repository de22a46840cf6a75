"""A stuck gang gives everything back; a slow one is left alone."""

from dataclasses import replace

from drumline.api.reasons import ConditionType
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.plan import Delete
from drumline.core.training.conditions import set_condition
from drumline.core.training.decide import decide
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

REJECTED = "0/4 nodes are available: 1 Insufficient nvidia.com/gpu"


def _rejected(observation, index=1):
    return jobs.with_pod(observation, index, lambda p: replace(p, rejected=REJECTED))


def test_a_slow_scheduler_never_runs_the_clock_out():
    plan = decide(jobs.begun(), NOW + 100_000)
    assert jobs.reason(jobs.written(plan) or jobs.begun().status, ConditionType.QUOTA_RESERVED)[0] == "True"
    assert plan.actions == ()


def test_a_rejected_pod_starts_the_clock_and_progress_resets_it():
    observation = _rejected(jobs.begun())
    assert decide(observation, NOW + 20).requeue_after == 100
    moved = jobs.with_pod(observation, 0, lambda p: jobs.up(p, NOW + 110))
    assert decide(moved, NOW + 130).requeue_after == 100


def test_at_the_timeout_the_whole_attempt_goes_and_the_job_queues_again():
    observation = _rejected(jobs.begun())
    plan = decide(observation, NOW + 120)
    status = TrainingJobStatus.model_validate(jobs.written(plan))
    assert {a.name for s in plan.actions for a in s if isinstance(a, Delete)} == set(observation.pods)
    assert jobs.reason(status, ConditionType.QUOTA_RESERVED) == ("False", "GangTimeout")
    assert status.phase == "Queued"
    assert (status.placement, status.requeues, status.restart_count) == (None, 1, 0)
    assert [n.name for n in status.excluded_nodes] == ["node-1"]
    assert status.attempts[-1].cause == "GangTimeout"
    assert plan.requeue_after == 60
    assert REJECTED in plan.events[0].message


def test_the_next_try_waits_longer_each_time():
    observation = _rejected(jobs.begun())
    status = observation.status.model_copy(update={"requeues": 3})
    assert decide(replace(observation, status=status), NOW + 120).requeue_after == 480


def test_a_node_that_is_gone_counts_as_a_rejection():
    observation = replace(jobs.begun(), unhealthy=frozenset({"node-2"}))
    assert decide(observation, NOW + 1).requeue_after == 119
    plan = decide(observation, NOW + 121)
    assert jobs.reason(jobs.written(plan), ConditionType.QUOTA_RESERVED) == ("False", "GangTimeout")


def _blocked(until, **policy):
    """The pod of index 3 can't be created: one of an earlier attempt is on its node, deleted with a grace."""
    observation = jobs.begun(jobs.job(jobs.spec(failurePolicy=policy)))
    observation = replace(observation, status=observation.status.model_copy(update={"attempt": 1}))
    old = replace(observation.pods["job-1-1-1"], name="job-0-1-1", uid="uid-0-3", bound=True)
    old = replace(old, deleting=True, deleting_until=until, member=replace(old.member, attempt=0))
    placed = set_condition(observation.status, ConditionType.ADMITTED, True, "Placed", "", NOW)
    rest = {n: p for n, p in observation.pods.items() if n != "job-1-1-1"}
    return replace(observation, status=placed, pods={**rest, old.name: old})


def test_an_old_pod_has_its_own_grace_before_the_clock_starts():
    patient = _blocked(NOW + 600, terminationDeadlineSeconds=3600)
    assert decide(patient, NOW + 300).requeue_after == 420
    plan = decide(patient, NOW + 721)
    assert jobs.reason(jobs.written(plan), ConditionType.QUOTA_RESERVED) == ("False", "GangTimeout")
    assert "does not leave node node-3" in plan.events[0].message


def test_a_long_grace_does_not_shield_another_node_that_is_stuck():
    plan = decide(_rejected(_blocked(NOW + 600)), NOW + 120)
    status = TrainingJobStatus.model_validate(jobs.written(plan))
    assert [n.name for n in status.excluded_nodes] == ["node-1"]
