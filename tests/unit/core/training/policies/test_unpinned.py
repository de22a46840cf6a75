"""An attempt whose pods are pinned to no node: whoever schedules them says where they run, and causes are told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from drumline.api.reasons import ConditionType
from drumline.api.status import Avoidance, ExcludedNode, TrainingJobStatus
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.departures import Departure
from drumline.core.gang.lazy import rendered
from drumline.core.gang.plan import Create, Delete, Plan
from drumline.core.gang.types import Placement, Pod, PodPhase
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted, Observation
from drumline.core.training.policies.admission import request_of
from drumline.core.training.view import View
from drumline.core.training.whereabouts import MAX_GOING
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

ANYWHERE = Placement(("",) * 4)
REJECTED = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu"


def unpinned(**changes: Any) -> Observation:
    """A job whose first attempt began unpinned; its pods wait."""
    plan = decide(replace(jobs.job(), admission=Granted(ANYWHERE)), NOW)
    begun = replace(
        jobs.begun(), status=TrainingJobStatus.model_validate(jobs.written(plan)), placement=ANYWHERE
    )
    return replace(jobs.with_pods(begun, lambda p: replace(p, node="")), **changes)


def running() -> Observation:
    """The same job on host-0 and on, where the scheduler put it."""
    job = unpinned()
    pods = {n: replace(jobs.up(p), node=f"host-{i}") for i, (n, p) in enumerate(job.pods.items())}
    bound = {i: f"host-{i}" for i in range(4)}
    return jobs.settled(jobs.published(replace(job, pods=pods, bound=bound)))


def pods_of(plan: Plan) -> list[Mapping[str, Any]]:
    return [
        rendered(a.manifest)
        for stage in plan.actions
        for a in stage
        if isinstance(a, Create) and a.resource == "pods"
    ]


def deleted(plan: Plan) -> set[str]:
    return {a.name for s in plan.actions for a in s if isinstance(a, Delete) and a.resource == "pods"}


def test_its_pods_are_created_with_no_word_on_nodes():
    plan = decide(replace(jobs.job(), admission=Granted(ANYWHERE)), NOW)
    pods = pods_of(plan)
    assert len(pods) == 4
    assert not any(p["spec"].get("affinity") for p in pods)
    status, _ = jobs.reason(jobs.written(plan), ConditionType.QUOTA_RESERVED)
    assert status == "True"
    assert jobs.written(plan)["placement"]["pods"] == 4


def test_pods_of_an_earlier_attempt_keep_nobody_waiting():
    member = replace(next(iter(jobs.begun().pods.values())).member, attempt=0)
    old = Pod("ns", "job-0-0-0", "uid-old", node="host-0", bound=True, deleting=True, member=member)
    job = replace(jobs.job(), pods={old.name: old}, admission=Granted(ANYWHERE))
    assert len(pods_of(decide(job, NOW))) == 4


def test_it_is_kept_off_the_nodes_that_failed_it():
    until = rfc3339_millis(NOW + 3600)
    avoided = (
        ExcludedNode(name="host-1", until=until, cause="DeviceFault", avoid=Avoidance.ALWAYS),
        ExcludedNode(name="host-2", until=until, cause="NodeLost", avoid=Avoidance.IF_POSSIBLE),
    )
    status = TrainingJobStatus(excluded_nodes=avoided)
    job = replace(
        jobs.job(),
        status=status,
        admission=Granted(ANYWHERE),
        departing={"host-3": Departure("host-3", "taint going")},
    )
    affinity = pods_of(decide(job, NOW))[0]["spec"]["affinity"]["nodeAffinity"]
    never = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [f["values"] for f in never[0]["matchFields"]] == [["host-3"], ["host-1"]]
    seldom = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    assert [s["preference"]["matchFields"][0]["values"] for s in seldom] == [["host-2"]]


def test_a_pod_names_few_of_many_nodes_that_are_about_to_go_and_the_job_says_so():
    going = {f"host-{i}": Departure(f"host-{i}", "label going", at=NOW - i) for i in range(100)}
    for count, wanted in ((100, 68), (MAX_GOING, 0)):
        departing = dict(list(going.items())[:count])
        plan = decide(replace(jobs.job(), admission=Granted(ANYWHERE), departing=departing), NOW)
        affinity = pods_of(plan)[0]["spec"]["affinity"]["nodeAffinity"]
        terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        named = [field["values"][0] for field in terms[0]["matchFields"]]
        assert named == [f"host-{i}" for i in range(count - 1, count - 1 - MAX_GOING, -1)], "who goes first"
        said = f"not kept off {wanted} of the nodes that are about to go"
        assert (said in str(jobs.written(plan)["conditions"])) is bool(wanted)


def test_it_does_not_wait_for_ever_for_nodes_that_the_scheduler_finds_none_of():
    job = jobs.with_pod(unpinned(), 1, lambda p: replace(p, rejected=REJECTED))
    assert decide(job, NOW + 20).requeue_after == 100
    plan = decide(job, NOW + 120)
    assert deleted(plan) == set(job.pods)
    assert jobs.reason(jobs.written(plan), ConditionType.QUOTA_RESERVED) == ("False", "GangTimeout")
    assert jobs.written(plan).get("excludedNodes", []) == []


def test_pods_that_still_leave_have_their_grace_before_that_clock_runs():
    job = jobs.with_pod(unpinned(), 1, lambda p: replace(p, rejected=REJECTED))
    member = replace(next(iter(job.pods.values())).member, attempt=0)
    old = Pod(
        "ns",
        "job-0-0-0",
        "uid-old",
        node="host-0",
        bound=True,
        deleting=True,
        deleting_until=NOW + 300,
        member=member,
    )
    job = replace(job, pods={**job.pods, old.name: old})
    assert jobs.reason(jobs.written(decide(job, NOW + 130)), ConditionType.QUOTA_RESERVED) != (
        "False",
        "GangTimeout",
    )


def test_a_failure_names_the_node_on_which_the_pod_ran():
    job = jobs.with_pod(running(), 2, lambda p: replace(jobs.failed(p), node="host-2"))
    status = TrainingJobStatus.model_validate(jobs.written(decide(job, NOW + 60)))
    assert (status.attempts[-1].cause, status.attempts[-1].node) == ("ApplicationExit", "host-2")


def test_a_pod_that_went_with_its_node_is_a_lost_node():
    job = running()
    pods = {n: p for n, p in job.pods.items() if n != "job-1-0-1"}
    job = replace(job, pods=pods, unhealthy=frozenset({"host-1"}))
    status = TrainingJobStatus.model_validate(jobs.written(decide(job, NOW + 60)))
    assert (status.attempts[-1].cause, status.attempts[-1].node) == ("NodeLost", "host-1")


def test_a_node_about_to_go_is_told_by_where_the_pods_are():
    job = replace(running(), departing={"host-3": Departure("host-3", "taint going")})
    plan = decide(job, NOW + 60)
    assert "host-3" in plan.events[0].message
    elsewhere = replace(running(), departing={"host-9": Departure("host-9", "taint going")})
    assert decide(elsewhere, NOW + 60).events == ()


def test_its_restart_is_unpinned_as_well_and_asks_nobody():
    job = jobs.with_pod(running(), 0, lambda p: replace(jobs.failed(p), node="host-0"))
    ended = replace(
        job, status=TrainingJobStatus.model_validate(jobs.written(decide(job, NOW + 60))), pods={}
    )
    plan = decide(ended, NOW + 600)
    assert plan.begins
    assert plan.waiting is None
    assert len(pods_of(plan)) == 4


def test_what_it_would_ask_of_our_own_admission_prefers_where_it_was():
    request = request_of(View(running(), NOW, running().status))
    assert request.preferred_nodes == {i: f"host-{i}" for i in range(4)}


def test_it_ends_well_as_any_other():
    job = jobs.with_pods(running(), lambda p: replace(jobs.succeeded(p), phase=PodPhase.SUCCEEDED))
    assert jobs.reason(jobs.written(decide(job, NOW + 60)), ConditionType.COMPLETE)[0] == "True"
