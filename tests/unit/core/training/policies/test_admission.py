"""An attempt begins only with a whole placement, and says why it waits."""

from dataclasses import replace

from drumline.api.reasons import ConditionType, Reason
from drumline.api.status import ExcludedNode, TrainingJobStatus
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.plan import Apply, Create, Delete
from drumline.core.gang.types import Refusal
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW


def test_a_new_job_asks_for_admission_and_creates_nothing():
    plan = decide(jobs.job(), NOW)
    assert plan.waiting is not None
    assert (plan.waiting.slices, plan.waiting.workers_per_slice, plan.waiting.queued_at) == (2, 2, NOW - 5)
    assert plan.actions == ()
    assert plan.prepare == ()
    assert jobs.written(plan) is None  # the answer is a moment away


def test_a_refusal_becomes_the_condition_and_the_job_keeps_its_place():
    queued = jobs.settled(jobs.job())
    text = "needs 16 × nvidia-h100-80gb in one block; the largest free block has 12"
    refused = replace(queued, admission=Refusal(Reason.INSUFFICIENT_ACCELERATORS, text))
    plan = decide(refused, NOW + 60)
    assert jobs.reason(jobs.written(plan), ConditionType.QUOTA_RESERVED) == (
        "False",
        "InsufficientAccelerators",
    )
    assert jobs.written(plan)["conditions"][0]["message"] == text
    assert plan.waiting.queued_at == NOW - 5


def test_a_grant_writes_revision_then_intent_then_names_then_pods():
    observation = jobs.job()
    plan = decide(replace(observation, admission=Granted(jobs.placement(observation))), NOW)
    assert [c.manifest["metadata"]["name"] for c in plan.prepare] == ["job-1"]
    assert plan.intent["attempt"] == 1
    assert plan.intent["placement"]["revision"] == "job-1"
    assert plan.intent["phase"] == "Starting"
    stages = [[type(a).__name__ for a in stage] for stage in plan.actions]
    assert stages[-1] == ["Create"] * 4
    assert {a.resource for stage in plan.actions[:-1] for a in stage if isinstance(a, Apply)} == {"services"}
    names = [a.manifest["metadata"]["name"] for a in plan.actions[-1]]
    assert names == ["job-1-0-0", "job-1-0-1", "job-1-1-0", "job-1-1-1"]
    assert jobs.reason(jobs.written(plan), ConditionType.ADMITTED) == ("True", "PodsCreated")


