"""A job that another scheduler or queue lets in: what is created, in which order, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from drumline.api.reasons import ConditionType
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.backends.base import Found
from drumline.core.gang.backends.native import VERSIONS
from drumline.core.gang.backends.registry import Choice
from drumline.core.gang.backing import is_of, lost_of_object
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.lazy import rendered
from drumline.core.gang.plan import Create, Delete, Plan
from drumline.core.gang.types import Placement, Refusal
from drumline.core.training.backing import facts_of
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted, Observation
from drumline.core.training.rendering import prepared
from drumline.core.training.view import View
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW, UID

NATIVE = VERSIONS[-1]
CHOICE = Choice("native", NATIVE)
ANYWHERE = Placement(("",) * 4)
HELPERS = [
    {"name": "loader", "replicas": 2, "template": jobs.TEMPLATE},
    {"name": "eval", "dependsOn": [{"name": "workers"}], "template": jobs.TEMPLATE},
]
REJECTED = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu"


def job(**fields: Any) -> Observation:
    return replace(jobs.job(jobs.spec(**fields)), backend=CHOICE)


def begun() -> Observation:
    """Its first attempt began: group and pods are there, and nothing is bound."""
    plan = decide(replace(job(), admission=Granted(ANYWHERE)), NOW)
    status = TrainingJobStatus.model_validate(jobs.written(plan))
    seen = replace(jobs.begun(), status=status, placement=ANYWHERE, backend=CHOICE, groups=(group(1),))
    return jobs.with_pods(seen, lambda p: replace(p, node=""))


def group(attempt: int, uid: str = UID, **status: Any) -> Found:
    metadata = {
        "name": f"job-{attempt}",
        "namespace": "ns",
        "uid": f"uid-group-{attempt}",
        "ownerReferences": [{"kind": "TrainingJob", "name": "job", "uid": uid}],
    }
    document = {
        "apiVersion": "scheduling.k8s.io/v1alpha2",
        "kind": "PodGroup",
        "metadata": metadata,
        "status": status,
    }
    return Found(NATIVE.needs[0], f"uid-group-{attempt}", document)


def bound(observation: Observation, *indexes: int) -> Observation:
    for i in indexes:
        observation = jobs.with_pod(observation, i, lambda p: replace(jobs.up(p), node="host-0"))
    return observation


def stages(plan: Plan) -> list[list[tuple[str, str]]]:
    return [
        [(a.resource, a.manifest["metadata"]["name"]) for a in s if isinstance(a, Create)]
        for s in plan.actions
    ]


def made(plan: Plan) -> list[list[tuple[str, str]]]:
    return [stage for stage in stages(plan) if stage]


def deleted(plan: Plan, resource: str) -> set[str]:
    return {a.name for s in plan.actions for a in s if isinstance(a, Delete) and a.resource == resource}


def test_it_asks_admission_for_no_nodes():
    plan = decide(job(), NOW)
    assert plan.waiting is not None
    assert plan.waiting.unpinned


def test_the_group_goes_first_then_one_pod_then_the_others():
    plan = decide(replace(job(), admission=Granted(ANYWHERE)), NOW)
    made = [s for s in stages(plan) if s]
    groups = "podgroups.v1alpha2.scheduling.k8s.io"
    assert made[:2] == [[(groups, "job-1")], [("pods", "job-1-0-0")]]
    assert len(made[2]) == 3
    creates = (a for s in plan.actions for a in s if isinstance(a, Create))
    first = next(a for a in creates if a.resource == "pods")
    sent: Mapping[str, Any] = rendered(first.manifest)
    assert sent["spec"]["schedulingGroup"] == {"podGroupName": "job-1"}
    assert "affinity" not in sent["spec"]
    assert first.kept is not None
    assert first.kept(sent, {"spec": {}}) == "spec.schedulingGroup"
    status = jobs.written(plan)
    assert status is not None
    assert status["placement"]["backend"] == "native"
    assert status.get("admittedAt") is None


def test_facts_leave_out_helpers_that_come_later():
    seen = replace(job(helpers=HELPERS, scheduling={"backendQueue": "team"}), queue="research")
    view = View(seen, NOW, seen.status)
    facts = facts_of(view, prepared(view, 2))
    assert [(r.name, r.count, r.first) for r in facts.roles] == [("worker", 4, 0), ("loader", 2, 4)]
    assert (facts.group, facts.pods, facts.queue) == ("job-2", 6, "team")
    assert facts.labels["drumline.dev/attempt"] == "2"


def test_what_is_absent_is_a_condition_and_nobody_is_asked():
    seen = replace(job(), backend=Choice("native", None, "the cluster does not serve PodGroup"))
    plan = decide(seen, NOW)
    assert jobs.reason(jobs.written(plan), ConditionType.QUOTA_RESERVED) == ("False", "BackendUnavailable")
    assert (plan.waiting, plan.actions) == (None, ())
    assert [e.reason for e in plan.events] == ["BackendUnavailable"]
    assert decide(replace(seen, admission=Granted(ANYWHERE)), NOW).actions == ()


def test_what_no_other_backend_does_is_refused_by_name():
    for fields in ({"spares": 1}, {"elastic": {"maxSlices": 4}}):
        plan = decide(job(**fields), NOW)
        assert jobs.reason(jobs.written(plan), ConditionType.QUOTA_RESERVED) == (
            "False",
            "UnsupportedScheduling",
        )
        assert plan.waiting is None


def test_it_waits_at_the_backend_as_long_as_that_takes():
    seen = jobs.with_pods(begun(), lambda p: replace(p, rejected=REJECTED))
    seen = replace(
        seen,
        groups=(group(1, conditions=[{"type": "PodGroupScheduled", "status": "False", "message": "3 fit"}]),),
    )
    plan = decide(seen, NOW + 100_000)
    assert deleted(plan, "pods") == set()
    ready = next(c for c in jobs.written(plan)["conditions"] if c["type"] == "PodsReady")
    assert (ready["status"], ready["reason"]) == ("False", "InsufficientAccelerators")
    assert ready["message"] == "0 of 4 pods are ready; PodGroup job-1 has no nodes: 3 fit"


def test_a_part_that_is_bound_is_given_back_after_the_timeout():
    seen = bound(jobs.with_pods(begun(), lambda p: replace(p, rejected=REJECTED)), 0)
    plan = decide(seen, NOW + 121)
    assert len(deleted(plan, "pods")) == 4
    assert deleted(plan, "podgroups.v1alpha2.scheduling.k8s.io") == {"job-1"}
    assert jobs.reason(jobs.written(plan), ConditionType.QUOTA_RESERVED) == ("False", "GangTimeout")
    assert "and, before 1.37, GangScheduling on?" in plan.events[0].message


def test_a_part_that_is_bound_is_given_back_though_nobody_says_a_word_of_the_rest():
    assert deleted(decide(begun(), NOW + 100_000), "pods") == set()
    seen = bound(begun(), 0)
    waiting = decide(seen, NOW + 60)
    assert deleted(waiting, "pods") == set()
    assert waiting.requeue_after is not None
    plan = decide(seen, NOW + 121)
    assert len(deleted(plan, "pods")) == 4
    assert "pod job-1-0-1 has no node, and nobody says why" in plan.events[0].message
    assert deleted(decide(bound(seen, 1, 2, 3), NOW + 121), "pods") == set()


def test_a_helper_that_comes_later_may_wait_for_its_node_while_the_gang_runs():
    plan = decide(replace(job(helpers=HELPERS[1:]), admission=Granted(ANYWHERE)), NOW)
    status = TrainingJobStatus.model_validate(jobs.written(plan))
    seen = replace(
        job(helpers=HELPERS[1:]), status=status, placement=Placement(("",) * 5), groups=(group(1),)
    )
    seen = replace(seen, pods={p.name: replace(p, node="") for p in jobs.pods(seen)})
    seen = bound(seen, 0, 1, 2, 3)
    assert deleted(decide(seen, NOW + 100_000), "pods") == set()


def test_admitted_time_begins_with_the_first_node():
    assert jobs.written(decide(bound(begun(), 0), NOW + 50))["admittedAt"] is not None


def test_admitted_time_stands_still_while_a_restarted_gang_waits_for_nodes_again():
    seen = begun()
    held = seen.status.model_copy(update={"admitted_at": rfc3339_millis(NOW - 100), "admitted_seconds": 20})
    seen = jobs.with_pod(bound(replace(seen, status=held), 0, 1, 2, 3), 2, jobs.failed)
    ended = TrainingJobStatus.model_validate(jobs.written(decide(seen, NOW + 60)))
    again = decide(replace(seen, status=ended, pods={}, groups=()), NOW + 600)
    status = TrainingJobStatus.model_validate(jobs.written(again))
    assert (again.begins, status.attempt) == (True, 2)
    assert (status.admitted_at, status.admitted_seconds) == (None, 180)


def test_a_refused_pod_ends_the_attempt_with_its_group():
    plan = decide(
        replace(begun(), blocked="pods/job-1-0-0: the API server dropped spec.schedulingGroup of it"), NOW + 1
    )
    assert deleted(plan, "podgroups.v1alpha2.scheduling.k8s.io") == {"job-1"}
    assert jobs.reason(jobs.written(plan), ConditionType.QUOTA_RESERVED) == ("False", "CreateRefused")


def test_a_group_that_somebody_deleted_while_the_gang_waits_is_made_again():
    known = frozenset(NATIVE.needs)
    lost = replace(begun(), groups=(), groups_known=known)
    groups = "podgroups.v1alpha2.scheduling.k8s.io"
    for seen in (lost, bound(lost, 0)):
        assert made(decide(seen, NOW + 1)) == [[(groups, "job-1")]]
    assert made(decide(replace(lost, groups=(group(1),)), NOW + 1)) == []
    assert made(decide(replace(lost, groups_known=frozenset()), NOW + 1)) == [], "it may be there"
    assert made(decide(bound(lost, 0, 1, 2, 3), NOW + 1)) == [], "nobody waits"


def test_a_restart_is_a_new_group():
    seen = jobs.with_pod(bound(begun(), 0, 1, 2, 3), 2, jobs.failed)
    ended = decide(seen, NOW + 60)
    assert deleted(ended, "podgroups.v1alpha2.scheduling.k8s.io") == {"job-1"}
    status = TrainingJobStatus.model_validate(jobs.written(ended))
    again = decide(replace(seen, status=status, pods={}, groups=()), NOW + 600)
    assert again.begins
    assert again.waiting is None
    assert next(s for s in stages(again) if s)[0][1] == "job-2"


def test_a_job_whose_backend_changed_asks_anew():
    ended = jobs.with_pod(bound(begun(), 0, 1, 2, 3), 2, jobs.failed)
    status = TrainingJobStatus.model_validate(jobs.written(decide(ended, NOW + 60)))
    plan = decide(replace(ended, status=status, pods={}, groups=(), backend=Choice()), NOW + 600)
    assert plan.waiting is not None
    assert not plan.waiting.unpinned


def test_pods_of_an_attempt_whose_backend_is_gone_are_not_made_as_others():
    seen = replace(begun(), pods={}, backend=Choice("native", None, "gone"))
    status = seen.status.model_copy(update={"conditions": ()})
    plan = decide(replace(seen, status=status), NOW + 1)
    assert stages(plan) == []


def test_a_suspended_job_leaves_nothing_with_the_backend():
    spec = job(suspend=True).spec
    plan = decide(replace(begun(), spec=spec), NOW + 1)
    assert deleted(plan, "podgroups.v1alpha2.scheduling.k8s.io") == {"job-1"}


def test_whose_an_object_is():
    assert is_of(UID, group(1).document)
    assert not is_of("another", group(1).document)
    made = {
        "metadata": {"name": "job-1", "ownerReferences": [{"kind": "Pod", "name": "job-1-0-0", "uid": "u"}]}
    }
    assert is_of(UID, made)
    foreign = {
        "metadata": {"name": "job-1", "ownerReferences": [{"kind": "Pod", "name": "job-10", "uid": "u"}]}
    }
    assert not is_of(UID, foreign)


def test_a_field_of_a_group_that_is_dropped_is_named():
    sent = {"spec": {"gang": {"minCount": 4}, "topology": [{"key": "rack"}]}}
    assert lost_of_object(sent, {"spec": {**sent["spec"], "more": 1}}) == ""
    assert lost_of_object(sent, {"spec": {"gang": {"minCount": 4}}}) == "spec.topology"
    assert lost_of_object(sent, {"spec": {**sent["spec"], "gang": {}}}) == "spec.gang.minCount"
    assert lost_of_object(sent, {"spec": {**sent["spec"], "topology": [{}]}}) == "spec.topology[0].key"


def test_a_gang_that_a_queue_refused_is_no_fault_of_the_backend():
    seen = replace(job(), admission=Refusal("QueueQuotaExceeded", "no"))
    assert (
        jobs.reason(jobs.written(decide(seen, NOW)), ConditionType.QUOTA_RESERVED)[1] == "QueueQuotaExceeded"
    )


def test_it_holds_nothing_of_our_queues_but_is_in_the_backends_queue_of_that_name():
    plan = decide(replace(job(), queue="research", admission=Granted(ANYWHERE)), NOW)
    status = jobs.written(plan)
    assert status is not None
    assert (status.get("queue"), status["placement"]["backendQueue"]) == (None, "research")
    assert decide(replace(job(), queue="research"), NOW).waiting.queue == ""
    seen = replace(
        begun(), status=TrainingJobStatus.model_validate(status)
    )  # where our queue is not known any more
    view = View(seen, NOW, seen.status)
    assert facts_of(view, prepared(view, 1)).queue == "research"
    ended = seen.status.attempts[-1].model_copy(update={"finished_at": "2027-01-15T08:00:00Z"})
    again = replace(seen, status=seen.status.model_copy(update={"attempts": (ended,)}), pods={})
    restarted = jobs.written(decide(again, NOW + 60))
    assert restarted is not None
    assert (restarted["attempt"], restarted["placement"]["backendQueue"]) == (2, "research")
