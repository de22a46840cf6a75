"""Kubernetes' own PodGroups, in each version of their API."""

import pytest

from drumline.api.reasons import Reason
from drumline.core.gang.backends.native import VERSIONS
from drumline.core.gang.types import PlacementPolicy
from tests.unit.core.gang.backends.facts import FACTS, LATER, facts, found, pod

_SCHEDULED = {"v1alpha2": "PodGroupScheduled", "v1alpha3": "PodGroupInitiallyScheduled"}
versions = pytest.mark.parametrize("backend", VERSIONS, ids=lambda b: b.version)
_OLD = VERSIONS[-1]


def _said(backend, status, message="", reason="Unschedulable"):
    told = {"type": backend.scheduled, "status": status, "reason": reason, "message": message}
    return found(backend.needs[0], status={"conditions": [told]})


@versions
def test_the_group_is_all_that_start_together(backend):
    (group,) = backend.objects(FACTS)
    assert group["apiVersion"] == f"scheduling.k8s.io/{backend.version}"
    assert group["spec"]["schedulingPolicy"] == {"gang": {"minCount": 4}}
    assert group["metadata"]["name"] == "llama-3"
    assert group["metadata"]["ownerReferences"][0]["uid"] == "uid-1"


@versions
def test_a_group_that_has_a_priority_has_the_one_of_its_pods_and_goes_as_a_whole(backend):
    (group,) = backend.objects(FACTS)
    carried = backend.prepare_pod(pod(), FACTS, 0)["spec"]["priorityClassName"]
    ranks = {"priorityClassName": carried, "disruptionMode": {"all": {}}}
    wanted = {} if backend is _OLD else ranks
    assert {key: value for key, value in group["spec"].items() if key in ranks} == wanted


@versions
def test_pods_name_it_and_keep_the_class_that_evicts_nobody(backend):
    made = backend.prepare_pod(pod(), FACTS, 0)
    assert made["spec"]["schedulingGroup"] == {"podGroupName": "llama-3"}
    assert made["spec"]["priorityClassName"] == "drumline-worker"
    later = pod(LATER)
    assert backend.prepare_pod(later, FACTS, LATER) == later


@versions
def test_a_required_level_is_one_label(backend):
    required = facts(policy=PlacementPolicy.REQUIRED, topology_key="example.com/rack")
    assert backend.refusal(required) is None
    (group,) = backend.objects(required)
    assert group["spec"]["schedulingConstraints"] == {"topology": [{"key": "example.com/rack"}]}
    preferred = facts(policy=PlacementPolicy.PREFERRED, topology_key="example.com/rack")
    assert "schedulingConstraints" not in backend.objects(preferred)[0]["spec"]
    refused = backend.refusal(facts(policy=PlacementPolicy.REQUIRED))
    assert refused is not None
    assert refused.reason == Reason.UNSUPPORTED_SCHEDULING


def test_a_pod_without_the_field_is_in_no_group():
    sent = _OLD.prepare_pod(pod(), FACTS, 0)
    assert _OLD.kept(sent, sent) == ""
    assert _OLD.kept(sent, pod()) == "spec.schedulingGroup"
    assert _OLD.kept(pod(LATER), pod(LATER)) == ""


@versions
def test_its_condition_says_why_it_waits(backend):
    assert backend.waits(FACTS, ()) is None
    silent = backend.waits(FACTS, (found(backend.needs[0]),))
    assert silent is not None
    assert silent.reason == Reason.QUEUED
    assert "does it know PodGroups?" in silent.message
    told = backend.waits(FACTS, (_said(backend, "False", "3 of 4 pods fit"),))
    assert told is not None
    assert told.reason == Reason.INSUFFICIENT_ACCELERATORS
    assert told.message == "PodGroup llama-3 has no nodes: 3 of 4 pods fit"
    assert backend.waits(FACTS, (_said(backend, "True"),)) is None


@versions
def test_a_scheduler_that_fails_is_no_lack_of_nodes(backend):
    told = backend.waits(FACTS, (_said(backend, "False", "no such profile", "SchedulerError"),))
    assert told is not None
    assert told.reason == Reason.QUEUED
    assert told.message == "the scheduler fails on PodGroup llama-3: no such profile"


def test_versions_differ_in_their_condition():
    assert {b.version: b.scheduled for b in VERSIONS} == {
        **_SCHEDULED,
        "v1beta1": "PodGroupInitiallyScheduled",
    }
