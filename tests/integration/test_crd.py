"""The CRD on a real API server: it installs, takes what is valid, and fills in the defaults of the models."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from drumline.api.crd import crd
from drumline.api.validation import parse_spec
from e2e.cluster.provider import Cluster
from tests.integration.admission import admission, install, manifest
from tests.unit.api.malformed import FULL, VALID

pytestmark = pytest.mark.cluster
EXAMPLES = 300


@pytest.fixture(scope="module", autouse=True)
def _crd(cluster: Cluster) -> None:
    install(cluster)


def valid_specs(count: int) -> list[dict[str, Any]]:
    """`count` valid specs, collected so that they can be sent at once."""
    found: list[dict[str, Any]] = []

    @settings(
        max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(VALID)
    def collect(raw: dict[str, Any]) -> None:
        found.append(copy.deepcopy(raw))

    collect()
    return found


def test_it_is_served_as_written(cluster: Cluster) -> None:
    served = cluster.get("crd", "trainingjobs.drumline.dev")
    (version,) = served["spec"]["versions"]
    assert version["schema"] == crd()["spec"]["versions"][0]["schema"]
    assert served["status"]["storedVersions"] == ["v1alpha1"]
    conditions = {c["type"]: c["status"] for c in served["status"]["conditions"]}
    assert (conditions["Established"], conditions["NamesAccepted"]) == ("True", "True")
    assert "NonStructuralSchema" not in conditions


def test_client_side_apply_takes_it(cluster: Cluster) -> None:
    document = json.dumps({**crd(), "metadata": {"name": "trainingjobs.drumline.dev"}})
    cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=document)
    assert len(document) < 256 * 1024


async def test_valid_specs_are_taken_and_defaulted_as_the_models_do(cluster: Cluster, namespace: str) -> None:
    specs = [FULL, *valid_specs(EXAMPLES)]
    async with admission(cluster, namespace) as api:
        answers = await api.ask_all(manifest(raw, "a") for raw in specs)
    for raw, answer in zip(specs, answers, strict=True):
        assert answer.accepted, (answer.message, raw)
        assert parse_spec(answer.body["spec"]) == parse_spec(raw)


async def test_a_template_comes_back_whole(cluster: Cluster, namespace: str) -> None:
    raw = copy.deepcopy(FULL)
    raw["template"]["spec"]["fieldOfTheFuture"] = {"deep": [1, {"er": "x"}]}
    raw["template"]["spec"]["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": 3}}}
    async with admission(cluster, namespace) as api:
        answer = await api.ask(manifest(raw))
    assert answer.body["spec"]["template"] == raw["template"]


async def test_status_is_a_subresource_with_keyed_lists(cluster: Cluster, namespace: str) -> None:
    condition = {"type": "Failed", "status": "True", "reason": "InvalidSpec", "message": "spec.slices"}
    condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    status = {"phase": "Failed", "attempt": 1, "conditions": [condition], "workers": {"desired": 2}}
    async with admission(cluster, namespace) as api:
        created = await api.create({**manifest(FULL, "with-status"), "status": status})
        assert created.accepted, created.message
        assert "status" not in created.body
        written = await api.patch("with-status", {"status": status}, "/status")
        assert written.accepted, written.message
        twice = await api.patch("with-status", {"status": {"conditions": [condition, condition]}}, "/status")
    assert written.body["status"]["conditions"] == [{**condition, "observedGeneration": 0}]
    assert written.body["status"]["workers"] == {"desired": 2, "failed": 0, "ready": 0, "succeeded": 0}
    assert written.body["metadata"]["generation"] == created.body["metadata"]["generation"]
    assert twice.code == 422
    assert "status.conditions[1]" in twice.message


async def test_what_kubectl_shows(cluster: Cluster, namespace: str) -> None:
    async with admission(cluster, namespace) as api:
        created = await api.create(manifest(FULL, "shown"))
        assert created.accepted, created.message
        status = {
            "phase": "Running",
            "attempt": 3,
            "restartCount": 2,
            "workers": {"desired": 32, "ready": 31},
        }
        assert (await api.patch("shown", {"status": status}, "/status")).accepted
    for words in (["tj", "shown"], ["trainingjob", "shown"]):
        head, row = cluster.kubectl("get", *words, "-n", namespace).splitlines()
        assert head.split() == ["NAME", "PHASE", "READY", "DESIRED", "RESTARTS", "ATTEMPT", "AGE"]
        assert row.split()[:6] == ["shown", "Running", "31", "32", "2", "3"]
    assert "shown" in cluster.kubectl("get", "drumline", "-n", namespace)
    wide = cluster.kubectl("get", "tj", "shown", "-n", namespace, "-o", "wide").splitlines()[1].split()
    assert wide[6:10] == ["tpu-v5p", "4x4x4", "2", "research"]
    assert "topology" in cluster.kubectl("explain", "trainingjob.spec.accelerator")
