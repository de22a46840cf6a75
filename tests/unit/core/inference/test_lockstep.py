"""What of a revision's groups counts: pairs."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.core.inference.lockstep import loss, paired, share


@pytest.mark.parametrize(
    ("serving", "goal", "expected"),
    [
        ({"serve": 3}, {"serve": 4}, {"serve": 3}),
        ({"p": 1, "d": 1}, {"p": 4, "d": 2}, {"p": 1, "d": 0}),
        ({"p": 2, "d": 1}, {"p": 4, "d": 2}, {"p": 2, "d": 1}),
        ({"p": 4}, {"p": 4, "d": 2}, {"p": 0, "d": 0}),
        ({"p": 4}, {"p": 4, "d": 0}, {"p": 4, "d": 0}),
        ({}, {}, {}),
    ],
)
def test_paired(serving: dict[str, int], goal: dict[str, int], expected: dict[str, int]) -> None:
    assert paired(serving, goal) == expected


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 20), min_size=1),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 20)),
)
def test_the_role_that_is_behind_is_never_held_up(goal: dict[str, int], serving: dict[str, int]) -> None:
    found = paired(serving, goal)
    behind = min(goal, key=lambda role: Fraction(serving.get(role, 0), goal[role]))
    assert found[behind] == serving.get(behind, 0)
    assert all(found[role] <= serving.get(role, 0) for role in goal)


def test_share_is_of_the_scarcest_role_and_at_most_all() -> None:
    assert share({"p": 3, "d": 1}, {"p": 4, "d": 2}) == Fraction(1, 2)
    assert share({"p": 8, "d": 5}, {"p": 4, "d": 2}) == 1
    assert share({}, {"p": 0}) == 1
    assert share({}, {"p": 1}) == 0


def test_what_is_not_paired_costs_nothing() -> None:
    assert loss({"p": 3, "d": 1}, {"p": 4, "d": 2}, "p") == 0
    assert loss({"p": 2, "d": 1}, {"p": 4, "d": 2}, "p") == Fraction(1, 4)
