"""What is refused of elastic jobs, by the field that is named."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.api.shape import largest, with_slices
from tests.unit.api.specs import GPU, errors_of, spec

ACCEPTED: list[dict[str, Any]] = [
    {"elastic": {"maxSlices": 1}},
    {"slices": 3, "elastic": {"minSlices": 1, "maxSlices": 4}},
    {"slices": 4, "elastic": {"minSlices": 4, "maxSlices": 4, "waitSeconds": 60, "regrowSeconds": 0}},
    {"slices": 2, "elastic": {"maxSlices": 10_000}},
]
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"slices": 5, "elastic": {"maxSlices": 4}}, "spec.slices", "given 5; allowed: 1 to 4"),
    ({"elastic": {"minSlices": 2, "maxSlices": 4}}, "spec.slices", "given 1; allowed: 2 to 4"),
    (
        {"slices": 2, "elastic": {"minSlices": 3, "maxSlices": 2}},
        "spec.elastic.minSlices",
        "given 3; allowed: at most maxSlices, 2",
    ),
    ({"elastic": {"minSlices": 1}}, "spec.elastic.maxSlices", "required"),
    ({"elastic": {"minSlices": 0, "maxSlices": 4}}, "spec.elastic.minSlices", "given 0"),
    ({"elastic": {"maxSlices": 4, "waitSeconds": -1}}, "spec.elastic.waitSeconds", "given -1"),
    ({"elastic": {"maxSlices": 4, "regrowSeconds": 86401}}, "spec.elastic.regrowSeconds", "given 86401"),
    ({"elastic": {"maxSlices": 10_001}}, "spec.elastic.maxSlices", "given 10001"),
    ({"elastic": {"maxSlices": 4, "maximum": 4}}, "spec.elastic.maximum", "unknown"),
]


@pytest.mark.parametrize("fields", ACCEPTED, ids=str)
def test_accepted(fields: dict[str, Any]) -> None:
    assert errors_of(**fields) == ()


@pytest.mark.parametrize(("fields", "path", "words"), REFUSED, ids=str)
def test_refused(fields: dict[str, Any], path: str, words: str) -> None:
    (error,) = errors_of(**fields)
    assert error.path == path
    assert words in error.message


def test_the_largest_gang_counts_against_the_most_pods() -> None:
    (error,) = errors_of(
        accelerator=GPU, slices=1, workersPerSlice=16, elastic={"minSlices": 1, "maxSlices": 5000}
    )
    assert error.path == "spec.elastic.maxSlices"
    assert "80000 pods" in error.message


def test_names_are_long_enough_for_the_last_slice_there_may_ever_be() -> None:
    name = "x" * 52
    assert errors_of(name, slices=1, elastic={"maxSlices": 10}) == ()
    (error,) = errors_of(name, slices=1, elastic={"maxSlices": 1001})
    assert error.path == "metadata.name"
    assert "-1000-0" in error.message


def test_another_size_changes_nothing_else() -> None:
    before = spec(slices=2, elastic={"maxSlices": 4})
    assert largest(before).slices == 4
    assert with_slices(largest(before), 2) == before
    assert with_slices(before, 2) is before
