"""What is refused of a mesh, by the field that is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.parallelism import Parallelism
from tests.unit.api.specs import CPU, GPU, TPU, errors_of

NVL = {"type": "nvidia-gb200"}
FOUR = {"accelerator": GPU, "workersPerSlice": 4}  # 32 chips
ACCEPTED: list[dict[str, Any]] = [
    {**FOUR, "parallelism": {}},
    {**FOUR, "parallelism": {"tensor": 8}},
    {**FOUR, "parallelism": {"tensor": 4, "expert": 2, "fsdp": 4}},
    {**FOUR, "parallelism": {"tensor": 8, "pipeline": 2, "data": 2}},
    {**FOUR, "slices": 3, "parallelism": {"tensor": 2, "context": 4, "data": 12}},
    {**FOUR, "parallelism": {"tensor": 16, "scaleUp": "Preferred"}},
    {"accelerator": NVL, "workersPerSlice": 18, "parallelism": {"expert": 72}},
    {"accelerator": NVL, "workersPerSlice": 4, "parallelism": {"tensor": 8}},
    {"accelerator": TPU, "slices": 2, "parallelism": {"tensor": 16, "fsdp": 4, "data": 2}},
    {**FOUR, "slices": 2, "elastic": {"maxSlices": 3}, "parallelism": {"tensor": 8, "fsdp": 4}},
]
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({**FOUR, "parallelism": {"tensor": 0}}, "spec.parallelism.tensor", "given 0"),
    ({**FOUR, "parallelism": {"sequence": 2}}, "spec.parallelism.sequence", "unknown"),
    ({**FOUR, "parallelism": {"scaleUp": "Never"}}, "spec.parallelism.scaleUp", "given 'Never'"),
    (
        {**FOUR, "parallelism": {"tensor": 8, "data": 3}},
        "spec.parallelism",
        "given data 3 × tensor 8 = 24; allowed: axes whose product is the gang's 32 chips, or no data",
    ),
    (
        {**FOUR, "parallelism": {"pipeline": 3}},
        "spec.parallelism",
        "given pipeline 3 = 3; allowed: a divisor of the gang's 32 chips, data being the rest",
    ),
    (
        {"accelerator": CPU, "parallelism": {"data": 1}},
        "spec.parallelism",
        "given on cpu; allowed: absent, as its workers have no chips",
    ),
    (
        {**FOUR, "parallelism": {"tensor": 8, "expert": 2}},
        "spec.parallelism",
        "allowed: at most 8, the chips of a scale-up domain of nvidia-h100-80gb, or scaleUp: Preferred",
    ),
    (
        {"accelerator": GPU, "slices": 4, "parallelism": {"tensor": 16, "scaleUp": "Preferred"}},
        "spec.parallelism",
        "given tensor × expert = 16; allowed: a divisor of the 8 chips of a slice",
    ),
    (
        {"accelerator": {**NVL, "chipsPerWorker": 4}, "workersPerSlice": 3, "parallelism": {"tensor": 6}},
        "spec.parallelism",
        "given tensor × expert = 6; allowed: a divisor or a multiple of a worker's 4 chips",
    ),
    (
        {"accelerator": NVL, "workersPerSlice": 4, "spares": 1, "parallelism": {"tensor": 8}},
        "spec.spares",
        "given 1 with groups of several workers (tensor × expert = 8 chips); allowed: 0",
    ),
    (
        {**FOUR, "elastic": {"maxSlices": 2}, "parallelism": {"data": 4, "tensor": 8}},
        "spec.parallelism.data",
        "given 4 with spec.elastic; allowed: absent",
    ),
    (
        {**FOUR, "slices": 2, "elastic": {"maxSlices": 2}, "parallelism": {"tensor": 8, "pipeline": 8}},
        "spec.parallelism",
        "given tensor 8 × pipeline 8 = 64 with spec.elastic; allowed: a divisor of the 32 chips of a slice",
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


_axes = st.fixed_dictionaries(
    {name: st.sampled_from([1, 2, 4]) for name in ("fsdp", "tensor", "pipeline", "context", "expert")}
)


@settings(max_examples=40, deadline=None)
@given(axes=_axes, workers=st.sampled_from([1, 2, 4]))
def test_what_data_follows_from_is_what_it_may_say(axes: dict[str, int], workers: int) -> None:
    others, chips = Parallelism(**axes).others, 8 * workers
    free = {"accelerator": GPU, "workersPerSlice": workers}
    lax = {**axes, "scaleUp": "Preferred"}
    inferred = errors_of(**free, parallelism=lax)
    said = errors_of(**free, parallelism={**lax, "data": max(1, chips // others)})
    assert (inferred == ()) is (said == ())
    if inferred == ():
        assert chips % others == 0
