"""Statuses that only count anew are spared; whatever else they say goes out at once."""

from dataclasses import replace

from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted
from drumline.runtime.counting import COUNT_SECONDS, created, spare
from drumline.runtime.job_memory import JobMemory
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW


def _one_more_ready():
    observation = jobs.settled(jobs.begun())
    return jobs.with_pod(observation, 0, jobs.up)


def test_a_count_waits_for_its_time():
    observation = _one_more_ready()
    memory = JobMemory(counted_at=NOW)
    plan = decide(observation, NOW + 1)
    assert plan.status["workers"]["ready"] == 1
    spared = spare(plan, observation.status.to_json(), memory, NOW + 1)
    assert spared.status is None
    assert spared.requeue_after <= COUNT_SECONDS - 1
    assert spared.actions == plan.actions
    late = spare(plan, observation.status.to_json(), memory, NOW + COUNT_SECONDS)
    assert late.status == plan.status
    assert memory.counted_at == NOW + COUNT_SECONDS


def test_readiness_of_all_goes_out_at_once():
    observation = jobs.with_pods(jobs.settled(jobs.begun()), jobs.up)
    plan = decide(observation, NOW + 1)
    assert spare(plan, observation.status.to_json(), JobMemory(counted_at=NOW), NOW + 1) == plan


def test_a_recorded_success_goes_out_at_once():
    observation = jobs.with_pod(jobs.running(), 1, jobs.succeeded)
    plan = decide(observation, NOW + 1)
    assert spare(plan, observation.status.to_json(), JobMemory(counted_at=NOW), NOW + 1) == plan


def test_a_failure_goes_out_at_once():
    observation = jobs.with_pod(jobs.running(), 1, jobs.failed)
    plan = decide(replace(observation), NOW + 1)
    assert plan.intent["attempts"][-1]["cause"] == "ApplicationExit"
    assert plan.status is None
    assert spare(plan, observation.status.to_json(), JobMemory(counted_at=NOW), NOW + 1) == plan


def test_that_all_pods_are_created_is_remembered_while_its_status_waits():
    observation = jobs.begun()
    status = observation.status
    placed = tuple(
        c.model_copy(update={"reason": "Placed"}) if c.type == "Admitted" else c for c in status.conditions
    )
    observation = replace(observation, status=status.model_copy(update={"conditions": placed}))
    memory = JobMemory(counted_at=NOW)
    plan = decide(observation, NOW + 1)
    assert spare(plan, observation.status.to_json(), memory, NOW + 1).status is None
    assert memory.created_attempt == -1  # not before the plan was applied
    created(plan, memory)
    assert memory.created_attempt == 1
    left = dict(list(observation.pods.items())[1:])
    seen = replace(observation, pods=left, created_attempt=memory.created_attempt)
    assert decide(seen, NOW + 2).intent["attempts"][-1]["cause"] == "Unknown"


def test_an_attempt_begins_with_one_status_write():
    observation = jobs.job()
    observation = replace(observation, admission=Granted(jobs.placement(observation)))
    plan = decide(observation, NOW)
    assert plan.intent is not None
    assert [c["reason"] for c in plan.status["conditions"] if c["type"] == "Admitted"] == ["PodsCreated"]
    memory = JobMemory()
    spared = spare(plan, observation.status.to_json(), memory, NOW)
    assert (spared.intent, spared.actions, spared.status) == (plan.intent, plan.actions, None)
    assert spared.requeue_after == COUNT_SECONDS
    created(plan, memory)
    assert memory.created_attempt == 1
