"""Topology: hierarchies of domains, from the fabric block down to the node, read from node labels.

A hierarchy is a list of levels, coarse to fine, each the value of one label; below the finest level stands
the node itself, a level named ``node``. A domain is identified by its path, the values from the coarsest level
down to its own, because a label's value need only be unique inside its parent. A node without a level's label
is in the domain "" there, which counts as no domain.

A level may be marked as *scale-up*: inside one of its domains accelerators talk over a link of their own (NVLink, an
accelerator fabric), far faster than the network between domains. The link of accelerators that no other host shares
ends at the host, whatever is marked.

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
    """A level's name and the node label that holds a node's domain there.

    `others` are labels that say the same on nodes without the first one: the first of them that a node carries counts.
    """

    name: str
    label: str
    others: tuple[str, ...] = ()
    scale_up: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label that it is read from."""
        return (self.label, *self.others)

    def domain(self, node: Node) -> str:
        """The node's domain at this level; a node that no label puts on a physical host is its own host."""
        found = node.labels.get(self.label)
        if not found:
            found = next((node.labels[other] for other in self.others if node.labels.get(other)), "")
        return found or (node.name if self.name == HOST_LEVEL else "")


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

    @property
    def scale_up(self) -> Level | None:
        """The finest level that is marked as scale-up."""
        return next((level for level in reversed(self.levels) if level.scale_up), None)

    def group_depth(self, level: str) -> int:
        """Length of the path of a domain that a group must not leave; `level` "" = scale-up, and the host if none is."""
        marked = self.scale_up
        return (
            self.depth_of(level or (marked.name if marked is not None else HOST_LEVEL))
            or len(self.levels) + 1
        )

    def level_name(self, depth: int) -> str:
        """The name of the level whose paths have this length; "cluster" for 0."""
        if depth == 0:
            return "cluster"
        return self.levels[depth - 1].name if depth <= len(self.levels) else NODE_LEVEL


def _gke(level: str, *, scale_up: bool = False) -> Level:
    return Level(level, f"cloud.google.com/gce-topology-{level}", scale_up=scale_up)


def _topograph(level: str, *others: str, scale_up: bool = False) -> Level:
    return Level(level, f"network.topology.nvidia.com/{level}", others, scale_up)


PRESETS: Final = MappingProxyType(
    {
        # a subblock is one NVLink domain of the types that have any beyond the host
        "gke-gpu": Hierarchy("gke-gpu", (_gke("block"), _gke("subblock", scale_up=True), _gke("host"))),
        # the names of three generations of Topograph's labels, and that of the GPU operator, which it defers to
        "nvidia": Hierarchy(
            "nvidia",
            (
                _topograph("core", "network.topology.nvidia.com/datacenter", "fabric.topograph.run/tier-2"),
                _topograph("spine", "fabric.topograph.run/tier-1"),
                _topograph("leaf", "network.topology.nvidia.com/block", "fabric.topograph.run/tier-0"),
                _topograph(
                    "accelerator", "accelerator.topograph.run/domain", "nvidia.com/gpu.clique", scale_up=True
                ),
            ),
        ),
        "gke-tpu": Hierarchy("gke-tpu", (Level("nodepool", "cloud.google.com/gke-nodepool"),)),
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
        present = (h for h in able if any(key in labels for known in h.levels for key in known.labels))
        return next(present, able[-1] if able else None)

    def scaling_up(self, labels: Collection[str]) -> Hierarchy | None:
        """The first hierarchy of which nodes carry a label of the scale-up level."""
        marked = ((h, h.scale_up) for h in self.hierarchies)
        return next(
            (h for h, up in marked if up is not None and any(key in labels for key in up.labels)), None
        )

    def level_names(self) -> tuple[str, ...]:
        """Every level that can be asked for."""
        names = (level.name for h in self.hierarchies for level in h.levels)
        return tuple(dict.fromkeys((*names, HOST_LEVEL, NODE_LEVEL)))

    def labels(self) -> frozenset[str]:
        """Every label that a hierarchy reads."""
        return frozenset(label for h in self.hierarchies for level in h.levels for label in level.labels)


def order_of(path: Iterable[str]) -> Order:
    """Sort key of a path in which numbers sort as numbers (`node-9` before `node-10`)."""
    return tuple(_natural(part) for part in path)


@lru_cache(maxsize=65536)
def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    parts = re.split(r"(\d+)", text)
    return tuple((1, int(part), part) if i % 2 else (0, 0, part) for i, part in enumerate(parts))
