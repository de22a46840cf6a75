"""What is refused of accelerators to choose from, by the field that is named."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.api.candidates import choices, following, in_words, with_candidate
from tests.unit.api.specs import errors_of, spec, template

H100, H200 = {"type": "nvidia-h100-80gb"}, {"type": "nvidia-h200-141gb"}
SPOT = {"cloud.google.com/gke-spot": "true"}
RESERVED = {"cloud.google.com/reservation-name": "research"}
V5P = {"type": "tpu-v5p", "topology": "4x4x4"}


def accelerator(first: dict[str, Any] | None = None, *candidates: dict[str, Any], **more: Any) -> Any:
    """`spec.accelerator` with candidates."""
    return {**(first or H100), "candidates": list(candidates), **more}


ACCEPTED: list[dict[str, Any]] = [
    {"accelerator": accelerator(None, H200), "workersPerSlice": 4},
    {"accelerator": accelerator(None, H200, fallbackSeconds=1)},
    {"accelerator": accelerator({**H100, "nodeSelector": RESERVED}, H100, {**H100, "nodeSelector": SPOT})},
    {"accelerator": accelerator(V5P, {**V5P, "topology": "2x2x4"})},
    {"accelerator": {**H100, "nodeSelector": RESERVED}},
    {"accelerator": accelerator()},
    {
        "accelerator": accelerator({**H100, "nodeSelector": SPOT}, H200),
        "template": template(nodeSelector={**SPOT, "zone": "a"}),
    },
]
AT: str = "spec.accelerator.candidates[0]"
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"accelerator": accelerator(None, {"type": "h200"})}, f"{AT}.type", "unknown accelerator 'h200'"),
    ({"accelerator": accelerator(V5P, {"type": "tpu-v5p"})}, f"{AT}.topology", "required on tpu-v5p"),
    (
        {"accelerator": accelerator(V5P, V5P, {**V5P, "topology": "3x3x3"})},
        "spec.accelerator.candidates[1].topology",
        "impossible topology '3x3x3'",
    ),
    ({"accelerator": accelerator(None, {**H200, "topology": "2x2"})}, f"{AT}.topology", "only TPUs have one"),
    ({"accelerator": accelerator(None, {**H200, "chipsPerWorker": 9})}, f"{AT}.chipsPerWorker", "given 9"),
    (
        {"accelerator": accelerator(None, {**H200, "chipsPerWorker": 4})},
        f"{AT}.chipsPerWorker",
        "given a worker of 4 chips of nvidia-h200-141gb, where one of nvidia-h100-80gb has 8; allowed: 8",
    ),
    (
        {"accelerator": accelerator(V5P, {**V5P, "topology": "2x2x4"}), "workersPerSlice": 16},
        AT,
        "with it, spec.workersPerSlice: given 16; allowed: 4",
    ),
    (
        {
            "accelerator": accelerator(V5P, {**V5P, "topology": "2x2x1"}),
            "parallelism": {"tensor": 4, "fsdp": 16},
        },
        AT,
        "with it, spec.parallelism: given fsdp 16",
    ),
    (
        {"accelerator": accelerator(None, H200), "scheduling": {"backend": "kueue"}},
        "spec.accelerator.candidates",
        "allowed: only with spec.scheduling.backend builtin",
    ),
    (
        {"accelerator": {**H100, "fallbackSeconds": 60}},
        "spec.accelerator.fallbackSeconds",
        "given 60 without candidates",
    ),
    (
        {"accelerator": {**H100, "nodeSelector": {"a b": "c"}}},
        "spec.accelerator.nodeSelector",
        "given key 'a b'",
    ),
    (
        {
            "accelerator": accelerator(None, {**H200, "nodeSelector": {"zone": "b"}}),
            "template": template(nodeSelector={"zone": "a"}),
        },
        f"{AT}.nodeSelector",
        "given zone=b, and spec.template.spec.nodeSelector says a",
    ),
    ({"accelerator": accelerator(None, {**H200, "resourceClaim": "gpu"})}, f"{AT}.resourceClaim", "unknown"),
]


@pytest.mark.parametrize("fields", ACCEPTED, ids=str)
def test_accepted(fields: dict[str, Any]) -> None:
    assert errors_of(**fields) == ()


@pytest.mark.parametrize(("fields", "path", "words"), REFUSED, ids=str)
def test_refused(fields: dict[str, Any], path: str, words: str) -> None:
    (error,) = errors_of(**fields)
    assert error.path == path
    assert words in error.message


def test_a_claim_is_of_one_type() -> None:
    claims = template(resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "eight"}])
    errors = errors_of(accelerator=accelerator({**H100, "resourceClaim": "gpu"}, H200), template=claims)
    assert "spec.accelerator.candidates" in {e.path for e in errors}


def test_what_is_wrong_anyhow_is_said_once() -> None:
    (error,) = errors_of(accelerator=accelerator(None, H200), elastic={"minSlices": 2, "maxSlices": 3})
    assert error.path == "spec.slices"


def test_the_effective_spec() -> None:
    written = spec(
        accelerator=accelerator({**H100, "nodeSelector": RESERVED}, {**H200, "nodeSelector": SPOT})
    )
    assert with_candidate(written, 0) is written
    assert with_candidate(written, 2) is written  # there is no such candidate
    effective = with_candidate(written, 1)
    assert (effective.accelerator.type, dict(effective.accelerator.node_selector)) == (
        "nvidia-h200-141gb",
        SPOT,
    )
    assert choices(effective) == choices(written) == 2
    assert with_candidate(effective, 1) == effective
    assert [following(effective, n) for n in (0, 1)] == [1, 0]
    assert in_words(effective, 1) == "nvidia-h200-141gb with cloud.google.com/gke-spot=true"
    assert in_words(effective, 0) == "its first accelerator"
