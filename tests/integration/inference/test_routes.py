"""Routes and pools of the Gateway API, where the cluster has these kinds, and their absence where it has not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from drumline.runtime.errors import NotFound
from e2e.cluster.provider import Cluster
from tests.integration.inference.services import Services
from tests.integration.operator.lab import SECONDS, Manifest
from tests.integration.operators import Operator, leading, make_lab

pytestmark = pytest.mark.cluster

GATEWAY, EXTENSION = "gateway.networking.k8s.io", "inference.networking.k8s.io"
ROUTING = {
    "gateway": {"name": "front", "hostnames": ["chat.example.org"]},
    "inferencePool": {"endpointPicker": "picker"},
}


def crd(group: str, plural: str, kind: str) -> Manifest:
    """A kind that takes whatever it is given: the real schema is Gateway's, what is asked here is presence."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            # the group is Kubernetes' own: the API server wants to know who let it be used
            "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
        },
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


@pytest.fixture(scope="module")
def gateway_cluster(own_cluster: Cluster) -> Cluster:
    """A cluster with the kinds."""
    assert own_cluster.embedded is not None
    kinds = ((GATEWAY, "httproutes", "HTTPRoute"), (EXTENSION, "inferencepools", "InferencePool"))
    api = own_cluster.embedded.api
    for group, plural, kind in kinds:
        api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd(group, plural, kind))
        deadline = time.monotonic() + SECONDS
        while not api.healthy(f"/apis/{group}/v1/{plural}"):
            assert time.monotonic() < deadline, f"{plural} are not served"
            time.sleep(0.1)
    return own_cluster


@pytest.fixture(scope="module")
def gateway_operator(
    gateway_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """An operator that may make routes."""
    log = tmp_path_factory.mktemp("gateway") / "log"
    with leading(gateway_cluster.kubeconfig, log, "--gateway", "on") as running:
        yield running


@pytest.fixture
async def routed(gateway_cluster: Cluster, gateway_operator: Operator) -> AsyncIterator[Services]:
    """What a test asks of services there."""
    async with make_lab(gateway_cluster) as lab:
        yield Services(lab)


async def gone(services: Services, resource: str, name: str) -> None:
    """Until there is no such object."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            await services.get(name, resource)
        except NotFound:
            return
        assert time.monotonic() < deadline, f"{resource}/{name} stays"
        await asyncio.sleep(0.1)


async def appears(services: Services, resource: str) -> Manifest:
    """The only object of that resource, once it is there."""
    deadline = time.monotonic() + SECONDS
    while not (found := await services.lab.list(resource)):
        assert time.monotonic() < deadline, f"no {resource}"
        await asyncio.sleep(0.1)
    (one,) = found
    return one


async def test_a_route_and_a_pool_come_and_go_with_the_spec(routed: Services) -> None:
    await routed.lab.nodes("1 hosts of h100 in blocks of 1")
    await routed.apply(routed.service("chat", routing=ROUTING))
    await routed.ready("chat")
    route = await appears(routed, "httproutes")
    pool = await appears(routed, "inferencepools")
    assert route["spec"]["hostnames"] == ["chat.example.org"]
    assert route["spec"]["parentRefs"][0]["name"] == "front"
    backends: list[dict[str, Any]] = [b for rule in route["spec"]["rules"] for b in rule["backendRefs"]]
    assert [(b["kind"], b["name"]) for b in backends] == [("InferencePool", pool["metadata"]["name"])]
    await routed.patch("chat", {"op": "remove", "path": "/spec/routing/inferencePool"})
    await gone(routed, "inferencepools", pool["metadata"]["name"])
    await routed.patch("chat", {"op": "remove", "path": "/spec/routing/gateway"})
    await gone(routed, "httproutes", route["metadata"]["name"])


async def test_without_the_kinds_a_service_is_ready_all_the_same_and_says_what_is_missing(
    services: Services,
) -> None:
    await services.lab.nodes("1 hosts of h100 in blocks of 1")
    await services.apply(services.service("chat", routing=ROUTING))
    found = await services.ready("chat")
    routed = {c["type"]: c for c in found["status"]["conditions"]}["Routed"]
    assert routed["status"] == "False"


def closed_webhook(namespace: str) -> Manifest:
    """Asked about every route of a namespace, at an address where nobody listens: 500 is the answer to each write."""
    rule = {
        "operations": ["CREATE", "UPDATE"],
        "apiGroups": [GATEWAY],
        "apiVersions": ["v1"],
        "resources": ["httproutes"],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [
            {
                "name": "nobody.example.org",
                "clientConfig": {"url": "https://127.0.0.1:9/"},
                "rules": [rule],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 1,
            }
        ],
    }


async def test_a_route_that_cant_be_written_now_holds_up_no_group_and_is_written_later(
    routed: Services,
) -> None:
    client, name = routed.lab.client, routed.lab.namespace
    hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    await client.request("POST", hooks, body=closed_webhook(name))
    try:
        await routed.lab.nodes("1 hosts of h100 in blocks of 1")
        await routed.apply(routed.service("chat", routing=ROUTING))
        found = await routed.ready("chat")
        said = {c["type"]: c for c in found["status"]["conditions"]}["Routed"]
        assert (said["status"], said["reason"]) == ("False", "CreateRefused")
        assert "httproutes/chat" in said["message"]
        assert await routed.lab.list("httproutes") == []
    finally:
        await client.request("DELETE", f"{hooks}/{name}")
    await appears(routed, "httproutes")
    await routed.until(
        "chat",
        lambda s: {c["type"]: c["status"] for c in s["status"]["conditions"]}["Routed"] == "True",
        "it is not said that the route is there",
    )
