"""What is rendered for an InferenceService, before a real API server: nothing of it is refused or unknown.

On a cluster of its own: the Gateway API's CRDs would be noticed by other tests' operators.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from drumline.api.catalog import Catalog
from drumline.api.inference import InferenceServiceSpec
from drumline.api.inference_model import Engine
from drumline.api.inference_status import GroupStatus
from drumline.core.gang.meta import ObjectMeta
from drumline.core.inference.children import Split, budgets, role_manifest, services
from drumline.core.inference.children_routes import pools, routes
from drumline.core.inference.observation import Settings
from drumline.core.inference.render import owner_of, prepare_group, revision_manifest, revision_name
from e2e.cluster.provider import Cluster, KubectlError
from tests.integration import gateway_api

Manifest = dict[str, Any]
SECURE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="module")
def gateways(own_cluster: Cluster) -> Cluster:
    """A cluster that has the Gateway API."""
    for crd in gateway_api.crd_files():
        own_cluster.kubectl("apply", "--server-side", "-f", str(crd))
        own_cluster.kubectl("wait", "--for=condition=Established", "-f", str(crd), "--timeout=60s")
    return own_cluster


@pytest.fixture
def strict(gateways: Cluster) -> Iterator[str]:
    """A namespace in which only restricted pods may be."""
    name = f"strict-{uuid.uuid4().hex[:8]}"
    gateways.kubectl("create", "namespace", name)
    gateways.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    gateways.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=60s")
    yield name
    gateways.kubectl("delete", "namespace", name, "--wait=false")


def spec(engine: str = "vllm", **changes: Any) -> InferenceServiceSpec:
    container = {"name": "engine", "image": "engine:1", "securityContext": SECURE}
    template = {"spec": {"containers": [container]}}
    h100 = {"type": "nvidia-h100-80gb"}
    raw: Manifest = {
        "engine": engine,
        "model": {
            "name": "llama",
            "cache": {"claimName": "weights", "subPath": "llama"},
            "secretRef": {"name": "token"},
            "adapters": [{"name": "a", "source": "/adapters/a"}],
        },
        "speculative": {"draftModel": {"name": "tiny"}, "disableAboveRunning": 8},
        "kvTransfer": {"connector": "NixlConnector", "port": 5600, "parameters": {"x": "1"}},
        "roles": [
            {"name": "prefill", "accelerator": h100, "template": template},
            {"name": "decode", "accelerator": h100, "template": template, "groupSize": 2},
        ],
        **changes,
    }
    return InferenceServiceSpec.model_validate(raw)


def meta(namespace: str) -> ObjectMeta:
    return ObjectMeta(namespace, "chat", str(uuid.uuid4()), 1, "1", 0.0)


def stored(cluster: Cluster, namespace: str, found: InferenceServiceSpec) -> ObjectMeta:
    """A service that is there: what an owner that is not owns is collected as garbage."""
    manifest = {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": found.to_json(),
    }
    return replace(meta(namespace), uid=apply(cluster, manifest)["metadata"]["uid"])


def pod(service: ObjectMeta, found: InferenceServiceSpec, role: str, worker: int, node: str = "") -> Manifest:
    group = GroupStatus(id=3, revision=revision_name(service.name, found), attempt=1)
    prepared = prepare_group(service, found, role, group, Catalog.default(), Settings(), "")
    return prepared.pod(worker, node)


def apply(cluster: Cluster, manifest: Manifest, *options: str) -> Manifest:
    command = ("apply", "--server-side", "--validate=strict", "-o", "json", *options, "-f", "-")
    applied: Manifest = json.loads(cluster.kubectl(*command, stdin=json.dumps(manifest)))
    return applied


@pytest.mark.parametrize("engine", [e.value for e in Engine])
@pytest.mark.parametrize(("role", "worker"), [("prefill", 0), ("decode", 0), ("decode", 1)])
def test_pods_of_every_engine_are_restricted_and_have_no_unknown_field(
    gateways: Cluster, strict: str, engine: str, role: str, worker: int
) -> None:
    manifest = pod(meta(strict), spec(engine), role, worker, "some-node")
    taken = apply(gateways, manifest, "--dry-run=server")
    assert taken["spec"]["containers"][0].get("args") == manifest["spec"]["containers"][0].get("args")
    assert taken["spec"]["restartPolicy"] == "Never"
    assert bool(taken["spec"].get("readinessGates")) is (worker == 0)


def test_an_edge_pod_is_taken_too(gateways: Cluster, strict: str) -> None:
    template = {"spec": {"containers": [{"name": "e", "image": "e:1", "securityContext": SECURE}]}}
    roles = [{"name": "serve", "accelerator": {"type": "cpu"}, "template": template}]
    edge = spec("llamacpp", profile="edge", roles=roles, speculative=None, kvTransfer=None)
    taken = apply(gateways, pod(meta(strict), edge, "serve", 0), "--dry-run=server")
    assert taken["spec"]["restartPolicy"] == "Always"
    assert all("tolerationSeconds" not in t for t in taken["spec"]["tolerations"])


def test_a_pod_that_is_not_restricted_is_refused_there(gateways: Cluster, strict: str) -> None:
    manifest = pod(meta(strict), spec(), "prefill", 0)
    manifest["spec"]["containers"][0].pop("securityContext")
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        apply(gateways, manifest, "--dry-run=server")


def test_generated_objects_are_taken_and_the_same_again_changes_nothing(
    gateways: Cluster, strict: str
) -> None:
    routing = {"gateway": {"name": "front"}, "inferencePool": {"endpointPicker": "picker"}}
    was, now = spec(), spec(routing=routing)
    owner = owner_of(stored(gateways, strict, now))
    split = Split("chat-aaaaaaaaaa", "chat-bbbbbbbbbb", 5)
    revisions = {split.stable: was, split.canary: now}
    found = [
        *services(owner, now, revisions, split),
        *budgets(owner, {"prefill": 1, "decode": 4}, 1),
        *pools(owner, now, revisions, split),
        *routes(owner, now, split, pooled=True),
        *routes(owner, now),
    ]
    assert len({resource for resource, _ in found}) == 4
    for _, manifest in found:
        first, again = apply(gateways, manifest), apply(gateways, manifest)
        assert (first["metadata"]["uid"], first["spec"]) == (again["metadata"]["uid"], again["spec"])
        assert first["metadata"]["annotations"] == manifest["metadata"]["annotations"]


def test_a_role_and_a_revision_are_taken(gateways: Cluster, strict: str) -> None:
    found = spec()
    owner = owner_of(stored(gateways, strict, found))
    child = apply(gateways, role_manifest(owner, "decode", 3))
    assert child["spec"] == {"service": "chat", "role": "decode", "replicas": 3}
    kept = apply(gateways, revision_manifest(owner, revision_name("chat", found), 1, found))
    assert InferenceServiceSpec.model_validate(kept["data"]["spec"]) == found
