"""What may change in a TrainingJob, on a real API server."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from drumline.api.podtemplate import MUTABLE_SPEC, OPERATOR_FIELDS, POD_SPEC_FIELDS
from e2e.cluster.provider import Cluster
from tests.integration.admission import Admission, admission, install, manifest
from tests.unit.api.malformed import FULL
from tests.unit.api.specs import container, template

pytestmark = pytest.mark.cluster

ALWAYS: list[dict[str, Any]] = [
    {"activeDeadlineSeconds": 10},
    {"activeDeadlineSeconds": None},
    {"ttlSecondsAfterFinished": 10},
    {"ttlSecondsAfterFinished": None},
    {"suspend": True},
    {"slices": 3},
    {"slices": 1},
]
NEVER: list[tuple[dict[str, Any], str]] = [
    ({"framework": "torch"}, "spec.framework"),
    ({"accelerator": {"topology": "4x4x8"}}, "spec.accelerator"),
    ({"accelerator": {"chipsPerWorker": None}}, "spec.accelerator"),
    ({"elastic": None}, "spec.elastic"),
    ({"elastic": {"maxSlices": 4}}, "spec.elastic"),
    ({"workersPerSlice": 32}, "spec.workersPerSlice"),
    ({"workersPerSlice": None}, "spec.workersPerSlice"),
    ({"processesPerWorker": 4}, "spec.processesPerWorker"),
    ({"processesPerWorker": None}, "spec.processesPerWorker"),
    ({"scheduling": {"gangTimeoutSeconds": 60}}, "spec.scheduling"),
    ({"scheduling": {"placement": {"level": "subblock"}}}, "spec.scheduling"),
    ({"managedBy": "example.com/other"}, "spec.managedBy"),
    ({"successPolicy": {"type": "AllWorkers"}}, "spec.successPolicy"),
    ({"failurePolicy": {"maxRestarts": 4}}, "spec.failurePolicy"),
    ({"parallelism": None}, "spec.parallelism"),
    ({"parallelism": {"tensor": 2}}, "spec.parallelism"),
    ({"helpers": None}, "spec.helpers"),
    ({"helpers": [{"name": "loader", "template": template()}]}, "spec.helpers"),
]
WHILE_SUSPENDED: list[tuple[dict[str, Any], str]] = [
    ({"queue": "other"}, "spec.queue"),
    ({"queue": None}, "spec.queue"),
    ({"priorityClassName": "low"}, "spec.priorityClassName"),
    ({"template": {"metadata": {"labels": {"team": "b"}}}}, "spec.template"),
    ({"template": {"metadata": {"annotations": None}}}, "spec.template"),
    ({"template": {"spec": {"nodeSelector": {"zone": "b", "pool": "x"}}}}, "spec.template"),
    ({"template": {"spec": {"tolerations": None}}}, "spec.template"),
]
# another value of each kind of field of a pod spec
_OTHER: dict[str, Any] = {
    "boolean": True,
    "integer": 77,
    "string": "other",
    "object": {"other": "x"},
    "array": [{"name": "other"}],
}


@pytest.fixture(scope="module", autouse=True)
def _crd(cluster: Cluster) -> None:
    install(cluster)


async def _created(api: Admission, name: str, suspend: bool) -> None:
    created = await api.create(manifest({**copy.deepcopy(FULL), "suspend": suspend}, name))
    assert created.accepted, created.message


async def _refused(api: Admission, name: str, change: dict[str, Any], path: str) -> None:
    answer = await api.patch(name, {"spec": change})
    assert answer.code == 422, (change, answer.code, answer.message)
    assert path in answer.message
    assert "immutable" in answer.message


@pytest.mark.parametrize("suspend", [True, False])
async def test_never(cluster: Cluster, namespace: str, suspend: bool) -> None:
    name = f"never-{suspend}".lower()
    async with admission(cluster, namespace) as api:
        await _created(api, name, suspend)
        for change, path in NEVER:
            await _refused(api, name, change, path)


async def test_always(cluster: Cluster, namespace: str) -> None:
    async with admission(cluster, namespace) as api:
        await _created(api, "always", suspend=False)
        for change in ALWAYS:
            answer = await api.patch("always", {"spec": change})
            assert answer.accepted, (change, answer.message)


async def test_while_suspended(cluster: Cluster, namespace: str) -> None:
    async with admission(cluster, namespace) as api:
        await _created(api, "running", suspend=False)
        await _created(api, "suspended", suspend=True)
        for change, path in WHILE_SUSPENDED:
            await _refused(api, "running", change, path)
            answer = await api.patch("suspended", {"spec": change})
            assert answer.accepted, (change, answer.message)


async def test_in_the_update_that_suspends_or_resumes(cluster: Cluster, namespace: str) -> None:
    change = {"queue": "night", "template": {"spec": {"nodeSelector": {"pool": "a"}}}}
    async with admission(cluster, namespace) as api:
        await _created(api, "moved", suspend=True)
        for suspend in (False, True):
            moved = await api.patch("moved", {"spec": {**change, "suspend": suspend}})
            assert moved.accepted, moved.message
            change = {"queue": "day", "template": {"spec": {"nodeSelector": {"pool": "b"}}}}


@pytest.mark.parametrize("suspend", [True, False])
async def test_every_other_field_of_the_pod_spec(cluster: Cluster, namespace: str, suspend: bool) -> None:
    """While the job is suspended its field is named; else the template is compared as a whole, which is cheap."""
    name = f"pod-spec-{suspend}".lower()
    where = "spec.template.spec.{}" if suspend else "spec.template"
    async with admission(cluster, namespace) as api:
        await _created(api, name, suspend)
        for field, place in POD_SPEC_FIELDS.items():
            if field in (*MUTABLE_SPEC, *OPERATOR_FIELDS, "restartPolicy", "containers", "initContainers"):
                continue
            await _refused(
                api,
                name,
                {"template": {"spec": {field: _OTHER[place["type"]]}}},
                where.format(field),
            )
        for field in ("containers", "initContainers"):
            change = {"template": {"spec": {field: [container(command=["other"])]}}}
            await _refused(api, name, change, where.format(field))
        gone = {"template": {"spec": {"volumes": None, "restartPolicy": None}}}
        await _refused(api, name, gone, where.format("volumes"))


async def test_a_field_that_the_schema_does_not_name(cluster: Cluster, namespace: str) -> None:
    """Frozen while the job runs; while it is suspended CEL can't see it, and the new value is the next attempt's."""
    change = {"template": {"spec": {"fieldOfTheFuture": {"x": 1}}}}
    async with admission(cluster, namespace) as api:
        await _created(api, "future", suspend=False)
        await _refused(api, "future", change, "spec.template")
        answer = await api.patch("future", {"spec": {**change, "suspend": True}})
        assert answer.accepted, answer.message


async def test_status_updates_are_free(cluster: Cluster, namespace: str) -> None:
    async with admission(cluster, namespace) as api:
        await _created(api, "reported", suspend=False)
        answer = await api.patch("reported", {"status": {"phase": "Running", "attempt": 1}}, "/status")
    assert answer.accepted, answer.message
