"""What the operator's service account may and may not do, asked of a real authoriser."""

from __future__ import annotations

import json
import ssl
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.provider import Cluster
from tests.integration.chart import Helm

pytestmark = pytest.mark.cluster

HERE, THERE, EVERYWHERE = "its own namespace", "another namespace", ""

Right = tuple[str, str, str, str, str]  # verb, API group, resource[/subresource], name, where

CORE, APPS, OURS, DISCOVERY = "", "apps", "drumline.dev", "discovery.k8s.io"
LEASES = "coordination.k8s.io"
RBAC = "rbac.authorization.k8s.io"


def rights(group: str, resources: str, verbs: str, where: str = THERE, name: str = "") -> list[Right]:
    return [(verb, group, resource, name, where) for resource in resources.split() for verb in verbs.split()]


MAY = [
    *rights(CORE, "nodes pods", "get list watch", EVERYWHERE),
    *rights("scheduling.k8s.io", "priorityclasses", "list watch", EVERYWHERE),
    *rights("resource.k8s.io", "resourceslices deviceclasses", "list watch", EVERYWHERE),
    *rights("resource.k8s.io", "resourceclaims resourceclaimtemplates", "list watch", EVERYWHERE),
    *rights(OURS, "acceleratorqueues", "get list watch", EVERYWHERE),
    *rights(OURS, "acceleratorqueues/status", "patch", EVERYWHERE),
    *rights(CORE, "namespaces", "list watch", EVERYWHERE),
    *rights(CORE, "persistentvolumes", "get", EVERYWHERE),
    *rights("authentication.k8s.io", "tokenreviews", "create", EVERYWHERE),
    *rights(OURS, "trainingjobs", "get list watch delete"),
    *rights(OURS, "trainingjobs/status", "patch"),
    *rights(OURS, "inferenceservices", "get list watch"),
    *rights(OURS, "inferenceservices/status inferenceroles/status", "patch"),
    *rights(OURS, "inferenceroles", "get list watch create patch delete"),
    *rights(CORE, "pods", "create delete"),
    *rights(CORE, "pods/status", "patch"),
    *rights("policy", "poddisruptionbudgets", "get list watch create patch delete"),
    *rights(CORE, "services endpoints", "get list watch create patch"),
    *rights(CORE, "services", "delete"),
    *rights(DISCOVERY, "endpointslices", "get list watch create patch"),
    *rights(CORE, "configmaps", "get create patch"),
    *rights(APPS, "controllerrevisions", "get list watch create patch delete"),
    *rights(CORE, "events", "create"),
    *rights(CORE, "resourcequotas", "list watch"),
    *rights(CORE, "persistentvolumeclaims", "get"),
    *rights(LEASES, "leases", "create", HERE),
    *rights(LEASES, "leases", "get update", HERE, "op"),
    *rights(CORE, "configmaps", "get list watch", HERE, "op-catalog"),
    *rights(CORE, "secrets", "get update", HERE, "op-ingest"),
    *rights(CORE, "events", "create", HERE),
]
MAY_NOT = [
    *rights(CORE, "secrets", "get list watch create delete", HERE),
    *rights(CORE, "secrets", "get list update"),
    *rights(CORE, "secrets", "list watch delete patch", HERE, "op-ingest"),
    *rights(CORE, "secrets", "get update", HERE, "another"),
    *rights(CORE, "pods/exec pods/attach pods/portforward pods/ephemeralcontainers pods/binding", "create"),
    *rights("resource.k8s.io", "resourceclaims resourceclaimtemplates", "create update patch delete"),
    *rights("resource.k8s.io", "resourceslices deviceclasses", "create update patch delete", EVERYWHERE),
    *rights(CORE, "pods/log", "get"),
    *rights(CORE, "pods", "patch update deletecollection"),
    *rights(CORE, "pods/status", "update"),
    *rights(CORE, "serviceaccounts/token", "create"),
    *rights(CORE, "serviceaccounts", "impersonate create"),
    *rights(CORE, "nodes", "patch update delete create", EVERYWHERE),
    *rights(CORE, "namespaces", "create delete patch", EVERYWHERE),
    *rights(CORE, "endpoints configmaps", "delete"),
    *rights(CORE, "configmaps persistentvolumeclaims", "list"),
    *rights(CORE, "configmaps", "list watch", HERE),
    *rights(CORE, "configmaps", "list watch", HERE, "another"),
    *rights(CORE, "configmaps", "delete", HERE, "op-catalog"),
    *rights(OURS, "trainingjobs inferenceservices", "create update patch"),
    *rights(OURS, "inferenceservices", "delete"),
    *rights(OURS, "acceleratorqueues", "create update patch delete", EVERYWHERE),
    *rights("gateway.networking.k8s.io", "httproutes", "get list watch create patch delete"),
    *rights("autoscaling.x-k8s.io", "provisioningrequests", "get list watch create delete"),
    *rights(CORE, "podtemplates", "get list watch create delete"),
    *rights(APPS, "deployments daemonsets statefulsets", "create patch delete"),
    *rights(LEASES, "leases", "get update", HERE, "another"),
    *rights(LEASES, "leases", "list delete", HERE),
    *rights(LEASES, "leases", "get update create", "kube-system", "kube-scheduler"),
    *rights(RBAC, "clusterroles roles clusterrolebindings rolebindings", "create bind escalate patch"),
    *rights("apiextensions.k8s.io", "customresourcedefinitions", "create patch delete", EVERYWHERE),
]


