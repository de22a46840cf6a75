"""The CRDs of InferenceServices on a real API server: what they take, what they refuse, and the scale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from drumline.api.crd import crd
from drumline.api.crd_kinds import INFERENCE_ROLE, INFERENCE_SERVICE
from drumline.api.meta import API_VERSION, INFERENCE_ROLES, INFERENCE_SERVICES
from drumline.api.validation_inference import parse_service
from e2e.cluster.provider import Cluster
from tests.integration.admission import admission, install
from tests.unit.api.inference_specs import full, malformed, role

pytestmark = pytest.mark.cluster
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("inference-*.yaml"))


@pytest.fixture(scope="module", autouse=True)
def _crds(cluster: Cluster) -> None:
    for plural in (INFERENCE_SERVICES, INFERENCE_ROLES):
        install(cluster, plural)


def service(spec: Any, name: str = "chat") -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "InferenceService", "metadata": {"name": name}, "spec": spec}


def scale_child(name: str, replicas: int) -> dict[str, Any]:
    spec = {"service": "chat", "role": "decode", "replicas": replicas}
    return {"apiVersion": API_VERSION, "kind": "InferenceRole", "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize("kind", [INFERENCE_SERVICE, INFERENCE_ROLE])
def test_they_are_served_as_written(cluster: Cluster, kind: Any) -> None:
    served = cluster.get("crd", f"{kind.plural}.drumline.dev")
    assert served["spec"]["versions"][0]["schema"] == crd(kind)["spec"]["versions"][0]["schema"]
    assert "NonStructuralSchema" not in {c["type"] for c in served["status"]["conditions"]}
    document = json.dumps(crd(kind))
    assert len(document) < 256 * 1024
    cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=document)


async def test_valid_specs_are_taken_and_defaulted_as_the_models_do(cluster: Cluster, namespace: str) -> None:
    examples = [yaml.safe_load(file.read_text(encoding="utf-8"))["spec"] for file in EXAMPLES]
    specs = [full(), {"roles": [role()]}, *examples]
    assert len(specs) >= 5
    async with admission(cluster, namespace, INFERENCE_SERVICES) as api:
        answers = await api.ask_all(service(raw) for raw in specs)
    for raw, answer in zip(specs, answers, strict=True):
        assert answer.accepted, (answer.message, raw)
        assert parse_service(answer.body["spec"]) == parse_service(raw)


async def test_malformed_specs_are_refused_by_name(cluster: Cluster, namespace: str) -> None:
    cases = [(raw, path) for raw, path, refused in malformed() if refused]
    async with admission(cluster, namespace, INFERENCE_SERVICES) as api:
        answers = await api.ask_all(service(raw) for raw, _ in cases)
    taken = [path for (_, path), answer in zip(cases, answers, strict=True) if answer.accepted]
    unnamed = [
        (path, answer.message)
        for (_, path), answer in zip(cases, answers, strict=True)
        if path.rpartition(".")[2].partition("[")[0] not in answer.message
    ]
    assert (taken, unnamed) == ([], [])


async def test_names_that_leave_no_room_for_pods_are_refused(cluster: Cluster, namespace: str) -> None:
    spec = {"roles": [role("serve")]}
    async with admission(cluster, namespace, INFERENCE_SERVICES) as api:
        fits, does_not = await api.ask_all([service(spec, "a" * 40), service(spec, "a" * 41)])
    assert fits.accepted, fits.message
    assert "45 characters" in does_not.message


async def test_a_role_scales_by_kubectl(cluster: Cluster, namespace: str) -> None:
    async with admission(cluster, namespace, INFERENCE_ROLES) as api:
        assert (await api.create(scale_child("chat-decode", 2))).accepted
        status = {"replicas": 2, "readyReplicas": 1, "selector": "drumline.dev/role=decode"}
        written = await api.patch("chat-decode", {"status": status}, "/status")
        assert written.accepted, written.message
        refused = await api.create(scale_child("too-many", 501))
    assert "500" in refused.message
    cluster.kubectl("scale", "infrole/chat-decode", "--replicas=5", "-n", namespace)
    assert cluster.get("infrole", "chat-decode", "-n", namespace)["spec"]["replicas"] == 5
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/inferenceroles/chat-decode/scale"
    scale = json.loads(cluster.kubectl("get", "--raw", path))
    assert scale["status"] == {"replicas": 2, "selector": "drumline.dev/role=decode"}


async def test_what_kubectl_shows(cluster: Cluster, namespace: str) -> None:
    async with admission(cluster, namespace, INFERENCE_SERVICES) as api:
        created = await api.create(service(full(), "shown"))
        assert created.accepted, created.message
        status = {"phase": "Serving", "replicas": 6, "readyReplicas": 5, "rollout": {"phase": "Rolling"}}
        assert (await api.patch("shown", {"status": status}, "/status")).accepted
    head, row = cluster.kubectl("get", "infsvc", "shown", "-n", namespace).splitlines()
    assert head.split() == ["NAME", "PHASE", "READY", "GROUPS", "ROLLOUT", "URL", "AGE"]
    assert row.split()[:5] == ["shown", "Serving", "5", "6", "Rolling"]
    assert "shown" in cluster.kubectl("get", "drumline", "-n", namespace)
