"""Topology: hierarchies of domains, from the fabric block down to the node, read from node labels.

A hierarchy is a list of levels, coarse to fine, each the value of one label; below the finest level stands
the node itself, a level named ``node``. A domain is identified by its path, the values from the coarsest level
down to its own, because a label's value need only be unique inside its parent. A node without a level's label
is in the domain "" there, which counts as no domain.

A cluster may have several hierarchies (GPU blocks, TPU node pools). A level's name finds its hierarchy: the
first that has such a level and whose labels some node carries, else the last that has such a level.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from drumline.core.gang.types import Node

Path = tuple[str, ...]
Order = tuple[tuple[tuple[int, int, str], ...], ...]

NODE_LEVEL: Final = "node"
HOST_LEVEL: Final = "host"


@dataclass(frozen=True, slots=True)
class Level:
    """A level's name and the node label that holds a node's domain there."""

    name: str
    label: str

    def domain(self, node: Node) -> str:
        """The node's domain at this level; a node that no label puts on a physical host is its own host."""
        return node.labels.get(self.label) or (node.name if self.name == HOST_LEVEL else "")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Levels from coarse to fine; the node itself is not listed."""

    name: str
    levels: tuple[Level, ...] = ()

    def path(self, node: Node) -> Path:
        """The domains a node is in, coarse to fine, ending with its own name."""
        return (*(level.domain(node) for level in self.levels), node.name)

    def depth_of(self, level: str) -> int | None:
        """Length of a domain's path at this level; None when there is no such level."""
        names = [*(known.name for known in self.levels), NODE_LEVEL]
        if level == HOST_LEVEL and level not in names:
            level = NODE_LEVEL  # where no label tells physical hosts apart, the node is the host
        return names.index(level) + 1 if level in names else None

    def level_name(self, depth: int) -> str:
        """The name of the level whose paths have this length; "cluster" for 0."""
        if depth == 0:
            return "cluster"
        return self.levels[depth - 1].name if depth <= len(self.levels) else NODE_LEVEL


def _levels(prefix: str, **labels: str) -> tuple[Level, ...]:
    return tuple(Level(name, prefix + label) for name, label in labels.items())


PRESETS: Final = MappingProxyType(
    {
        "gke-gpu": Hierarchy(
            "gke-gpu",
            _levels(
                "cloud.google.com/",
                block="gce-topology-block",
                subblock="gce-topology-subblock",
                host="gce-topology-host",
            ),
        ),
        "nvidia": Hierarchy(
            "nvidia",
            _levels(
                "network.topology.nvidia.com/",
                core="core",
                spine="spine",
                leaf="leaf",
                accelerator="accelerator",
            ),
        ),
        "gke-tpu": Hierarchy("gke-tpu", _levels("cloud.google.com/", nodepool="gke-nodepool")),
        "flat": Hierarchy("flat"),
    }
)


@dataclass(frozen=True, slots=True)
class Topology:
    """The hierarchies of a cluster, in order of preference; the last resort is `flat`."""

    hierarchies: tuple[Hierarchy, ...] = tuple(PRESETS.values())

    def hierarchy(self, level: str, labels: Collection[str]) -> Hierarchy | None:
        """The hierarchy for a level ("" = any), given the label keys that nodes carry; None: no such level."""
        able = [h for h in self.hierarchies if not level or h.depth_of(level) is not None]
        present = (h for h in able if any(known.label in labels for known in h.levels))
        return next(present, able[-1] if able else None)

    def level_names(self) -> tuple[str, ...]:
        """Every level that can be asked for."""
        names = (level.name for h in self.hierarchies for level in h.levels)
        return tuple(dict.fromkeys((*names, HOST_LEVEL, NODE_LEVEL)))

    def labels(self) -> frozenset[str]:
        """Every label that a hierarchy reads."""
        return frozenset(level.label for h in self.hierarchies for level in h.levels)


def order_of(path: Iterable[str]) -> Order:
    """Sort key of a path in which numbers sort as numbers (`node-9` before `node-10`)."""
    return tuple(_natural(part) for part in path)


@lru_cache(maxsize=65536)
def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    parts = re.split(r"(\d+)", text)
    return tuple((1, int(part), part) if i % 2 else (0, 0, part) for i, part in enumerate(parts))
