"""The CRD of AcceleratorQueues on a real API server: what it takes, what it refuses, what kubectl shows."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from drumline.api.crd import crd
from drumline.api.crd_kinds import ACCELERATOR_QUEUE
from drumline.api.meta import ACCELERATOR_QUEUES, API_VERSION
from drumline.api.validation_queue import parse_queue
from e2e.cluster.provider import Cluster
from tests.integration.admission import Admission, admission, install
from tests.unit.api.queue_specs import MALFORMED, full

pytestmark = pytest.mark.cluster
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("queue*.yaml"))


@pytest.fixture(scope="module", autouse=True)
def _crd(cluster: Cluster) -> None:
    install(cluster, ACCELERATOR_QUEUES)


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Admission]:
    async with admission(cluster, "", ACCELERATOR_QUEUES) as found:
        yield found


def queue(spec: Any, name: str = "research") -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "AcceleratorQueue", "metadata": {"name": name}, "spec": spec}


def test_it_is_served_as_written(cluster: Cluster) -> None:
    served = cluster.get("crd", f"{ACCELERATOR_QUEUES}.drumline.dev")
    assert served["spec"]["versions"][0]["schema"] == crd(ACCELERATOR_QUEUE)["spec"]["versions"][0]["schema"]
    assert "NonStructuralSchema" not in {c["type"] for c in served["status"]["conditions"]}
    cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(crd(ACCELERATOR_QUEUE)))


async def test_valid_specs_are_taken_and_defaulted_as_the_models_do(api: Admission) -> None:
    documents = [d for file in EXAMPLES for d in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    examples = [d["spec"] for d in documents if d["kind"] == "AcceleratorQueue"]
    specs = [full(), {}, *examples]
    for raw, answer in zip(specs, await api.ask_all(map(queue, specs)), strict=True):
        assert answer.accepted, (answer.message, raw)
        assert parse_queue(answer.body["spec"]) == parse_queue(raw)


async def test_malformed_specs_are_refused_by_name(api: Admission) -> None:
    answers = await api.ask_all(queue(raw) for raw, _ in MALFORMED)
    taken = [path for (_, path), answer in zip(MALFORMED, answers, strict=True) if answer.accepted]
    unnamed = [
        (path, answer.message)
        for (_, path), answer in zip(MALFORMED, answers, strict=True)
        if path.rpartition(".")[2] not in answer.message
    ]
    # what has two quotas is named by the list's key
    assert (taken, [path for path, message in unnamed if "Duplicate value" not in message]) == ([], [])


async def test_a_name_fits_into_a_label(api: Admission) -> None:
    fits, long, dotted = await api.ask_all([queue({}, "7" * 63), queue({}, "a" * 64), queue({}, "a.b")])
    assert fits.accepted, fits.message
    assert not long.accepted
    assert not dotted.accepted


async def test_what_kubectl_shows(cluster: Cluster, api: Admission) -> None:
    name = f"q-{uuid.uuid4().hex[:8]}"
    assert (await api.create(queue(full() | {"default": False}, name))).accepted
    status = {
        "pending": 3,
        "admitted": 2,
        "share": "0.25",
        "conditions": [
            {
                "type": "Active",
                "status": "True",
                "reason": "QueueActive",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    }
    written = await api.patch(name, {"status": status}, "/status")
    assert written.accepted, written.message
    head, row = cluster.kubectl("get", "aq", name).splitlines()
    assert head.split() == ["NAME", "COHORT", "PENDING", "ADMITTED", "SHARE", "ACTIVE", "AGE"]
    assert row.split()[:6] == [name, "all", "3", "2", "0.25", "True"]
    cluster.kubectl("delete", "aq", name)
