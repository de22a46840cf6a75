"""Devices of a node as the capacity has them: counted beside its resources, under names that no resource has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from drumline.core.gang.devices import PREFIX
from drumline.core.gang.types import EMPTY, GangRequest, Node, Refusal, Resources


@dataclass(frozen=True, slots=True)
class Equipment:
    """Devices of a node, counted as if they were resources of it (`device_capacity`)."""

    counts: Resources
    equals: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: EMPTY)  # names of the same devices

    def charged(self, charge: Resources) -> Resources:
        """A charge of an ask, on all names of the devices that it takes."""
        if not self.equals:
            return charge
        total = dict(charge)
        for name, amount in charge.items():
            for other in self.equals.get(name, ()):
                total[other] = total.get(other, 0) + amount
        return total


class Claims(Protocol):
    """Who knows what a gang's claims are (`device_capacity.Devices`)."""

    def resolve(self, request: GangRequest) -> GangRequest | Refusal:
        """The request with its claims as counted resources, or why they can't be counted."""

    def held(self, request: GangRequest) -> GangRequest:
        """The request of a gang that has its nodes."""

    def forget(self, uid: str) -> None:
        """The gang neither waits nor holds anything."""


def in_full(equipment: Mapping[str, Equipment], node: str, charge: Resources) -> Resources:
    """A charge of a gang on a node, on all names of the devices that it takes."""
    known = equipment.get(node)
    return charge if known is None else known.charged(charge)


def equipped(node: Node, equipment: Equipment | None) -> Node:
    """The node with its devices among what it offers."""
    if equipment is None or not equipment.counts:
        return node
    return replace(node, allocatable={**node.allocatable, **equipment.counts})


def bare(node: Node) -> Node:
    """The node without its devices."""
    resources = {name: n for name, n in node.allocatable.items() if not name.startswith(PREFIX)}
    return node if len(resources) == len(node.allocatable) else replace(node, allocatable=resources)
