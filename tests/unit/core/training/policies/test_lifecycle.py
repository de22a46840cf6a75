"""Suspension, deadline, success, the end, and what comes after it."""

from dataclasses import replace

import pytest

from drumline.api.errors import FieldError
from drumline.api.reasons import ConditionType
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.discovery import ObservedDiscovery, ObservedService
from drumline.core.gang.plan import Delete
from drumline.core.training.attempts import admitted_for
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW


def _deleted(plan):
    return {a.name for stage in plan.actions for a in stage if isinstance(a, Delete)}


def _status(plan):
    return TrainingJobStatus.model_validate(jobs.written(plan))


def test_readiness_of_the_whole_gang_is_running():
    observation = jobs.running()
    assert observation.status.phase == "Running"
    assert jobs.reason(observation.status, ConditionType.PODS_READY) == ("True", "AllPodsReady")
    assert (observation.status.workers.desired, observation.status.workers.ready) == (4, 4)


def test_one_pod_short_is_starting_and_names_what_it_waits_for():
    observation = jobs.with_pod(
        jobs.running(),
        3,
        lambda p: replace(p, ready=False, waiting="ImagePullBackOff", waiting_message="no such tag"),
    )
    plan = decide(observation, NOW + 9)
    assert jobs.reason(jobs.written(plan), ConditionType.PODS_READY) == ("False", "PodsNotReady")
    assert jobs.written(plan)["phase"] == "Running"  # it was up: it falters, it does not start
    message = next(c["message"] for c in jobs.written(plan)["conditions"] if c["type"] == "PodsReady")
    assert message == "3 of 4 pods are ready; pod job-1-1-1: ImagePullBackOff: no such tag"


def test_suspension_takes_the_pods_down_and_costs_no_restart():
    observation = jobs.running()
    spec = observation.spec.model_copy(update={"suspend": True})
    plan = decide(replace(observation, spec=spec), NOW + 100)
    status = _status(plan)
    assert _deleted(plan) == set(observation.pods)
    assert status.phase == "Suspended"
    assert (status.placement, status.restart_count, status.admitted_seconds) == (None, 0, 100)
    silent = ObservedDiscovery(service=ObservedService(ours=True))
    again = decide(replace(observation, spec=spec, status=status, pods={}, discovery=silent), NOW + 200)
    assert (jobs.written(again), again.actions, again.events) == (None, (), ())


def test_a_resumed_job_queues_and_its_next_attempt_has_a_new_number():
    observation = jobs.running()
    suspended = replace(observation, spec=observation.spec.model_copy(update={"suspend": True}))
    status = _status(decide(suspended, NOW + 100))
    plan = decide(replace(observation, status=status, pods={}, placement=None), NOW + 300)
    assert plan.waiting.queued_at == NOW + 300
    assert jobs.written(plan)["phase"] == "Queued"
    granted = replace(
        observation, status=_status(plan), pods={}, admission=Granted(jobs.placement(observation))
    )
    assert decide(granted, NOW + 301).intent["attempt"] == 2


def test_the_deadline_counts_admitted_time_only():
    observation = jobs.running(jobs.job(jobs.spec(activeDeadlineSeconds=60)))
    assert decide(observation, NOW + 59.5).requeue_after == pytest.approx(0.5)
    plan = decide(observation, NOW + 60)
    assert jobs.reason(jobs.written(plan), ConditionType.FAILED) == ("True", "DeadlineExceeded")
    assert _deleted(plan) == set(observation.pods)
    queued = jobs.settled(jobs.job(jobs.spec(activeDeadlineSeconds=60)))
    assert jobs.written(decide(queued, NOW + 7200)) is None
    assert admitted_for(queued.status, NOW + 7200) == 0


def test_the_queue_bounds_admitted_time_too():
    observation = jobs.running(jobs.job(jobs.spec(activeDeadlineSeconds=90)))
    status = observation.status.model_copy(update={"queue": "research", "admitted_seconds": 20})
    observation = replace(observation, status=status, queue_max_run_seconds=80)
    assert decide(observation, NOW + 59.5).requeue_after == pytest.approx(0.5)
    plan = decide(observation, NOW + 60)
    assert jobs.reason(jobs.written(plan), ConditionType.FAILED) == ("True", "QueueMaxRunExceeded")
    assert "spec.maxRunSeconds of AcceleratorQueue research is 80" in plan.events[0].message
    first = replace(observation, queue_max_run_seconds=91)
    plan = decide(first, NOW + 71)
    assert jobs.reason(jobs.written(plan), ConditionType.FAILED) == ("True", "DeadlineExceeded")
    waits = jobs.settled(jobs.job(jobs.spec(), queue_max_run_seconds=80))
    assert jobs.written(decide(waits, NOW + 7200)) is None


def test_all_workers_succeeded_is_complete():
    observation = jobs.with_pods(jobs.running(), jobs.succeeded)
    plan = decide(observation, NOW + 50)
    assert jobs.reason(jobs.written(plan), ConditionType.COMPLETE) == ("True", "Completed")
    assert _status(plan).workers.succeeded == 4
    assert _deleted(plan) == set()


