"""Power as the core knows it: budgets of topology domains, and what accelerators draw. Watts at full load.

What one accelerator of a node draws is said by the node itself (an annotation), else by the catalogue's entry whose
labels the node has, else it is the most that any entry with that resource draws: an accelerator that nobody knows is
rather taken for too hungry. All figures are of full load, so a budget holds whatever programs do.

Accelerators that claims bring are no resource of their node. They are charged under a name of their own (`claimed`), by
the type that the gang asks for, and draw what the type's resource does there.
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
    watts: float  # 0 = it is not known
    labels: tuple[tuple[str, str], ...] = ()
    type: str = ""  # key of the catalogue


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
    """What the catalogue says of every type of accelerator."""
    return tuple(
        Rating(entry.resource, entry.watts or 0.0, tuple(sorted(entry.node_labels.items())), name)
        for name, entry in catalog.items()
        if entry.resource
    )


def claimed(accelerator: str) -> str:
    """The name under which accelerators of a type are charged that claims bring; no resource is called so."""
    return f"accelerators by claim: {accelerator}"
