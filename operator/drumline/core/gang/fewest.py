"""Searches for few of many things that together do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shortest_beginning(items: Sequence[T], fits: Callable[[Sequence[T]], bool]) -> list[T] | None:
    """The shortest beginning that fits, not the empty one, by bisection; None if not even all do."""
    if not items or not fits(items):
        return None
    low, high = 0, len(items)  # with `low` it does not fit, with `high` it does
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(items[:middle]) else (middle, high)
    return list(items[:high])


def needed(items: Sequence[T], fits: Callable[[Sequence[T]], bool], tries: int | None = None) -> list[T]:
    """Those of `items`, which fit, without which it would not fit: from the last one on each is left out if it can.

    `tries`: of how many it is asked; the others stay.
    """
    kept = list(items)
    for position in reversed(range(len(kept))):
        if tries is not None and len(items) - position > tries:
            break
        fewer = kept[:position] + kept[position + 1 :]
        if fits(fewer):
            kept = fewer
    return kept