def test_every_pod_is_pinned_to_its_node():
    observation = jobs.job()
    plan = decide(replace(observation, admission=Granted(jobs.placement(observation))), NOW)
    for index, create in enumerate(plan.actions[-1]):
        required = create.manifest["spec"]["affinity"]["nodeAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        for term in required["nodeSelectorTerms"]:
            assert {"key": "metadata.name", "operator": "In", "values": [f"node-{index}"]} in term[
                "matchFields"
            ]


def test_the_same_observation_gives_the_same_plan():
    observation = jobs.job()
    granted = replace(observation, admission=Granted(jobs.placement(observation)))
    assert decide(granted, NOW) == decide(granted, NOW)


def test_nothing_is_planned_twice_once_the_pods_are_seen():
    assert decide(jobs.begun(), NOW + 1).actions == ()


def test_a_template_that_the_api_server_refuses_fails_the_job():
    refused = replace(
        jobs.job(), admission=Refusal(Reason.TEMPLATE_REFUSED, "spec.containers[0].image: Required")
    )
    plan = decide(refused, NOW)
    assert jobs.reason(jobs.written(plan), ConditionType.FAILED) == ("True", "TemplateRefused")
    assert plan.waiting is None


def _restarting(**changes):
    observation = jobs.running(jobs.job(jobs.spec()))
    observation = jobs.with_pod(observation, 1, lambda p: jobs.failed(p, 1, at=NOW + 5))
    observation = jobs.settled(observation, NOW + 5)
    return replace(observation, pods={}, **changes)


def test_a_restart_keeps_its_nodes_without_a_new_admission():
    plan = decide(_restarting(revisions={"job-1": "uid-rev"}), NOW + 20)
    assert plan.waiting is None
    assert plan.intent["attempt"] == 2
    assert Delete("controllerrevisions", "ns", "job-1", "uid-rev") in [a for s in plan.actions for a in s]
    creates = [a for s in plan.actions for a in s if isinstance(a, Create)]
    assert [c.manifest["metadata"]["name"] for c in creates][:2] == ["job-2-0-0", "job-2-0-1"]


def test_a_restart_with_an_unhealthy_node_asks_again_and_prefers_its_old_nodes():
    plan = decide(_restarting(unhealthy=frozenset({"node-2"})), NOW + 20)
    assert plan.intent is None
    assert plan.waiting.preferred_nodes == {i: f"node-{i}" for i in range(4)}
    status = TrainingJobStatus.model_validate(jobs.written(plan)) if jobs.written(plan) else None
    assert status is None or status.placement is not None


def test_an_avoided_node_is_named_to_admission():
    until = rfc3339_millis(NOW + 3600)
    observation = _restarting()
    status = observation.status.model_copy(
        update={"excluded_nodes": (ExcludedNode(name="node-2", until=until),)}
    )
    plan = decide(replace(observation, status=status), NOW + 20)
    assert plan.waiting.excluded == {"node-2"}


def test_a_restart_without_replacement_gives_its_nodes_back_after_the_gang_timeout():
    plan = decide(_restarting(unhealthy=frozenset({"node-2"})), NOW + 15 + 121)
    status = TrainingJobStatus.model_validate(jobs.written(plan))
    assert status.placement is None
    assert status.queued_at is not None
    assert plan.waiting is not None


def _refused(text, reason=Reason.INSUFFICIENT_ACCELERATORS):
    return replace(jobs.settled(jobs.job()), admission=Refusal(reason, text))


def test_a_new_reason_to_wait_is_an_event_and_new_numbers_are_none():
    observation = _refused("needs 16; 12 free")
    plan = decide(observation, NOW + 1)
    assert [(e.type, e.reason, e.message) for e in plan.events] == [
        ("Normal", "InsufficientAccelerators", "needs 16; 12 free")
    ]
    waiting = replace(jobs.settled(observation, NOW + 1), admission=_refused("needs 16; 13 free").admission)
    assert decide(waiting, NOW + 2).events == ()
    other = Refusal(Reason.HEAD_OF_QUEUE_RESERVED, "kept for ns/big")
    assert [e.reason for e in decide(replace(waiting, admission=other), NOW + 3).events] == [
        "HeadOfQueueReserved"
    ]


def test_a_restart_that_waits_for_nodes_says_so_once():
    refusal = Refusal(Reason.INSUFFICIENT_ACCELERATORS, "needs 1; 0 free")
    observation = _restarting(unhealthy=frozenset({"node-2"}), admission=refusal)
    assert [e.reason for e in decide(observation, NOW + 20).events] == ["InsufficientAccelerators"]
    assert decide(jobs.settled(observation, NOW + 20), NOW + 21).events == ()


def test_a_gang_that_waits_is_looked_at_when_a_node_may_be_used_again():
    observation = _refused("needs 16; 12 free")
    nodes = tuple(ExcludedNode(name=f"node-{i}", until=rfc3339_millis(NOW + 100 * i)) for i in range(1, 3))
    status = observation.status.model_copy(update={"excluded_nodes": nodes})
    observation = replace(observation, status=status)
    assert decide(observation, NOW + 40).requeue_after == 60
    later = decide(observation, NOW + 150)
    assert later.waiting.excluded == {"node-2"}
    assert later.requeue_after == 50
    assert decide(observation, NOW + 250).requeue_after is None
