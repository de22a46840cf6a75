"""Power as the core knows it: budgets of topology domains, and what accelerators draw. Watts at full load.

What one accelerator of a node draws is said by the node itself (an annotation), else by the catalogue's entry whose
labels the node has, else it is the most that any entry with that resource draws: an accelerator that nobody knows is
rather taken for too hungry. All figures are of full load, so a budget holds whatever programs do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from drumline.api.catalog import Catalog
from drumline.api.power import PowerBudget


@dataclass(frozen=True, slots=True)
class Budget:
    """What a domain may draw, watts."""

    level: str
    watts: float
    domain: str = ""  # value of the level's label; "" = each domain of the level


@dataclass(frozen=True, slots=True)
class Rating:
    """What one accelerator draws, watts, on nodes with those labels."""

    resource: str
    watts: float
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Power:
    """All that is known of power; without budgets nothing is metered."""

    budgets: tuple[Budget, ...] = ()
    ratings: tuple[Rating, ...] = ()


@dataclass(frozen=True, slots=True)
class Supply:
    """How a domain with a budget stands, watts."""

    level: str
    domain: str
    budget: float
    drawn: float


NO_POWER: Final = Power()


def budget_of(spec: PowerBudget) -> Budget:
    """The budget as the core knows it."""
    return Budget(spec.level, spec.watts, spec.domain)


def ratings_of(catalog: Catalog) -> tuple[Rating, ...]:
    """What the catalogue says; entries that give no watts are left out."""
    return tuple(
        Rating(entry.resource, entry.watts, tuple(sorted(entry.node_labels.items())))
        for entry in catalog.values()
        if entry.resource and entry.watts
    )
