"""What is refused of jobs that may ask for nodes, by the field that is named."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.specs import errors_of

H100 = {"type": "nvidia-h100-80gb"}
UNPINNED = {"mode": "Unpinned"}
PATH = "spec.scheduling.provisioning"
MODE = f"{PATH}.mode"
REQUEST = {"mode": "ProvisioningRequest", "className": "queued-provisioning.gke.io"}


def job(provisioning: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    scheduling = {"provisioning": provisioning or UNPINNED, **more.pop("scheduling", {})}
    return {"accelerator": H100, "workersPerSlice": 4, "scheduling": scheduling, **more}


ACCEPTED = [
    job(),
    job({}),
    job({**UNPINNED, "afterSeconds": 0, "timeoutSeconds": 10}),
    job(scheduling={"placement": {"policy": "Preferred", "level": "block"}}),
    job(accelerator={"type": "tpu-v5p", "topology": "2x2x1"}, workersPerSlice=1),
    job({"mode": "Never"}, spares=1),
    job(parallelism={"tensor": 8}),
    job(REQUEST),
    job(
        {**REQUEST, "parameters": {"maxRunDurationSeconds": "86400"}, "managedResources": ["nvidia.com/gpu"]}
    ),
    job(REQUEST, spares=1),
    job(REQUEST, elastic={"maxSlices": 2}),
    job(REQUEST, scheduling={"placement": {"policy": "Required", "level": "block"}}),
    job(REQUEST, parallelism={"tensor": 16, "scaleUp": "Preferred"}),
    job(REQUEST, accelerator={"type": "tpu-v5p", "topology": "4x4x4"}, workersPerSlice=16),
]
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (job(spares=1), MODE, "given Unpinned with spec.spares 1"),
    (job(elastic={"maxSlices": 2}), MODE, "spec.elastic"),
    (
        job(scheduling={"placement": {"policy": "Required", "level": "block"}}),
        MODE,
        "spec.scheduling.placement.policy Required",
    ),
    (
        job(accelerator={"type": "tpu-v5p", "topology": "4x4x4"}, workersPerSlice=16),
        MODE,
        "slices of 16 hosts",
    ),
    (job(parallelism={"tensor": 16, "scaleUp": "Preferred"}), MODE, "groups of several workers"),
    (
        job(scheduling={"backend": "kai"}),
        "spec.scheduling.provisioning",
        "allowed: only with spec.scheduling.backend builtin",
    ),
    (job({"mode": "Always"}), MODE, "given 'Always'"),
    (job({"mode": "ProvisioningRequest"}), f"{PATH}.className", "required with mode ProvisioningRequest"),
    (
        job({**UNPINNED, "className": "a"}),
        f"{PATH}.className",
        "given with mode Unpinned; allowed: only with",
    ),
    (job({**UNPINNED, "parameters": {"a": "b"}}), f"{PATH}.parameters", "given with mode Unpinned"),
    (job({"managedResources": ["cpu"]}), f"{PATH}.managedResources", "given with mode Never; allowed: only"),
    (job({**REQUEST, "className": "Not A Class"}), f"{PATH}.className", "given 'Not A Class'"),
    (job({**REQUEST, "className": "a" * 254}), f"{PATH}.className", "allowed: at most 253"),
    (job({**REQUEST, "parameters": {"a": "b" * 256}}), f"{PATH}.parameters.a", "at most 255"),
    (job({**REQUEST, "parameters": {f"k{i}": "" for i in range(101)}}), f"{PATH}.parameters", "at most 100"),
    (job({**REQUEST, "managedResources": []}), f"{PATH}.managedResources", "at least 1"),
    (job(REQUEST, scheduling={"backend": "kai"}), PATH, "only with spec.scheduling.backend builtin"),
    (job({**UNPINNED, "timeoutSeconds": 9}), "spec.scheduling.provisioning.timeoutSeconds", "given 9"),
    (job({**UNPINNED, "afterSeconds": -1}), "spec.scheduling.provisioning.afterSeconds", "given -1"),
    (
        job(
            accelerator={
                "type": "tpu-v5p",
                "topology": "2x2x1",
                "candidates": [{"type": "tpu-v5p", "topology": "4x4x4"}],
            },
            workersPerSlice=None,
        ),
        "spec.accelerator.candidates[0]",
        "with it, spec.scheduling.provisioning.mode: given Unpinned with slices of 16 hosts",
    ),
]


@pytest.mark.parametrize("fields", ACCEPTED, ids=str)
def test_accepted(fields: dict[str, Any]) -> None:
    assert errors_of(**fields) == ()


@pytest.mark.parametrize(("fields", "path", "words"), REFUSED, ids=str)
def test_refused(fields: dict[str, Any], path: str, words: str) -> None:
    (error,) = errors_of(**fields)
    assert error.path == path
    assert words in error.message
