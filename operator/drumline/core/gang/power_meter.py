"""What domains with a power budget draw, kept up charge by charge.

    drawn by a domain = sum over its nodes of (accelerators charged there x watts of one)

Of the budgets that speak of a domain, the one that names it by its path holds, else the one that names it by its label's
value alone, else the one for each domain of its level.

A view of the capacity tells its meter of every charge, so pods of others count too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from drumline.core.gang.power import Budget, Coverage, Power, Supply, claimed, shown
from drumline.core.gang.topology import Path, Topology
from drumline.core.gang.types import Node, Resources

PER_WATT: Final = (
    1000  # milliwatts are whole numbers: what is added and taken away again leaves nothing behind
)

Key = tuple[str, Path]  # level, domain


@dataclass(frozen=True, slots=True)
class _Place:
    """What the meter knows of a node."""

    each: Mapping[str, int]  # resource, or `claimed` → milliwatts of one
    keys: tuple[Key, ...]  # domains with a budget, fine to coarse


class PowerMeter:
    """What every domain with a budget draws, charge by charge."""

    def __init__(self, power: Power, topology: Topology) -> None:
        self._power = power
        self._by_precision = sorted(power.budgets, key=lambda b: (b.domain != "", "/" in b.domain))
        self._topology = topology
        self._most: dict[str, int] = {}
        for rating in power.ratings:
            known = self._most.get(rating.resource, 0)
            self._most[rating.resource] = max(known, round(rating.watts * PER_WATT))
        self._claimed_as = {claimed(r.type): r.resource for r in power.ratings if r.type}
        self._alike: dict[tuple[int, ...], dict[str, int]] = {}  # one mapping for all nodes that are alike
        self._places: dict[str, _Place] = {}
        self._drawn: Counter[Key] = Counter()
        self._members: dict[Key, set[str]] = {}
        self._budgets: dict[Key, int] = {}
        self._claimed: Counter[Key] = Counter()

    @property
    def idle(self) -> bool:
        """Whether there is no budget at all."""
        return not self._power.budgets

    def set_node(self, name: str, node: Node | None, used: Resources) -> None:
        """A node came, changed or (None) went; `used` is what is charged on it. What a gone node draws is nothing."""
        if self.idle:
            return
        known = self._places.pop(name, None)
        if known is not None:
            self._count(name, known, used, -1)
        if node is not None:
            place = self._places[name] = _Place(self._each(node), self._keys(node))
            self._count(name, place, used, 1)

    def recharge(self, name: str, before: Resources, after: Resources) -> None:
        """A charge on a node was replaced by another."""
        place = self._places.get(name)
        if place is None:
            return
        change = _draw(place, after) - _draw(place, before)
        for key in place.keys if change else ():
            self._drawn[key] += change

    def heeds(self, amounts: Resources) -> bool:
        """Whether any of that draws power that is budgeted."""
        return not self.idle and any(n in self._most or n in self._claimed_as for n in amounts)

    def draw(self, name: str, requests: Resources) -> int:
        """Milliwatts of that much on a node."""
        place = self._places.get(name)
        return 0 if place is None else _draw(place, requests)

    def left(self) -> dict[Key, int]:
        """Milliwatts left in each domain with a budget, finer domains first; below 0 where it is exceeded."""
        keys = sorted(self._members, key=_fine_first)
        return {key: self._budgets[key] - self._drawn[key] - self._claimed[key] for key in keys}

    def claim(self, milliwatts: Mapping[Key, int]) -> None:
        """So much is left for nobody else, until `unclaim`."""
        self._claimed.update(milliwatts)

    def unclaim(self) -> None:
        """Nothing is claimed any more."""
        self._claimed.clear()

    def members(self, key: Key) -> frozenset[str]:
        """The domain's nodes."""
        return frozenset(self._members.get(key, ()))

    def keys(self, name: str) -> tuple[Key, ...]:
        """The domains with a budget that a node is in, finer ones first."""
        return self._places[name].keys if name in self._places else ()

    def supplies(self) -> tuple[Supply, ...]:
        """How every domain with a budget stands, in natural order."""
        return tuple(map(self.supply, sorted(self._members)))

    def supply(self, key: Key) -> Supply:
        """How a domain with a budget stands."""
        return Supply(key[0], shown(key[1]), self._budgets[key] / PER_WATT, self._drawn[key] / PER_WATT)

    def coverage(self) -> tuple[Coverage, ...]:
        """The domains of which each budget speaks, in the order of the budgets."""
        own = {(b.level, b.domain.lstrip("/")) for b in self._power.budgets if "/" in b.domain}
        found: dict[tuple[str, str], list[str]] = {}
        for level, path in sorted(self._members):
            whole = shown(path)
            names = {"", whole} if (level, whole) in own else {"", whole, path[-1]}
            for name in names:
                found.setdefault((level, name), []).append(whole)
        return tuple(
            Coverage(b.level, b.domain, tuple(found.get((b.level, b.domain.lstrip("/")), ())))
            for b in self._power.budgets
        )

    def _count(self, name: str, place: _Place, used: Resources, sign: int) -> None:
        for key in place.keys:
            members = self._members.setdefault(key, set())
            (members.add if sign > 0 else members.discard)(name)
            self._drawn[key] += sign * _draw(place, used)
            if not members:
                del self._members[key], self._drawn[key]

    def _each(self, node: Node) -> dict[str, int]:
        each = dict(self._most)
        if node.accelerator_watts:
            each = dict.fromkeys(each, round(node.accelerator_watts * PER_WATT))
        else:
            for rating in self._power.ratings:
                known = rating.watts and rating.labels
                if known and all(node.labels.get(key) == value for key, value in rating.labels):
                    each[rating.resource] = round(rating.watts * PER_WATT)
        alike = tuple(each.values())
        if alike not in self._alike:
            by_claim = {name: each[resource] for name, resource in self._claimed_as.items()}
            self._alike[alike] = each | by_claim
        return self._alike[alike]

    def _keys(self, node: Node) -> tuple[Key, ...]:
        found = {}
        for budget in self._by_precision:
            path = self._domain(node, budget.level)
            if path is not None and _names(budget, path):
                found[budget.level, path] = round(budget.watts * PER_WATT)
        self._budgets.update(found)
        return tuple(sorted(found, key=_fine_first))

    def _domain(self, node: Node, level: str) -> Path | None:
        for hierarchy in self._topology.hierarchies:
            depth = hierarchy.depth_of(level)
            path = hierarchy.path(node)[:depth] if depth is not None else ()
            if path and path[-1]:
                return path
        return None


def _draw(place: _Place, amounts: Resources) -> int:
    return sum(amount * place.each[name] for name, amount in amounts.items() if name in place.each)


def _names(budget: Budget, path: Path) -> bool:
    """Whether the budget speaks of that domain."""
    if "/" in budget.domain:
        return budget.domain.lstrip("/") == shown(path)
    return budget.domain in ("", path[-1])


def _fine_first(key: Key) -> tuple[int, Key]:
    return -len(key[1]), key
