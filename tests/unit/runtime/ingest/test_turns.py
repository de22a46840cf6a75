"""Gangs take turns, and of each pod one thing waits."""

import pytest

from drumline.runtime.ingest.turns import Turns

BIG, SMALL = ("big", 1), ("small", 1)


def _drained(turns: Turns[str]) -> list[str]:
    return [turns.pop() for _ in range(len(turns))]


def test_a_small_gang_does_not_wait_for_all_of_a_big_one() -> None:
    turns: Turns[str] = Turns()
    for index in range(10_000):
        turns.put(BIG, f"b{index}", f"b{index}")
    turns.put(SMALL, "s0", "s0")
    turns.put(SMALL, "s1", "s1")
    assert len(turns) == 10_002
    assert _drained(turns)[:5] == ["b0", "s0", "b1", "s1", "b2"]


def test_what_is_newer_takes_the_place_of_what_waited() -> None:
    turns: Turns[str] = Turns()
    turns.put(BIG, "a", "old")
    turns.put(BIG, "b", "b")
    turns.put(BIG, "a", "new")
    assert (turns.get("a"), turns.get("z"), list(turns)) == ("new", None, ["new", "b"])
    assert _drained(turns) == ["new", "b"]


def test_a_pod_that_claims_another_gang_waits_there_alone() -> None:
    turns: Turns[str] = Turns()
    turns.put(BIG, "a", "in big")
    turns.put(SMALL, "a", "in small")
    assert (len(turns), _drained(turns)) == (1, ["in small"])
    with pytest.raises(KeyError):
        turns.pop()


def test_nothing_waits_after_all_is_dropped() -> None:
    turns: Turns[str] = Turns()
    turns.put(BIG, "a", "a")
    turns.clear()
    assert (len(turns), list(turns), turns.get("a")) == (0, [], None)
