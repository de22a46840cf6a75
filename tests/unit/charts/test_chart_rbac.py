"""The operator may do what its code does, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.charts.conftest import NAMESPACE, Manifest, Render, every, one

# Resource → verbs, as the code asks for them: reflectors (list, watch), executor (get, create, patch,
# delete), preflight (create with dryRun, get, list).
DEVICES = ("deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices")
READ = {
    "nodes": {"get", "list", "watch"},
    "persistentvolumes": {"get"},
    "priorityclasses.scheduling.k8s.io": {"get", "list", "watch"},
    **{f"{r}.resource.k8s.io": {"list", "watch"} for r in DEVICES},
    "acceleratorqueues.drumline.dev": {"get", "list", "watch"},
    "acceleratorqueues/status.drumline.dev": {"patch"},
    "namespaces": {"list", "watch"},
    "tokenreviews.authentication.k8s.io": {"create"},
}
WRITE = {
    "trainingjobs.drumline.dev": {"get", "list", "watch", "delete"},
    "trainingjobs/status.drumline.dev": {"patch"},
    "trainingjobs/finalizers.drumline.dev": {"update"},
    "inferenceservices.drumline.dev": {"get", "list", "watch"},
    "inferenceservices/status.drumline.dev": {"patch"},
    "inferenceservices/finalizers.drumline.dev": {"update"},
    "inferenceroles.drumline.dev": {"get", "list", "watch", "create", "patch", "delete"},
    "inferenceroles/status.drumline.dev": {"patch"},
    "pods": {"get", "list", "watch", "create", "delete"},
    "pods/status": {"patch"},
    "poddisruptionbudgets.policy": {"get", "list", "watch", "create", "patch", "delete"},
    "services": {"get", "list", "watch", "create", "patch", "delete"},
    "endpoints": {"get", "list", "watch", "create", "patch"},
    "endpointslices.discovery.k8s.io": {"get", "list", "watch", "create", "patch"},
    "configmaps": {"get", "create", "patch"},
    "controllerrevisions.apps": {"get", "list", "watch", "create", "patch", "delete"},
    "events": {"create", "get", "list", "watch"},
    "resourcequotas": {"list", "watch"},
    "persistentvolumeclaims": {"get"},
}


def granted(role: Manifest) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                name = f"{resource}.{group}" if group else resource
                found.setdefault(name, set()).update(rule["verbs"])
    return found


def test_the_cluster_role_is_exactly_what_the_code_needs(default: list[Manifest]) -> None:
    assert granted(one(default, "ClusterRole")) == READ | WRITE


def test_logs_may_be_read_only_where_steps_are_looked_up_in_them(
    default: list[Manifest], render: Render
) -> None:
    asked = render({"progress": {"logs": True}})
    assert granted(one(asked, "ClusterRole")) == READ | WRITE | {"pods/log": {"get"}}
    config = {m["metadata"]["name"]: m for m in every(asked, "ConfigMap")}["drumline"]
    assert 'progressLogs: "on"' in config["data"]["config.yaml"]
    config = {m["metadata"]["name"]: m for m in every(default, "ConfigMap")}["drumline"]
    assert 'progressLogs: "off"' in config["data"]["config.yaml"]


def test_nodes_may_be_patched_only_where_bad_ones_get_a_taint(render: Render) -> None:
    asked = render({"badNodes": {"taint": True}})
    nodes = {"nodes": READ["nodes"] | {"patch"}}
    assert granted(one(asked, "ClusterRole")) == READ | WRITE | nodes
    config = {m["metadata"]["name"]: m for m in every(asked, "ConfigMap")}["drumline"]
    assert 'taintBadNodes: "on"' in config["data"]["config.yaml"]
    limited = one(render({"badNodes": {"taint": True}, "namespace": "team-a"}), "ClusterRole")
    assert granted(limited)["events"] == {"create"}


def test_groups_of_other_schedulers_may_be_written_only_where_they_are_named(render: Render) -> None:
    asked = render({"backends": ["native", "kueue", "kai"], "settings": {"backend": "native"}})
    verbs = {"get", "list", "watch", "create", "delete"}
    groups = {
        "podgroups.scheduling.k8s.io": verbs,
        "podgroups.scheduling.run.ai": verbs,
        "workloads.kueue.x-k8s.io": verbs - {"create"},
    }
    assert granted(one(asked, "ClusterRole")) == READ | WRITE | groups
    config = {m["metadata"]["name"]: m for m in every(asked, "ConfigMap")}["drumline"]
    assert "backend: native" in config["data"]["config.yaml"]


def test_nodes_may_be_asked_for_only_where_the_chart_says_so(render: Render) -> None:
    asked = render({"provisioningRequests": {"enabled": True}})
    verbs = {"get", "list", "watch", "create", "delete"}
    requests = {"provisioningrequests.autoscaling.x-k8s.io": verbs, "podtemplates": verbs}
    assert granted(one(asked, "ClusterRole")) == READ | WRITE | requests
    limited = render({"provisioningRequests": {"enabled": True}, "namespace": "team-a"})
    assert granted(one(limited, "Role", "drumline")) == WRITE | requests


def test_routes_may_be_made_only_where_the_gateway_api_is_asked_for(render: Render) -> None:
    asked = render({"gateway": {"enabled": True}})
    verbs = {"get", "list", "watch", "create", "patch", "delete"}
    routes = {
        "httproutes.gateway.networking.k8s.io": verbs,
        "inferencepools.inference.networking.k8s.io": verbs,
    }
    assert granted(one(asked, "ClusterRole")) == READ | WRITE | routes
    config = {m["metadata"]["name"]: m for m in every(asked, "ConfigMap")}["drumline"]
    assert 'gateway: "on"' in config["data"]["config.yaml"]


@pytest.mark.parametrize("values", [{}, {"namespace": "team-a"}])
def test_no_secrets_no_exec_no_wildcards_no_escalation(render: Render, values: dict[str, Any]) -> None:
    manifests = render(values)
    roles = every(manifests, "ClusterRole") + every(manifests, "Role")
    assert roles
    for role in roles:
        for rule in role["rules"]:
            assert "nonResourceURLs" not in rule
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            own = role["metadata"]["name"] == "drumline-ingest"
            assert not words & {
                "*",
                *(() if own else ("secrets",)),
                "escalate",
                "bind",
                "impersonate",
                "deletecollection",
            }
            subresources = {r.partition("/")[2] for r in rule["resources"]} - {""}
            assert subresources <= {"status", "finalizers"}
            assert "rbac.authorization.k8s.io" not in rule["apiGroups"]


def test_one_namespace_limits_writing_to_it(render: Render) -> None:
    manifests = render({"namespace": "team-a"})
    assert granted(one(manifests, "ClusterRole")) == READ | {"pods": {"get", "list", "watch"}}
    role = one(manifests, "Role", "drumline")
    assert role["metadata"]["namespace"] == "team-a"
    assert granted(role) == WRITE
    binding = one(manifests, "RoleBinding", "drumline")
    assert binding["metadata"]["namespace"] == "team-a"
    assert binding["roleRef"]["name"] == "drumline"


@pytest.mark.parametrize("values", [{}, {"namespace": "team-a"}, {"serviceAccount": {"name": "other"}}])
def test_every_binding_names_the_operators_account(render: Render, values: dict[str, Any]) -> None:
    manifests = render(values)
    account = one(manifests, "ServiceAccount")["metadata"]["name"]
    for binding in every(manifests, "ClusterRoleBinding") + every(manifests, "RoleBinding"):
        subject = {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}
        assert binding["subjects"] == [subject]
        roles = every(manifests, binding["roleRef"]["kind"])
        assert binding["roleRef"]["name"] in {r["metadata"]["name"] for r in roles}
    pod = one(manifests, "Deployment")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account


def test_leases_only_in_its_own_namespace_and_by_name(default: list[Manifest]) -> None:
    role = one(default, "Role", "drumline-leader")
    assert role["metadata"]["namespace"] == NAMESPACE
    create, hold = role["rules"]
    assert create["verbs"] == ["create"]
    assert hold["resourceNames"] == ["drumline"]
    assert hold["verbs"] == ["get", "update"]
    assert granted(role).keys() == {"leases.coordination.k8s.io"}


def test_one_secret_in_its_own_namespace_and_by_name(default: list[Manifest]) -> None:
    role = one(default, "Role", "drumline-ingest")
    assert role["metadata"]["namespace"] == NAMESPACE
    (rule,) = role["rules"]
    assert (rule["resources"], rule["resourceNames"]) == (
        ["secrets"],
        [one(default, "Secret")["metadata"]["name"]],
    )
    assert rule["verbs"] == ["get", "update"]


def test_without_the_ingest_no_secret_and_no_review(render: Render) -> None:
    manifests = render({"ingest": {"enabled": False}})
    roles = every(manifests, "ClusterRole") + every(manifests, "Role")
    assert not {"secrets", "tokenreviews.authentication.k8s.io"} & {
        r for role in roles for r in granted(role)
    }


def test_rbac_can_be_left_to_others(render: Render) -> None:
    manifests = render({"rbac": {"create": False}, "serviceAccount": {"create": False, "name": "given"}})
    kinds = {m["kind"] for m in manifests}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"}
    assert one(manifests, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "given"


def test_two_releases_share_no_name(render: Render) -> None:
    first, second = (
        {
            (m["kind"], m["metadata"]["name"])
            for m in render({"priorityClass": {"create": not i}}, release=name)
        }
        for i, name in enumerate(("one", "two"))
    )
    assert not first & second
