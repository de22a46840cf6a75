"""Which nodes a gang keeps away from because of the anti-affinity of pods that are there."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.core.gang.admission import admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.placement import place
from drumline.core.gang.projection import project_pod
from drumline.core.gang.repulsion import repels, repulsions_of
from drumline.core.gang.types import Pod
from tests.builders import capacity, gang, gpu_block, placed

HOST = "kubernetes.io/hostname"
LABELS = {"app": "train", "drumline.dev/role": "worker", "drumline.dev/rank": "0"}


def spec(selector: dict[str, Any] | None, key: str = HOST, **term: Any) -> dict[str, Any]:
    terms = [{"topologyKey": key, **({} if selector is None else {"labelSelector": selector}), **term}]
    return {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


def app(value: str) -> dict[str, Any]:
    return {"matchLabels": {"app": value}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("pod_spec", "expected"),
    [
        (spec(app("train")), True),
        (spec(app("web")), False),
        (spec({}), True),  # an empty selector is every pod
        (spec(None), False),  # none at all is no pod
        (spec(expression("app", "In", "web", "train")), True),
        (spec(expression("app", "NotIn", "train")), False),
        (spec(expression("absent", "NotIn", "x")), True),
        (spec(expression("app", "Exists")), True),
        (spec(expression("app", "DoesNotExist")), False),
        (spec(expression("drumline.dev/rank", "In", "7")), True),  # some pod of the gang has it
        (spec(app("train"), namespaces=["other"]), False),
        (spec(app("train"), namespaces=["other", "team"]), True),
        (spec(app("train"), namespaceSelector={}), True),
        (spec(app("train"), namespaceSelector={"matchLabels": {"tier": "gold"}}), True),  # not told: avoided
        (spec(app("train"), key="topology.kubernetes.io/zone"), False),  # not modelled
        ({"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}}, False),
        ({}, False),
    ],
)
def test_terms_are_read_as_the_scheduler_reads_them(pod_spec: dict[str, Any], expected: bool) -> None:
    assert any(repels(r, "team", LABELS) for r in repulsions_of(pod_spec, "team")) is expected


def test_without_namespaces_a_term_is_about_the_pods_own() -> None:
    [term] = repulsions_of(spec(app("train")), "web")
    assert repels(term, "web", LABELS)
    assert not repels(term, "team", LABELS)


def loner(name: str, on: str, *, phase: str = "Running", selector: str = "train") -> Pod:
    raw = {
        "metadata": {"namespace": "team", "name": name},
        "spec": {**spec(app(selector)), "nodeName": on, "containers": []},
        "status": {"phase": phase},
    }
    return project_pod(raw)


@pytest.fixture
def cluster() -> Capacity:
    return capacity(
        gpu_block("a", 3), pods=[loner("solo", "a-host-1"), loner("web", "a-host-0", selector="web")]
    )


def test_a_gang_keeps_away_from_a_pod_that_wants_to_be_alone(cluster: Capacity) -> None:
    request = gang("g", 2, labels=(LABELS,))
    assert cluster.repelling(request) == {"a-host-1"}
    result = admit([request], cluster, 0.0, 300.0)
    [(uid, placement)] = result.granted
    assert (uid, sorted(placement.nodes)) == ("g", ["a-host-0", "a-host-2"])
    assert len(placed(place(gang("other", 1, labels=({"app": "else"},)), cluster))) == 1


def test_a_refusal_says_what_keeps_the_gang_off(cluster: Capacity) -> None:
    result = admit([gang("g", 3, labels=(LABELS,))], cluster, 0.0, 300.0)
    assert "1 with a pod whose anti-affinity keeps it off" in result.refused["g"].message


def test_a_node_is_usable_again_when_the_last_such_pod_is_gone_or_ended(cluster: Capacity) -> None:
    request = gang("g", 1, labels=(LABELS,))
    cluster.set_pod(loner("second", "a-host-1"))
    cluster.remove_pod("team", "solo")
    assert cluster.repelling(request) == {"a-host-1"}
    cluster.set_pod(loner("second", "a-host-1", phase="Succeeded"))
    assert cluster.repelling(request) == frozenset()
    assert len(cluster._repelling["team"]) == 1
    assert cluster._repels.keys() == {("team", "web")}


def test_a_helper_of_the_gang_counts_too(cluster: Capacity) -> None:
    assert cluster.repelling(gang("g", labels=({"app": "x"}, LABELS))) == {"a-host-1"}
    assert cluster.repelling(gang("g", labels=({"app": "x"},))) == frozenset()


def test_a_pod_that_a_daemon_set_made_takes_its_node_before_it_is_bound() -> None:
    field = {"key": "metadata.name", "operator": "In", "values": ["a-host-1"]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    container = {"name": "c", "resources": {"requests": {"cpu": "2"}}}
    raw: dict[str, Any] = {
        "metadata": {
            "namespace": "kube-system",
            "name": "agent-x",
            "ownerReferences": [{"kind": "DaemonSet"}],
        },
        "spec": {"affinity": affinity, "containers": [container]},
        "status": {"phase": "Pending"},
    }
    pod = project_pod(raw)
    assert (pod.node, pod.bound) == ("a-host-1", False)
    state = capacity(gpu_block("a", 2), pods=[pod])
    assert state.now.used("a-host-1") == {"cpu": 2000, "pods": 1}
    raw["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet"}]
    assert project_pod(raw).node == ""
