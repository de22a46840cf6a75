"""Kueue: marks on pods, a gate that has to be there, and a Workload's conditions."""

import pytest

from drumline.api.reasons import Reason
from drumline.core.gang.backends import kueue
from drumline.core.gang.backends.base import RoleFacts
from drumline.core.gang.backends.kueue import Kueue
from drumline.core.gang.types import PlacementPolicy
from tests.unit.core.gang.backends.facts import FACTS, LATER, facts, found, pod

_BACKEND = Kueue()


def _gated(sent):
    return {**sent, "spec": {**sent["spec"], "schedulingGates": [{"name": kueue.GATE}]}}


def _managed(sent, word="true"):
    labels = {**sent["metadata"]["labels"], kueue.LABEL_MANAGED: word}
    return {**sent, "metadata": {**sent["metadata"], "labels": labels}}


def test_a_worker_joins_the_group_for_good():
    made = _BACKEND.prepare_pod(pod(), FACTS, 1)
    assert made["metadata"]["labels"] == {
        "drumline.dev/job": "llama",
        "kueue.x-k8s.io/queue-name": "research",
        "kueue.x-k8s.io/pod-group-name": "llama-3",
        "kueue.x-k8s.io/pod-group-pod-index": "1",
    }
    assert made["metadata"]["annotations"] == {
        "kueue.x-k8s.io/pod-group-total-count": "4",
        "kueue.x-k8s.io/retriable-in-group": "false",
    }
    assert made["spec"]["priorityClassName"] == "high"
    assert "schedulerName" not in made["spec"]


def test_a_helper_joins_without_a_rank():
    made = _BACKEND.prepare_pod(pod(), FACTS, 3)
    assert made["metadata"]["labels"][kueue.LABEL_GROUP] == "llama-3"
    assert kueue.LABEL_INDEX not in made["metadata"]["labels"]


def test_a_helper_that_comes_later_is_in_the_queue_alone():
    made = _BACKEND.prepare_pod(pod(), FACTS, LATER)
    assert made["metadata"]["labels"][kueue.LABEL_QUEUE] == "research"
    assert kueue.LABEL_GROUP not in made["metadata"]["labels"]
    assert "annotations" not in made["metadata"]


@pytest.mark.parametrize(
    ("policy", "key"),
    [
        (PlacementPolicy.REQUIRED, "kueue.x-k8s.io/podset-required-topology"),
        (PlacementPolicy.PREFERRED, "kueue.x-k8s.io/podset-preferred-topology"),
    ],
)
def test_topology(policy, key):
    made = _BACKEND.prepare_pod(pod(), facts(policy=policy, topology_key="example.com/rack"), 0)
    assert made["metadata"]["annotations"][key] == "example.com/rack"
    helper = _BACKEND.prepare_pod(pod(), facts(policy=policy, topology_key="example.com/rack"), 2)
    assert key not in helper["metadata"]["annotations"]


def test_it_makes_the_workload_itself():
    assert _BACKEND.objects(FACTS) == ()
    assert _BACKEND.made(FACTS) == ((kueue.WORKLOAD, "llama-3"),)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"queue": ""}, "no LocalQueue"),
        ({"policy": PlacementPolicy.REQUIRED}, "node label"),
        ({"roles": tuple(RoleFacts(f"r{i}", 1, i) for i in range(19))}, "19 roles"),
    ],
)
def test_what_it_could_never_run(changes, text):
    refused = _BACKEND.refusal(facts(**changes))
    assert refused is not None
    assert refused.reason == Reason.UNSUPPORTED_SCHEDULING
    assert text in refused.message
    assert _BACKEND.refusal(FACTS) is None


def test_a_pod_that_was_not_gated_is_seen():
    sent = _BACKEND.prepare_pod(pod(), FACTS, 0)
    assert _BACKEND.kept(sent, _gated(sent)) == ""
    assert _BACKEND.kept(sent, sent).startswith("scheduling gate kueue.x-k8s.io/admission")
    assert _BACKEND.kept(sent, _gated(pod())) == f"label {kueue.LABEL_QUEUE}"


def test_a_pod_whose_gate_kueue_has_lifted_again_was_gated():
    sent = _BACKEND.prepare_pod(pod(), FACTS, 0)
    assert _BACKEND.kept(sent, _managed(sent)) == ""
    assert _BACKEND.kept(sent, _managed(sent, "false")).startswith("scheduling gate")
    assert _BACKEND.kept(_managed(sent), _managed(sent)).startswith("scheduling gate"), (
        "our own word is no proof"
    )
    assert _BACKEND.kept(sent, _managed(pod())) == f"label {kueue.LABEL_QUEUE}"


def _workload(*conditions, **status):
    return found(kueue.WORKLOAD, status={"conditions": list(conditions), **status})


def _pending(reason, message="couldn't assign flavors.\n insufficient quota"):
    return {"type": "QuotaReserved", "status": "False", "reason": reason, "message": message}


_TOPOLOGY = 'topology "fabric" allows to fit only 2 out of 3 pod(s)'
_RESERVED = {"type": "QuotaReserved", "status": "True"}
_CHECKS = {"admissionChecks": [{"name": "fits", "state": "Ready"}, {"name": "capacity", "state": "Pending"}]}


@pytest.mark.parametrize(
    ("objects", "reason", "text"),
    [
        ([], Reason.QUEUED, "has not made a Workload"),
        ([_workload()], Reason.QUEUED, "has not looked at it yet"),
        ([_workload(_pending("Pending"))], Reason.QUEUE_QUOTA, "assign flavors. insufficient quota"),
        ([_workload(_pending("Pending", _TOPOLOGY))], Reason.TOPOLOGY_UNSATISFIABLE, "fit only 2"),
        ([_workload(_pending("Inadmissible", "LocalQueue x doesn't exist"))], Reason.QUEUED, "exist"),
        ([_workload(_pending("WaitingForQuota"))], Reason.QUEUE_QUOTA, "insufficient quota"),
        ([_workload(_pending("TopologyPlacementFailed"))], Reason.TOPOLOGY_UNSATISFIABLE, "insufficient"),
        ([_workload(_RESERVED, **_CHECKS)], Reason.QUEUED, "checks are not done: capacity"),
    ],
)
def test_what_it_waits_for(objects, reason, text):
    said = _BACKEND.waits(FACTS, objects)
    assert said is not None
    assert said.reason == reason
    assert said.message.startswith("at Kueue's gate in LocalQueue research: ")
    assert text in said.message


def test_nothing_is_said_of_a_gang_that_was_admitted():
    admitted = _workload(_RESERVED, {"type": "Admitted", "status": "True"})
    assert _BACKEND.waits(FACTS, [found(kueue.WORKLOAD, name="llama-2"), admitted]) is None
