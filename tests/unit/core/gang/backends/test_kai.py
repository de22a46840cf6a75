"""KAI: a PodGroup of ours, and pods that its grouper leaves alone."""

import pytest

from drumline.api.reasons import Reason
from drumline.core.gang.backends.kai import ANNOTATION_GROUP, ANNOTATION_LEAVE, LABEL_QUEUE, Kai
from drumline.core.gang.types import PlacementPolicy
from tests.unit.core.gang.backends.facts import FACTS, LATER, facts, found, pod

_BACKEND = Kai()
_NEED = _BACKEND.needs[0]
_STRICT = facts(policy=PlacementPolicy.REQUIRED, topology_key="example.com/rack")


def test_the_group():
    (group,) = _BACKEND.objects(FACTS)
    assert (group["apiVersion"], group["kind"]) == ("scheduling.run.ai/v2alpha2", "PodGroup")
    assert group["metadata"]["labels"] == {"drumline.dev/job": "llama", LABEL_QUEUE: "research"}
    assert group["spec"] == {"minMember": 4, "queue": "research", "priorityClassName": "high"}


@pytest.mark.parametrize(
    ("policy", "level"),
    [
        (PlacementPolicy.REQUIRED, "requiredTopologyLevel"),
        (PlacementPolicy.PREFERRED, "preferredTopologyLevel"),
    ],
)
def test_topology(policy, level):
    asked = facts(policy=policy, topology_key="example.com/rack")
    (group,) = Kai(topology="fabric").objects(asked)
    assert group["spec"]["topologyConstraint"] == {"topology": "fabric", level: "example.com/rack"}
    assert Kai(topology="fabric").refusal(asked) is None


@pytest.mark.parametrize(
    ("backend", "asked", "lacks"),
    [
        (_BACKEND, _STRICT, "KAI's Topology"),
        (Kai(topology="fabric"), facts(policy=PlacementPolicy.REQUIRED), "node label"),
    ],
)
def test_a_level_that_kai_would_ignore(backend, asked, lacks):
    refused = backend.refusal(asked)
    assert refused is not None
    assert refused.reason == Reason.UNSUPPORTED_SCHEDULING
    assert lacks in refused.message


def test_a_preference_without_a_topology_is_left_out():
    (group,) = _BACKEND.objects(facts(policy=PlacementPolicy.PREFERRED, topology_key="example.com/rack"))
    assert "topologyConstraint" not in group["spec"]


@pytest.mark.parametrize(("queue", "named"), [("research", "research"), ("", "default-queue")])
@pytest.mark.parametrize("index", [0, LATER])
def test_a_pod_joins_the_group(index, queue, named):
    made = _BACKEND.prepare_pod(pod(), facts(queue=queue), index)
    assert made["metadata"]["annotations"] == {ANNOTATION_GROUP: "llama-3", ANNOTATION_LEAVE: "true"}
    assert made["metadata"]["labels"][LABEL_QUEUE] == named
    assert (made["spec"]["schedulerName"], made["spec"]["priorityClassName"]) == ("kai-scheduler", "high")


def test_a_group_that_its_grouper_rewrote_is_seen():
    sent = _BACKEND.prepare_pod(pod(), FACTS, 0)
    taken = {**sent["metadata"], "annotations": {**sent["metadata"]["annotations"], ANNOTATION_GROUP: "pg-1"}}
    assert _BACKEND.kept(sent, sent) == ""
    assert _BACKEND.kept(sent, {**sent, "metadata": taken}) == f"annotation {ANNOTATION_GROUP}"


def _against(reason, message="4 pods do not fit"):
    said = {"type": "UnschedulableOnNodePool", "status": "True", "reason": "Unschedulable", "message": "no"}
    return {"schedulingConditions": [{**said, "reasons": [{"reason": reason, "message": message}]}]}


@pytest.mark.parametrize(
    ("status", "reason", "text"),
    [
        ({}, Reason.QUEUED, "has said nothing of PodGroup llama-3"),
        (_against("OverLimit"), Reason.QUEUE_QUOTA, "4 pods do not fit"),
        (_against("NonPreemptibleOverQuota"), Reason.QUEUE_QUOTA, "4 pods do not fit"),
        (_against("QueueDoesNotExist"), Reason.QUEUED, "4 pods do not fit"),
        (_against("Other", ""), Reason.INSUFFICIENT_ACCELERATORS, "KAI can't schedule the gang: no"),
    ],
)
def test_what_it_waits_for(status, reason, text):
    said = _BACKEND.waits(FACTS, [found(_NEED, status=status)])
    assert said is not None
    assert (said.reason, text in said.message) == (reason, True)


def test_a_condition_that_holds_no_more_says_nothing_against_the_gang():
    over = {"type": "UnschedulableOnNodePool", "status": "False", "message": "no"}
    said = _BACKEND.waits(FACTS, [found(_NEED, status={"schedulingConditions": [over]})])
    assert said is not None
    assert said.reason == Reason.QUEUED
    assert _BACKEND.waits(FACTS, []) is None