def test_roles_needs_the_helpers_too():
    raw = jobs.spec(
        successPolicy={"type": "Roles"},
        helpers=[{"name": "loader", "replicas": 1, "template": jobs.TEMPLATE}],
    )
    observation = jobs.running(jobs.job(raw))
    for index in range(4):
        observation = jobs.with_pod(observation, index, jobs.succeeded)
    assert jobs.reason(jobs.written(decide(observation, NOW)), ConditionType.COMPLETE) == ("", "")
    observation = jobs.with_pod(observation, 4, jobs.succeeded)
    assert jobs.reason(jobs.written(decide(observation, NOW)), ConditionType.COMPLETE)[0] == "True"


def test_survivors_of_success_get_a_grace_and_then_go():
    observation = jobs.running(jobs.job(jobs.spec(successPolicy={"type": "Rank0"})))
    observation = jobs.settled(jobs.with_pod(observation, 0, jobs.succeeded), NOW + 10)
    early = decide(observation, NOW + 20)
    assert (_deleted(early), early.requeue_after) == (set(), 20)
    assert _deleted(decide(observation, NOW + 41)) == {"job-1-0-1", "job-1-1-0", "job-1-1-1"}


def test_the_job_goes_after_its_ttl():
    observation = jobs.running(jobs.job(jobs.spec(ttlSecondsAfterFinished=100)))
    observation = jobs.settled(jobs.with_pods(observation, jobs.succeeded), NOW + 10)
    assert decide(observation, NOW + 60).requeue_after == pytest.approx(50)
    assert decide(observation, NOW + 110).delete_self is True


def test_an_invalid_spec_fails_with_every_field_named():
    errors = (
        FieldError("spec.accelerator.type", "unknown accelerator 'h100'"),
        FieldError("spec.slices", "0"),
    )
    observation = replace(jobs.job(), spec=None, errors=errors, shape=None, roster=None)
    plan = decide(observation, NOW)
    assert jobs.reason(jobs.written(plan), ConditionType.FAILED) == ("True", "InvalidSpec")
    message = next(c["message"] for c in jobs.written(plan)["conditions"] if c["type"] == "Failed")
    assert "spec.accelerator.type: unknown accelerator 'h100'" in message
    assert "spec.slices" in message
    after = replace(observation, status=_status(plan))
    assert (jobs.written(decide(after, NOW + 1)), decide(after, NOW + 1).events) == (None, ())


def test_a_name_that_is_taken_fails_the_job():
    plan = decide(replace(jobs.job(), foreign=frozenset({"service/job"})), NOW)
    assert jobs.reason(jobs.written(plan), ConditionType.FAILED) == ("True", "NameConflict")
    assert "service/job" in plan.events[0].message


@pytest.mark.parametrize("how", ["managed by another", "managed by another and invalid", "deleting"])
def test_what_is_not_ours_is_left_alone(how):
    observation = jobs.job()
    if how == "managed by another and invalid":
        another = replace(observation.job, managed_by="kueue.x-k8s.io/multikueue")
        observation = replace(_invalid(observation), job=another)
    elif how == "deleting":
        observation = replace(observation, job=replace(observation.job, deleting=True))
    else:
        another = replace(observation.job, managed_by="kueue.x-k8s.io/multikueue")
        observation = replace(observation, job=another)
    plan = decide(observation, NOW)
    assert (jobs.written(plan), plan.intent, plan.actions, plan.waiting) == (None, None, (), None)


def _invalid(observation):
    errors = (FieldError("spec.accelerator.type", "unknown accelerator 'h100'"),)
    return replace(observation, spec=None, errors=errors, shape=None, roster=None)


def test_a_running_gang_outlives_its_spec():
    observation = _invalid(jobs.running())
    plan = decide(observation, NOW + 60)
    assert (plan.actions, jobs.written(plan), plan.waiting) == ((), None, None)
    assert [(e.type, e.reason) for e in plan.events] == [("Warning", "InvalidSpec")]
    assert "unknown accelerator 'h100'" in plan.events[0].message


@pytest.mark.parametrize("end", [jobs.failed, lambda p: replace(p, deleting=True)])
def test_a_gang_whose_spec_does_not_hold_ends_with_its_first_failure(end):
    observation = _invalid(jobs.with_pod(jobs.running(), 1, end))
    plan = decide(observation, NOW + 60)
    assert jobs.reason(jobs.written(plan), ConditionType.FAILED) == ("True", "InvalidSpec")
    assert _deleted(plan) == {"job-1-0-0", "job-1-1-0", "job-1-1-1"}


def test_an_attempt_without_pods_whose_spec_does_not_hold_is_failed():
    observation = replace(_invalid(jobs.begun()), pods={})
    plan = decide(observation, NOW + 60)
    assert jobs.reason(jobs.written(plan), ConditionType.FAILED) == ("True", "InvalidSpec")
