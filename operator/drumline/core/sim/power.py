"""What domains with a power budget draw in a simulation, from what gangs hold alone: not by admission's books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from drumline.core.gang.power import Power
from drumline.core.gang.topology import Path, Topology
from drumline.core.gang.types import Node


def overdrawn(
    held: Mapping[str, int], nodes: Mapping[str, Node], power: Power, topology: Topology
) -> Iterator[str]:
    """Each domain that draws more than its budget, in words; `held` are chips by node."""
    drawn: Counter[tuple[str, Path]] = Counter()
    limits: dict[tuple[str, Path], float] = {}
    for name, chips in held.items():
        for key, watts in _limits(nodes[name], power, topology).items():
            limits[key] = watts
            drawn[key] += round(chips * _watts(nodes[name], power))
    for (level, path), watts in drawn.items():
        if watts > limits[level, path]:
            yield f"{level} {'/'.join(path)} draws {watts} W of {limits[level, path]:g} W"


def _limits(node: Node, power: Power, topology: Topology) -> dict[tuple[str, Path], float]:
    found: dict[tuple[str, Path], float] = {}
    for budget in power.budgets:
        for hierarchy in topology.hierarchies:
            path = hierarchy.path(node)[: hierarchy.depth_of(budget.level) or 0]
            if path and path[-1]:
                own = budget.domain == path[-1]
                if own or (not budget.domain and (budget.level, path) not in found):
                    found[budget.level, path] = budget.watts
                break
    return found


def _watts(node: Node, power: Power) -> float:
    """Of one chip: by the node's word, its labels, or at least as much as the least hungry."""
    known = [r for r in power.ratings if r.watts and node.allocatable.get(r.resource)]
    fitting = [r.watts for r in known if r.labels and all(node.labels.get(k) == v for k, v in r.labels)]
    return node.accelerator_watts or (fitting[-1] if fitting else max((r.watts for r in known), default=0.0))
