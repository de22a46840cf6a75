"""A gang asks for nodes by a ProvisioningRequest: quota first, then nodes, then places; or it gives the request up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drumline.api.reasons import ConditionType, Reason
from drumline.api.status import Avoidance, ProvisioningPhase, TrainingJobStatus
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.queues import Eviction
from drumline.core.gang.types import Refusal
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted
from drumline.core.training.provisioned import BOOKING_SECONDS, CONSUMES, FEWER_SECONDS, REQUESTS, Provisioner
from drumline.core.training.provisioned import CLASS as CLASS_KEY
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW
from tests.unit.core.training.nodes_asked import (
    AFTER,
    ANYWHERE,
    ASKED,
    CLASS,
    NAME,
    NO,
    TIMEOUT,
    after,
    asking,
    begun,
    creates,
    deletes,
    provisioned,
    reasons,
    refused,
    running,
    seen,
)

CONTAINER = {
    "name": "train",
    "image": "example.org/train:1",
    "env": [{"name": "SECRET", "value": "x"}],
    "resources": {"limits": {"cpu": "4"}, "requests": {"memory": "1Gi"}},
}

DISK = {"limits": {"ephemeral-storage": "1Gi"}}


def test_it_asks_for_quota_once_it_was_refused_nodes_for_long() -> None:
    early, late = decide(refused(), ASKED - 1), decide(refused(), ASKED)
    assert early.waiting is not None
    assert not early.waiting.unpinned
    assert late.waiting is not None
    assert late.waiting.unpinned


def test_quota_is_written_down_before_nodes_are_asked_for() -> None:
    obs, plan = asking(queue="research")
    assert plan.asks
    assert not plan.begins
    assert plan.intent is not None
    assert plan.intent["queue"] == "research"
    assert plan.intent["provisioning"] == {
        "request": NAME,
        "number": 1,
        "className": CLASS,
        "phase": "Requested",
        "since": rfc3339_millis(ASKED),
        "slices": 2,
        "chips": 32,
        "failed": False,
    }
    assert obs.status.attempt == 0
    assert obs.status.phase == "Queued"
    assert jobs.reason(obs.status, ConditionType.QUOTA_RESERVED) == ("True", "NodesRequested")
    assert reasons(plan) == ["NodesRequested"]


def test_what_it_asks_for_is_its_pods_without_what_pins_and_names_them() -> None:
    helper = {"name": "loader", "replicas": 3, "template": {"spec": {"containers": [CONTAINER]}}}
    later = {**helper, "name": "eval", "dependsOn": [{"name": "workers"}]}
    template = {"spec": {"containers": [CONTAINER], "nodeSelector": {"pool": "flex"}}}
    _, plan = asking(
        wish={"parameters": {"maxRunDurationSeconds": "86400"}}, helpers=[helper, later], template=template
    )
    (request,) = creates(plan, REQUESTS)
    assert request["spec"] == {
        "provisioningClassName": CLASS,
        "parameters": {"maxRunDurationSeconds": "86400"},
        "podSets": [
            {"podTemplateRef": {"name": f"{NAME}-worker"}, "count": 4},
            {"podTemplateRef": {"name": f"{NAME}-loader"}, "count": 3},
        ],
    }
    worker, _ = creates(plan, "podtemplates")
    assert worker["metadata"]["ownerReferences"][0]["uid"] == jobs.UID
    spec = worker["template"]["spec"]
    assert not spec.keys() & {"hostname", "subdomain", "affinity", "schedulingGates"}
    assert spec["nodeSelector"]["pool"] == "flex"
    (container,) = spec["containers"]
    assert "env" not in container
    assert container["resources"]["requests"] == {"cpu": "4", "memory": "1Gi", "nvidia.com/gpu": "8"}


def test_helpers_that_need_nothing_of_the_class_may_be_left_out() -> None:
    helper = {"name": "loader", "template": {"spec": {"containers": [CONTAINER]}}}
    _, plan = asking(wish={"managedResources": ["nvidia.com/gpu"]}, helpers=[helper])
    (request,) = creates(plan, REQUESTS)
    assert [p["podTemplateRef"]["name"] for p in request["spec"]["podSets"]] == [f"{NAME}-worker"]


def test_only_who_was_asked_for_consumes_the_request() -> None:
    helpers = [
        {"name": name, "template": {"spec": {"containers": [container]}}}
        for name, container in (("loader", CONTAINER), ("judge", {**CONTAINER, "resources": DISK}))
    ]
    _, plan = begun(wish={"managedResources": ["ephemeral-storage"]}, helpers=helpers)
    pods = {p["metadata"]["name"]: CONSUMES in p["metadata"]["annotations"] for p in creates(plan, "pods")}
    assert {name for name, consumes in pods.items() if not consumes} == {"job-1-loader-0"}


def test_while_it_waits_it_asks_for_nothing_and_says_what_the_autoscaler_says() -> None:
    obs, _ = asking(queue="research")
    plan = decide(seen(obs, Accepted=True, Provisioned="ETA 5 min"), ASKED + 10)
    assert plan.waiting is None
    assert plan.actions == ()
    assert plan.requeue_after == pytest.approx(TIMEOUT - 10)
    status = jobs.written(plan)
    assert status is not None
    assert status["queue"] == "research"
    assert "ETA 5 min" in str(status["conditions"])


def test_a_successor_makes_the_very_request_that_is_missing() -> None:
    obs, plan = asking()
    again = decide(replace(obs, provisioner=Provisioner(served=True)), ASKED + 10)
    for resource in ("podtemplates", REQUESTS):
        assert creates(again, resource) == creates(plan, resource)


def test_once_provisioned_it_is_placed_with_its_place_in_the_queue() -> None:
    obs = provisioned(queue="research")
    assert obs.status.provisioning is not None
    assert obs.status.provisioning.phase is ProvisioningPhase.PROVISIONED
    plan = decide(replace(obs, queue="research"), ASKED + 101)
    assert plan.waiting is not None
    assert not plan.waiting.unpinned
    assert plan.waiting.queue == "research"
    assert plan.waiting.queued_at == pytest.approx(unix(obs.status.queued_at))
    late = jobs.settled(replace(obs, admission=NO), ASKED + 102)  # nodes show up later
    assert jobs.reason(late.status, ConditionType.QUOTA_RESERVED) == ("True", NO.reason)
    assert late.status.queue == "research"
    assert decide(late, ASKED + 103).waiting == plan.waiting


def test_its_pods_are_pinned_and_consume_the_request() -> None:
    _, plan = begun(queue="research")
    pods = creates(plan, "pods")
    assert len(pods) == 4
    for pod in pods:
        assert pod["metadata"]["annotations"][CONSUMES] == NAME
        assert pod["metadata"]["annotations"][CLASS_KEY] == CLASS
        assert pod["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
        assert "nodeAffinity" in pod["spec"]["affinity"]
    status = jobs.written(plan)
    assert status is not None
    assert (status["attempt"], status["queue"]) == (1, "research")
    assert "refusedSince" not in status


@pytest.mark.parametrize("kind", ["Failed", "BookingExpired", "CapacityRevoked"])
@pytest.mark.parametrize("phase", ["Requested", "Provisioned"])
def test_a_request_that_comes_to_nothing_is_given_up(kind: str, phase: str) -> None:
    obs = asking(queue="research")[0] if phase == "Requested" else provisioned(queue="research")
    plan = decide(seen(obs, Provisioned=True, **{kind: True}), ASKED + 200)
    status = TrainingJobStatus.model_validate(jobs.written(plan))
    assert status.queue is None
    assert status.provisioning is not None
    assert (status.provisioning.phase, status.provisioning.failed) == (ProvisioningPhase.ENDED, True)
    assert jobs.reason(status, ConditionType.QUOTA_RESERVED) == ("False", "ProvisioningFailed")
    assert f"{kind}: {kind} is said" in plan.events[0].message
    assert status.next_attempt_at == rfc3339_millis(ASKED + 260)
    gone = decide(replace(seen(obs), status=status), ASKED + 201)
    assert deletes(gone) == {f"provisioningrequests/{NAME}", f"podtemplates/{NAME}-worker"}


def test_patience_ends() -> None:
    obs, _ = asking()
    assert after(obs, ASKED + TIMEOUT - 1).provisioning == obs.status.provisioning
    given_up = after(obs, ASKED + TIMEOUT)
    assert "not provisioned within 900 s" in str(given_up.provisioning)
    waits = provisioned()
    late = ASKED + 100 + BOOKING_SECONDS
    assert after(waits, late - 1).provisioning == waits.status.provisioning
    assert "found no place on its nodes" in str(after(waits, late).provisioning)


def test_it_asks_again_by_another_name_after_a_delay_that_grows() -> None:
    obs, _ = asking()
    for number, delay in ((1, 60), (2, 120), (3, 240)):
        failed = jobs.settled(seen(obs, Failed=True), ASKED + 200)
        assert failed.status.next_attempt_at == rfc3339_millis(ASKED + 200 + delay)
        free = replace(failed, provisioner=Provisioner(served=True), admission=None)
        assert decide(free, ASKED + 200 + delay - 1).waiting is None
        again = jobs.settled(replace(free, admission=NO), ASKED + 200 + delay)
        plan = decide(replace(again, admission=None), ASKED + 201 + delay)
        assert plan.waiting is not None
        assert plan.waiting.unpinned
        obs = jobs.settled(replace(again, admission=Granted(ANYWHERE)), ASKED + 201 + delay)
        assert obs.status.provisioning is not None
        assert obs.status.provisioning.request == f"job-nodes-{number + 1}"


def test_the_next_accelerator_is_tried_at_once_and_after_the_last_one_there_is_a_delay() -> None:
    h200 = {"type": "nvidia-h200-141gb"}
    choice = {"type": "nvidia-h100-80gb", "candidates": [h200], "fallbackSeconds": 86400}
    obs, _ = asking(accelerator=choice)
    failed = jobs.settled(seen(obs, Failed=True), ASKED + 200)
    assert failed.status.next_attempt_at is None
    moved = after(replace(failed, provisioner=Provisioner(served=True)), ASKED + 201)
    assert (moved.candidate, moved.refused_since) == (1, None)
    last = obs.status.model_copy(update={"candidate": 1})
    assert after(seen(replace(obs, status=last), Failed=True), ASKED + 200).next_attempt_at is not None


def test_another_accelerator_has_to_wait_while_nodes_are_asked_for() -> None:
    choice = {"type": "nvidia-h100-80gb", "candidates": [{"type": "nvidia-h200-141gb"}], "fallbackSeconds": 1}
    obs = provisioned(accelerator={**choice, "fallbackSeconds": 60})
    assert after(replace(obs, admission=NO), ASKED + 500).candidate is None


def test_without_the_api_it_says_so_and_waits_for_nodes() -> None:
    obs = refused(served=False)
    plan = decide(obs, ASKED)
    assert plan.waiting is not None
    assert not plan.waiting.unpinned
    status = jobs.written(plan)
    assert jobs.reason(status, ConditionType.QUOTA_RESERVED) == ("False", "ProvisioningUnavailable")
    assert "does not serve ProvisioningRequest (autoscaling.x-k8s.io/v1)" in str(status)
    said = jobs.settled(obs, ASKED)
    assert decide(said, ASKED + 1).events == ()
    there = decide(replace(said, provisioner=Provisioner(served=True)), ASKED + 2)
    assert there.waiting is not None
    assert there.waiting.unpinned


def test_without_the_right_it_takes_no_quota_and_names_what_gives_it() -> None:
    obs = replace(refused(), provisioner=Provisioner(served=True, listed=False, denied=True))
    plan = decide(obs, ASKED)
    assert plan.waiting is not None
    assert not plan.waiting.unpinned
    status = jobs.written(plan)
    assert jobs.reason(status, ConditionType.QUOTA_RESERVED) == ("False", "ProvisioningUnavailable")
    assert "the chart's value `provisioningRequests.enabled`" in str(status)


def test_nothing_is_asked_for_before_it_is_known_what_was() -> None:
    obs = replace(refused(), provisioner=Provisioner(served=True, listed=False))
    plan = decide(obs, ASKED)
    assert plan.waiting is not None
    assert not plan.waiting.unpinned
    assert "can't be asked for" not in str(jobs.written(plan))


def test_what_the_api_server_refuses_is_said() -> None:
    obs, _ = asking()
    plan = decide(
        replace(obs, blocked="provisioningrequests/x: denied", provisioner=Provisioner(True)), ASKED + 1
    )
    assert reasons(plan) == ["ProvisioningFailed"]
    assert "the API server refuses it: provisioningrequests/x: denied" in plan.events[0].message


def test_others_that_go_first_have_its_quota() -> None:
    obs, _ = asking(queue="research")
    plan = decide(replace(obs, evicted=Eviction("ns/other", "by priority")), ASKED + 50)
    status = TrainingJobStatus.model_validate(jobs.written(plan))
    assert (status.queue, status.next_attempt_at) == (None, None)
    assert status.queued_at == obs.status.queued_at
    assert jobs.reason(status, ConditionType.QUOTA_RESERVED) == ("False", "Preempted")
    assert status.provisioning is not None
    assert not status.provisioning.failed


def suspended(obs: Any) -> Any:
    return replace(obs, spec=obs.spec.model_copy(update={"suspend": True}))


@pytest.mark.parametrize("state", [lambda: asking()[0], provisioned, running], ids=["asks", "has", "runs"])
def test_a_suspended_job_asks_for_nothing(state: Any) -> None:
    obs = suspended(state())
    status = after(obs, ASKED + 300)
    assert status.provisioning is not None
    assert status.provisioning.phase is ProvisioningPhase.ENDED
    gone = replace(obs, status=status)
    assert f"provisioningrequests/{NAME}" in deletes(decide(gone, ASKED + 301))


def test_a_restart_on_its_nodes_keeps_the_request() -> None:
    obs = running()
    broken = jobs.with_pod(obs, 0, lambda p: jobs.failed(p, at=ASKED + 5000))
    ended = jobs.settled(broken, ASKED + 5000)
    assert ended.status.placement is not None
    plan = decide(replace(ended, pods={}), ASKED + 5100)
    assert plan.begins
    assert not deletes(plan) & {f"provisioningrequests/{NAME}", f"podtemplates/{NAME}-worker"}
    assert {p["metadata"]["annotations"][CONSUMES] for p in creates(plan, "pods")} == {NAME}


def test_a_job_that_is_done_needs_no_nodes() -> None:
    done = jobs.with_pods(running(), lambda p: jobs.succeeded(p, ASKED + 5000))
    status = after(done, ASKED + 5000)
    assert jobs.reason(status, ConditionType.COMPLETE)[0] == "True"
    assert f"provisioningrequests/{NAME}" in deletes(decide(replace(done, status=status), ASKED + 5001))


def test_a_booking_that_expires_is_nothing_to_a_gang_that_runs() -> None:
    obs = running()
    plan = decide(seen(obs, Provisioned=True, BookingExpired=True), ASKED + 700)
    assert plan.actions == ()
    assert plan.events == ()


def test_capacity_that_is_revoked_is_left_as_nodes_that_go() -> None:
    spec = {"checkpoint": {"path": "/ckpt", "intervalSeconds": 600}}
    plan = decide(seen(running(**spec), Provisioned=True, CapacityRevoked=True), ASKED + 5000)
    assert reasons(plan) == ["NodeDeparting"]
    assert f"CapacityRevoked of ProvisioningRequest {NAME}: CapacityRevoked is said" in plan.events[0].message
    waiting = begun()[0]
    moved = decide(seen(waiting, CapacityRevoked=True), ASKED + 120)
    status = TrainingJobStatus.model_validate(jobs.written(moved))
    assert status.attempts[-1].cause == "Maintenance"


def test_a_gang_whose_capacity_is_revoked_lets_all_its_nodes_go_and_avoids_them() -> None:
    plan = decide(seen(begun()[0], CapacityRevoked=True), ASKED + 120)
    status = TrainingJobStatus.model_validate(jobs.written(plan))
    assert status.placement is None
    assert status.attempts[-1].action == "Requeue"
    assert status.provisioning is not None
    assert status.provisioning.phase is ProvisioningPhase.ENDED
    avoided = {n.name: n.avoid for n in status.excluded_nodes}
    assert avoided == {f"node-{i}": Avoidance.IF_EVER_POSSIBLE for i in range(4)}


def test_a_clock_that_was_put_back_lengthens_no_wait() -> None:
    for obs, patience in ((asking()[0], TIMEOUT), (provisioned(), BOOKING_SECONDS)):
        back = jobs.settled(obs, NOW - 3600)
        assert back.status.provisioning is not None
        assert back.status.provisioning.phase is not ProvisioningPhase.ENDED
        over = after(back, NOW - 3600 + patience)
        assert over.provisioning is not None
        assert over.provisioning.phase is ProvisioningPhase.ENDED


def test_an_elastic_gang_waits_for_all_the_slices_that_it_asked_nodes_for() -> None:
    obs = provisioned(elastic={"minSlices": 1, "maxSlices": 4, "waitSeconds": 0})
    booked = ASKED + 100 + BOOKING_SECONDS
    early = decide(obs, booked - FEWER_SECONDS - 1)
    assert early.waiting is not None
    assert early.waiting.min_slices == 2
    assert early.requeue_after == pytest.approx(1)
    late = decide(obs, booked - FEWER_SECONDS)
    assert late.waiting is not None
    assert late.waiting.min_slices == 1


def test_a_refusal_for_quota_asks_for_no_nodes() -> None:
    answer = Refusal(Reason.QUEUE_QUOTA, "no quota")
    obs = jobs.settled(replace(refused(), admission=answer), NOW + 1)
    plan = decide(obs, NOW + 10 * AFTER)
    assert plan.waiting is not None
    assert not plan.waiting.unpinned