@pytest.fixture
def account(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[str]:
    """User name of the service account of a release that has one namespace-wide and one cluster-wide half."""
    yield from _release(cluster, namespace, tmp_path, {})


@pytest.fixture
def limited_account(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[str]:
    """The same, for a release that looks after its own namespace only."""
    yield from _release(cluster, namespace, tmp_path, {"namespace": namespace})


def _release(cluster: Cluster, namespace: str, home: Path, values: dict[str, Any]) -> Iterator[str]:
    helm = Helm(cluster, namespace, home)
    helm.install({"replicas": 0, **values})
    yield f"system:serviceaccount:{namespace}:op"
    helm.uninstall()


def ask(cluster: Cluster, user: str, own: str, wanted: Iterable[Right]) -> dict[Right, bool]:
    """The authoriser's answer to each of these, in one request of kubectl."""
    wanted = list(wanted)
    reviews = {"apiVersion": "v1", "kind": "List", "items": [review(user, own, right) for right in wanted]}
    lines = cluster.kubectl(
        "create", "-f", "-", "-o", "jsonpath={.status.allowed}{'\\n'}", stdin=json.dumps(reviews)
    ).split()
    return {right: line == "true" for right, line in zip(wanted, lines, strict=True)}


def review(user: str, own: str, right: Right) -> dict[str, Any]:
    verb, group, resource, name, where = right
    resource, _, subresource = resource.partition("/")
    attributes = {
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "name": name,
    }
    attributes["namespace"] = {HERE: own, THERE: "default"}.get(where, where)
    account = user.split(":")[2]
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{account}", "system:authenticated"]
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }


def test_it_may_do_what_it_has_to(cluster: Cluster, namespace: str, account: str) -> None:
    answers = ask(cluster, account, namespace, MAY)
    assert [right for right, allowed in answers.items() if not allowed] == []


def test_it_may_do_nothing_else(cluster: Cluster, namespace: str, account: str) -> None:
    answers = ask(cluster, account, namespace, MAY_NOT)
    assert [right for right, allowed in answers.items() if allowed] == []


def test_with_one_namespace_it_writes_in_no_other(
    cluster: Cluster, namespace: str, limited_account: str
) -> None:
    here = [(*right[:4], HERE) if right[4] == THERE else right for right in MAY]
    answers = ask(cluster, limited_account, namespace, here)
    assert [right for right, allowed in answers.items() if not allowed] == []
    elsewhere = [
        r for r in MAY if r[4] == THERE and r[:3] not in {(v, CORE, "pods") for v in ("get", "list", "watch")}
    ]
    answers = ask(cluster, limited_account, namespace, elsewhere)
    assert [right for right, allowed in answers.items() if allowed] == []


def test_lease_requests_go_through_the_charts_flow_schema(
    cluster: Cluster, namespace: str, account: str
) -> None:
    token = cluster.kubectl("create", "token", "op", "-n", namespace).strip()
    schema = cluster.get("flowschema", f"{namespace}-op-lease")
    path = f"/apis/{LEASES}/v1/namespaces/{namespace}/leases"
    lease = {"apiVersion": f"{LEASES}/v1", "kind": "Lease", "metadata": {"name": "op"}}

    def matched() -> str:
        return flow_schema_of(cluster, f"{path}?dryRun=All", token, lease)

    end = time.monotonic() + 120  # the API server takes a new schema up within a moment
    while matched() != schema["metadata"]["uid"] and time.monotonic() < end:
        time.sleep(0.2)
    assert matched() == schema["metadata"]["uid"]


def flow_schema_of(cluster: Cluster, path: str, token: str, body: dict[str, Any]) -> str:
    """Uid of the FlowSchema that the API server says it matched this POST with."""
    context = ssl.create_default_context(cadata=cluster.ca.decode())
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(cluster.url + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        return str(answer.headers["X-Kubernetes-PF-FlowSchema-UID"])
