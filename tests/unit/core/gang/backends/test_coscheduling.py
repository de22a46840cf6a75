"""Coscheduling: a PodGroup, a label, a scheduler."""

import pytest

from drumline.api.reasons import Reason
from drumline.core.gang.backends.coscheduling import LABEL_GROUP, Coscheduling
from drumline.core.gang.types import PlacementPolicy
from tests.unit.core.gang.backends.facts import FACTS, LATER, OWNER, facts, found, pod

_BACKEND = Coscheduling()
_NEED = _BACKEND.needs[0]


def test_the_group():
    (group,) = _BACKEND.objects(FACTS)
    assert (group["apiVersion"], group["kind"]) == ("scheduling.x-k8s.io/v1alpha1", "PodGroup")
    assert group["metadata"] == {
        "name": "llama-3",
        "namespace": "team",
        "ownerReferences": [OWNER.owner_reference()],
        "labels": {"drumline.dev/job": "llama"},
    }
    resources = {"cpu": "4", "memory": "2Gi", "nvidia.com/gpu": "16"}
    assert group["spec"] == {"minMember": 4, "minResources": resources, "scheduleTimeoutSeconds": 120}


def test_the_wait_is_no_longer_than_the_scheduler_allows():
    (group,) = _BACKEND.objects(facts(timeout_seconds=7200))
    assert group["spec"]["scheduleTimeoutSeconds"] == 900


@pytest.mark.parametrize("index", [0, LATER])
def test_a_pod_joins_the_group(index):
    made = Coscheduling(scheduler="gangs").prepare_pod(pod(), FACTS, index)
    assert made["metadata"]["labels"][LABEL_GROUP] == "llama-3"
    assert (made["spec"]["schedulerName"], made["spec"]["priorityClassName"]) == ("gangs", "high")


def test_a_label_that_was_dropped():
    sent = _BACKEND.prepare_pod(pod(), FACTS, 0)
    assert _BACKEND.kept(sent, sent) == ""
    assert _BACKEND.kept(sent, {**pod(), "spec": sent["spec"]}) == f"label {LABEL_GROUP}"


def test_a_domain_cannot_be_required_of_it():
    refused = _BACKEND.refusal(facts(policy=PlacementPolicy.REQUIRED, topology_key="rack"))
    assert refused is not None
    assert refused.reason == Reason.UNSUPPORTED_SCHEDULING
    assert "Required" in refused.message
    assert _BACKEND.refusal(facts(policy=PlacementPolicy.PREFERRED)) is None


@pytest.mark.parametrize(
    ("status", "reason", "text"),
    [
        ({}, Reason.QUEUED, "has not looked at PodGroup llama-3"),
        ({"phase": "Pending"}, Reason.QUEUED, "is Pending, 0 of 4"),
        ({"phase": "Scheduling", "running": 1}, Reason.INSUFFICIENT_ACCELERATORS, "is Scheduling, 1 of 4"),
    ],
)
def test_what_it_waits_for(status, reason, text):
    said = _BACKEND.waits(FACTS, [found(_NEED, status=status)])
    assert said is not None
    assert (said.reason, text in said.message) == (reason, True)


def test_nothing_is_said_of_a_gang_that_runs():
    assert _BACKEND.waits(FACTS, [found(_NEED, status={"phase": "Running"})]) is None
    assert _BACKEND.waits(FACTS, [found(_NEED, name="llama-2", status={"phase": "Pending"})]) is None
