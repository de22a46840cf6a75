"""Power as the core knows it: budgets of topology domains, and what accelerators draw. Watts at full load.

What one accelerator of a node draws is said by the node itself (an annotation), else by the catalogue's entry whose
labels the node has, else it is the most that any entry with that resource draws: an accelerator that nobody knows is
rather taken for too hungry. All figures are of full load, so a budget holds whatever programs do.

Accelerators that claims bring are no resource of their node. They are charged under a name of their own (`claimed`), by
the type that the gang asks for, and draw what the type's resource does there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from drumline.api.catalog import Catalog
from drumline.api.power import PowerBudget


@dataclass(frozen=True, slots=True)
class Budget:
    """What a domain may draw, watts."""

    level: str
    watts: float
    domain: str = ""  # value of the level's label, or the domain's path; "" = each domain of the level


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


@dataclass(frozen=True, slots=True)
class Coverage:
    """The domains, by their paths, of which a budget speaks now; of one for each domain: all of the level."""

    level: str
    domain: str
    domains: tuple[str, ...]

    @property
    def fault(self) -> str:
        """What is odd about it, for people; "" if nothing is."""
        if not self.domains:
            which = f"{self.level} {self.domain}" if self.domain else f"each {self.level}"
            return f"the power budget of {which} limits nothing: no node is in such a domain"
        if len(self.domains) > 1 and self.domain:
            shown = ", ".join(self.domains[:_NAMED]) + (", …" if len(self.domains) > _NAMED else "")
            return (
                f"the power budget of {self.level} {self.domain} is that of each of {len(self.domains)} domains of "
                f"this name: {shown}; name one by its path"
            )
        return ""


NO_POWER: Final = Power()
_NAMED: Final = 5  # domains in a message


def budget_of(spec: PowerBudget) -> Budget:
    """The budget as the core knows it."""
    return Budget(spec.level, spec.watts, spec.domain)


def shown(path: Sequence[str]) -> str:
    """A domain by its path, as people write it: levels above that its nodes have no label of are left out."""
    return "/".join(path).lstrip("/")


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
