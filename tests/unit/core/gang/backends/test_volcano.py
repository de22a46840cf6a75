"""Volcano: a PodGroup, two annotations, a scheduler; tiers where the operator was told them."""

import pytest

from drumline.api.reasons import Reason
from drumline.core.gang.backends.volcano import ANNOTATION_GROUP, ANNOTATION_GROUP_TOO, Volcano
from drumline.core.gang.types import PlacementPolicy
from tests.unit.core.gang.backends.facts import FACTS, LATER, facts, found, pod

_BACKEND = Volcano()
_NEED = _BACKEND.needs[0]
_STRICT = facts(policy=PlacementPolicy.REQUIRED, topology_key="example.com/rack")


def test_the_group():
    (group,) = _BACKEND.objects(FACTS)
    assert (group["apiVersion"], group["kind"]) == ("scheduling.volcano.sh/v1beta1", "PodGroup")
    assert group["spec"] == {
        "minMember": 4,
        "minResources": {"cpu": "4", "memory": "2Gi", "nvidia.com/gpu": "16"},
        "queue": "research",
        "priorityClassName": "high",
    }


def test_what_is_not_named_is_left_to_volcano():
    (group,) = _BACKEND.objects(facts(queue="", priority_class=""))
    assert set(group["spec"]) == {"minMember", "minResources"}


def test_topology():
    backend = Volcano(tiers={"example.com/rack": "rack"})
    (strict,) = backend.objects(_STRICT)
    (soft,) = backend.objects(facts(policy=PlacementPolicy.PREFERRED, topology_key="example.com/rack"))
    assert strict["spec"]["networkTopology"] == {"mode": "hard", "highestTierName": "rack"}
    assert soft["spec"]["networkTopology"] == {"mode": "soft"}
    assert backend.refusal(_STRICT) is None


@pytest.mark.parametrize("tiers", [{}, {"example.com/block": "block"}])
def test_a_level_whose_tier_nobody_named(tiers):
    refused = Volcano(tiers=tiers).refusal(_STRICT)
    assert refused is not None
    assert refused.reason == Reason.UNSUPPORTED_SCHEDULING
    assert "example.com/rack" in refused.message
    assert (", ".join(tiers) or "none") in refused.message


@pytest.mark.parametrize("index", [0, LATER])
def test_a_pod_joins_the_group(index):
    made = _BACKEND.prepare_pod(pod(), FACTS, index)
    assert made["metadata"]["annotations"] == {ANNOTATION_GROUP: "llama-3", ANNOTATION_GROUP_TOO: "llama-3"}
    assert (made["spec"]["schedulerName"], made["spec"]["priorityClassName"]) == ("volcano", "high")
    assert _BACKEND.kept(made, made) == ""
    assert _BACKEND.kept(made, {**made, "metadata": {}}) == f"annotation {ANNOTATION_GROUP}"


_NO_ROOM = {"type": "Unschedulable", "status": "True", "reason": "NotEnoughResources", "message": "3/4 fit."}


@pytest.mark.parametrize(
    ("status", "reason", "text"),
    [
        ({}, Reason.QUEUED, "has not looked at PodGroup llama-3"),
        ({"phase": "Pending"}, Reason.QUEUED, "queue research has not let the gang in"),
        ({"phase": "Pending", "conditions": [_NO_ROOM]}, Reason.QUEUED, "let the gang in: 3/4 fit"),
        ({"phase": "Inqueue", "conditions": [_NO_ROOM]}, Reason.INSUFFICIENT_ACCELERATORS, ": 3/4 fit"),
        ({"phase": "Unknown"}, Reason.INSUFFICIENT_ACCELERATORS, "no room for all of it"),
    ],
)
def test_what_it_waits_for(status, reason, text):
    said = _BACKEND.waits(FACTS, [found(_NEED, status=status, spec={"queue": "research"})])
    assert said is not None
    assert (said.reason, text in said.message) == (reason, True)


def test_nothing_is_said_of_a_gang_that_runs():
    assert _BACKEND.waits(FACTS, [found(_NEED, status={"phase": "Running"})]) is None
    assert _BACKEND.waits(FACTS, []) is None
