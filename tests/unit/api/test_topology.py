"""Topologies: what is one, and what the rule of cubes allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.topology import MAX_LENGTH, Cubes, chips, parse


@pytest.mark.parametrize(
    ("text", "axes"),
    [
        ("1x1", (1, 1)),
        ("4x4x8", (4, 4, 8)),
        ("16x16x24", (16, 16, 24)),
        ("4", None),
        ("", None),
        ("0x4", None),
        ("04x4", None),
        ("4x4x4x4", None),
        ("4X4", None),
        (" 4x4", None),
        ("4x4\n", None),
        ("1000x1", None),
        ("٤x٤", None),
    ],
)
def test_parse(text: str, axes: tuple[int, ...] | None) -> None:
    assert parse(text) == axes


@given(st.lists(st.integers(1, 999), min_size=2, max_size=3))
def test_every_topology_is_read_back(axes: list[int]) -> None:
    text = "x".join(map(str, axes))
    assert parse(text) == tuple(axes)
    assert len(text) <= MAX_LENGTH


@given(st.text(max_size=14))
def test_any_text_is_a_topology_or_none(text: str) -> None:
    axes = parse(text)
    assert axes is None or "x".join(map(str, axes)) == text


def test_chips() -> None:
    assert chips("4x4x8") == 128
    with pytest.raises(ValueError, match="no-shape"):
        chips("no-shape")


@pytest.mark.parametrize(
    ("axes", "allowed"),
    [
        ((4, 4, 4), True),
        ((4, 8, 8), True),
        ((8, 4, 8), False),  # not ascending
        ((4, 4, 6), False),  # not a multiple
        ((8, 8, 16), False),  # too large
        ((8, 8), False),  # two axes
    ],
)
def test_cubes(axes: tuple[int, ...], allowed: bool) -> None:
    assert Cubes(multiple_of=4, max_chips=512, ascending=True).allows(axes) is allowed


def test_cubes_in_any_order() -> None:
    free = Cubes(multiple_of=4, max_chips=512)
    assert free.allows((8, 4, 8))
    assert str(free) == "AxBxC with each a multiple of 4, at most 512 chips"
