"""Quantities are exact and rounded up."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.core.gang.quantity import MAX_VALUE, canonical, spell


@pytest.mark.parametrize(
    ("resource", "quantity", "value"),
    [
        ("cpu", "1", 1000),
        ("cpu", "0.5", 500),
        ("cpu", "250m", 250),
        ("cpu", "1u", 1),
        ("cpu", "1500000n", 2),
        ("cpu", 2, 2000),
        ("cpu", 0.1, 100),
        ("memory", "16Gi", 16 * 1024**3),
        ("memory", "1.5Gi", 3 * 1024**3 // 2),
        ("memory", "0.1Ki", 103),
        ("memory", "128974848", 128974848),
        ("memory", "129e6", 129_000_000),
        ("memory", "1E3", 1000),
        ("memory", "1E", 10**18),
        ("memory", "1Ei", 2**60),
        ("memory", "100m", 1),
        ("memory", "9Ei", MAX_VALUE),
        ("memory", "1e999999", MAX_VALUE),
        ("memory", "1e-999999", 1),
        ("nvidia.com/gpu", "8", 8),
        ("nvidia.com/gpu", "1k", 1000),
        ("pods", "110", 110),
        ("cpu", ".5", 500),
        ("cpu", "5.", 5000),
        ("cpu", "+1", 1000),
        ("requests.cpu", "1", 1000),
    ],
)
def test_canonical(resource: str, quantity: str | float, value: int) -> None:
    assert canonical(resource, quantity) == value


@pytest.mark.parametrize(
    "quantity", ["", "x", "1 Gi", "1gi", "-1", "1e", "1e1.5", "Gi", "0x1", "1_0", "9" * 100]
)
def test_what_is_no_quantity_is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="memory"):
        canonical("memory", quantity)


@given(st.integers(0, 10**9), st.integers(0, 999_999), st.sampled_from(["", "Ki", "Gi", "k", "M", "m"]))
def test_rounds_up_exactly(whole: int, millionths: int, suffix: str) -> None:
    scale = {"": 1, "Ki": 1024, "Gi": 1024**3, "k": 1000, "M": 10**6, "m": Fraction(1, 1000)}[suffix]
    value = (whole + Fraction(millionths, 10**6)) * scale
    assert canonical("memory", f"{whole}.{millionths:06d}{suffix}") == ceil(value)


@given(st.sampled_from(["cpu", "memory", "nvidia.com/gpu", "ephemeral-storage"]), st.integers(0, 2**50))
def test_spelling_reads_back_as_the_same_value(resource: str, value: int) -> None:
    assert canonical(resource, spell(resource, value)) == value


def test_spelling_is_short() -> None:
    assert spell("memory", 16 * 1024**3) == "16Gi"
    assert spell("cpu", 1500) == "1500m"
    assert spell("nvidia.com/gpu", 1024) == "1024"
