"""The metrics of power budgets: what each domain may draw, and what its accelerators draw at full load.

A budget may name a domain that no node is in, or several at once: how many it speaks of is a metric too, and the leader
warns of what is odd, each time that it becomes so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from drumline.core.gang.power import Coverage, Supply
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


COVERED: Final = Family(
    "drumline_power_budget_domains",
    "gauge",
    "Domains of which a power budget speaks; empty domain: of the budget for each domain of the level.",
    _LABELS,
)
LOOK_SECONDS: Final = 10.0

logger = logging.getLogger(__name__)


class BudgetWatch:
    """Warns of budgets that speak of no domain, or of several."""

    def __init__(self, coverage: Callable[[], tuple[Coverage, ...]]) -> None:
        self._coverage = coverage
        self._said: frozenset[str] = frozenset()

    def look(self) -> None:
        """Say what has become odd since the last look."""
        odd = frozenset(c.fault for c in self._coverage() if c.fault)
        for fault in sorted(odd - self._said):
            logger.warning("%s", fault)
        self._said = odd

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)


def lines_of(
    supplies: Callable[[], tuple[Supply, ...]], coverage: Callable[[], tuple[Coverage, ...]]
) -> Callable[[], Iterator[str]]:
    """All families, with samples for each domain that has a budget and for each budget, read at each call."""
    return partial(_lines, supplies, coverage)


def _lines(
    supplies: Callable[[], tuple[Supply, ...]], coverage: Callable[[], tuple[Coverage, ...]]
) -> Iterator[str]:
    found = supplies()
    for family, value in ((BUDGET, "budget"), (DRAWN, "drawn")):
        yield family.head
        for supply in found:
            yield family.line((supply.level, supply.domain), f"{getattr(supply, value):g}")
    yield COVERED.head
    for budget in coverage():
        yield COVERED.line((budget.level, budget.domain), f"{len(budget.domains)}")
