"""The metrics of power budgets: what each domain may draw, and what its accelerators draw at full load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from drumline.core.gang.power import Supply
from drumline.runtime.metrics_text import Family

_LABELS: Final = ("level", "domain")
BUDGET: Final = Family(
    "drumline_power_budget_watts", "gauge", "What the accelerators of a domain may draw together.", _LABELS
)
DRAWN: Final = Family(
    "drumline_power_drawn_watts",
    "gauge",
    "What the accelerators given away in a domain draw at full load: an estimate.",
    _LABELS,
)


def lines_of(supplies: Callable[[], tuple[Supply, ...]]) -> Callable[[], Iterator[str]]:
    """Both families with a sample for each domain that has a budget, read at each call."""
    return partial(_lines, supplies)


def _lines(supplies: Callable[[], tuple[Supply, ...]]) -> Iterator[str]:
    found = supplies()
    for family, value in ((BUDGET, "budget"), (DRAWN, "drawn")):
        yield family.head
        for supply in found:
            yield family.line((supply.level, supply.domain), f"{getattr(supply, value):g}")
