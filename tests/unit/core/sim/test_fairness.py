from __future__ import annotations

import pytest

from drumline.core.sim.fairness import Fairness, divided

WEIGHTS = {"a": 3.0, "b": 2.0, "c": 1.0, "none": 0.0}


@pytest.mark.parametrize(
    ("held", "waiting", "parts"),
    [
        # all want more: by weight
        ({"a": 2, "b": 2, "c": 2}, "abc", {"a": 3, "b": 2, "c": 1}),
        # a wants less than its part: the others share the rest
        ({"a": 1, "b": 2, "c": 3}, "bc", {"b": 10 / 3, "c": 5 / 3}),
        # a wants no more, but holds more than its part
        ({"a": 10, "b": 1, "c": 1}, "bc", {"a": 6, "b": 4, "c": 2}),
        # a holds exactly its part
        ({"a": 3, "b": 2, "c": 1}, "bc", {"b": 2, "c": 1}),
        # what is small enough beside what is not
        ({"a": 1, "b": 11, "c": 0}, "c", {"b": 22 / 3, "c": 11 / 3}),
        # weight 0 is entitled to nothing, whether it waits or not
        ({"a": 2, "none": 2}, ["a", "none"], {"a": 4, "none": 0}),
        ({"a": 2, "none": 2}, "a", {"a": 4, "none": 0}),
        ({"a": 2}, ["none"], {}),
        ({}, "ab", {"a": 0, "b": 0}),
        # a queue of no known weight has 1
        ({"c": 1, "x": 1}, "cx", {"c": 1, "x": 1}),
    ],
)
def test_what_each_is_entitled_to(held: dict[str, int], waiting: list[str], parts: dict[str, float]) -> None:
    assert divided(held, waiting, WEIGHTS) == pytest.approx(parts)


def test_alone_nobody_is_compared() -> None:
    fairness = Fairness(WEIGHTS)
    fairness.advance(10.0, {"a": 1, "b": 1}, "b")
    assert (dict(fairness.held), dict(fairness.entitled)) == ({}, {})


def test_it_adds_up_over_time() -> None:
    fairness = Fairness(WEIGHTS)
    fairness.advance(10.0, {"b": 1, "c": 2}, "bc")
    fairness.advance(5.0, {"b": 3, "c": 0}, "bc")
    assert dict(fairness.held) == {"b": 25.0, "c": 20.0}
    assert fairness.entitled == pytest.approx({"b": 30.0, "c": 15.0})
