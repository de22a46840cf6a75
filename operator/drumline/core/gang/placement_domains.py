"""Search and fill of topology domains.

Best fit: of the domains that suffice, the one with the fewest free copies, so that large holes stay whole; of equal
ones that in the coarser domains with the fewest, for the same reason. A domain is filled from as few of its children as it takes: while none of them holds what is left, the largest is
filled up; the rest goes where it fits best.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from drumline.core.gang.capacity_index import ROOT, ShapeIndex
from drumline.core.gang.topology import Path


class Draft:
    """Copies taken from an index while a placement is sought; all are given back when the block ends."""

    def __init__(self, index: ShapeIndex) -> None:
        self.index = index
        self._taken: list[tuple[str, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node, copies in reversed(self._taken):
            self.index.shift(node, copies)

    def take(self, node: str, copies: int) -> None:
        """Take copies that are free on a node."""
        self.index.shift(node, -copies)
        self._taken.append((node, copies))

    def exclude(self, nodes: Iterable[str]) -> None:
        """Take all that is free on these nodes."""
        for node in nodes:
            self.take(node, self.index.copies.get(node, 0)) if node in self.index.copies else None

    def fill(self, domain: Path, copies: int) -> list[str]:
        """Take copies inside a domain that has them; a node stands in the result once for each."""
        if len(domain) == self.index.depths:
            self.take(domain[-1], copies)
            return [domain[-1]] * copies
        nodes: list[str] = []
        while len(nodes) < copies:
            left = copies - len(nodes)
            children = self.index.children(domain)
            child = children.best_fit(left) or children.largest()
            if child is None:
                raise ValueError(f"domain {domain} has no {left} copies left")
            nodes += self.fill(child, min(left, self.index.sums[child]))
        return nodes


def find_domain(index: ShapeIndex, copies: int, finest: int, coarsest: int) -> Path | None:
    """The best fit at the finest level that has one, from depth `finest` up to `coarsest` (0 = the cluster)."""
    for depth in range(finest, max(coarsest, 1) - 1, -1):
        domain = _best_fit(index, depth, copies)
        if domain is not None:
            return domain
    return ROOT if coarsest == 0 and index.sums[ROOT] >= copies else None


def smallest_within(index: ShapeIndex, domain: Path, copies: int) -> Path:
    """The best fit at the finest level inside `domain`; the domain itself if nothing in it suffices."""
    if domain == ROOT:
        return find_domain(index, copies, index.depths, 0) or ROOT
    for depth in range(index.depths, len(domain), -1):
        found = _best_at(index, domain, depth, copies)
        if found is not None:
            return found
    return domain


def climb(index: ShapeIndex, start: Path, copies: int, coarsest: int) -> Path | None:
    """The first of `start` and its ancestors, up to depth `coarsest`, that has so many copies."""
    for depth in range(len(start), coarsest - 1, -1):
        domain = start[:depth]
        if (not domain or domain[-1]) and index.sums.get(domain, 0) >= copies:
            return domain
    return None


def common_domain(index: ShapeIndex, nodes: Iterable[str]) -> Path:
    """The smallest domain that all these nodes are in. What its coarser levels are called does not matter."""
    paths = [index.chains[node][-1][0] for node in nodes]
    if not paths:
        return ROOT
    shared = next(
        (d for d, values in enumerate(zip(*paths, strict=True)) if len(set(values)) > 1), len(paths[0])
    )
    named = (depth for depth in range(shared, 0, -1) if paths[0][depth - 1])
    return paths[0][: next(named, 0)]


def _best_fit(index: ShapeIndex, depth: int, copies: int) -> Path | None:
    level = index.level(depth)
    best = level.best_fit(copies)
    if best is None or depth == 1 or level.alone(best):
        return best
    return _tightest(index, ROOT, depth, index.sums[best]) or best


def _tightest(index: ShapeIndex, domain: Path, depth: int, exact: int) -> Path | None:
    """Inside `domain` one with exactly so many copies, none of the level having fewer that suffice, coarse to fine."""
    children = index.children(domain)
    if len(domain) + 1 == depth:
        best = children.best_fit(exact)
        return best if best is not None and best[-1] and index.sums[best] == exact else None
    found = (_tightest(index, child, depth, exact) for child in children.sufficient(exact))
    return next((path for path in found if path is not None), None)


def _best_at(index: ShapeIndex, domain: Path, depth: int, copies: int) -> Path | None:
    children = index.children(domain)
    if len(domain) + 1 == depth:
        return children.best_fit(copies)
    below = (_best_at(index, child, depth, copies) for child in children.sufficient(copies))
    # min keeps the first of equals, and children come in natural order within equal copies
    return min((path for path in below if path is not None), key=index.sums.__getitem__, default=None)
