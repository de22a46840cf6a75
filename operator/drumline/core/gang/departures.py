"""Nodes that are about to go, by what their cloud says on them: taints and labels, as data.

The keys are facts of GKE: the taint that its node termination handler sets before a machine is stopped, the label that
its maintenance handler sets while hosts of GPU and TPU nodes are maintained, and the label with the time of a scheduled
maintenance. A spot or preemptible machine is stopped SPOT_SECONDS after its notice. Other clouds' keys are settings of
the operator. A cordon is no such sign: what runs on the node may stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from drumline.core.gang.types import Node

TAKEN_SOON: Final = ("cloud.google.com/impending-node-termination",)  # taints
MAINTAINED: Final = ("cloud.google.com/active-node-maintenance",)  # labels
SCHEDULED: Final = "cloud.google.com/scheduled-maintenance-time"  # label: Unix seconds
SPOT: Final = ("cloud.google.com/gke-spot", "cloud.google.com/gke-preemptible")  # labels
SPOT_SECONDS: Final = 30.0
STALE_SECONDS: Final = 3600.0  # a scheduled time that is past by more speaks of a maintenance that is over


@dataclass(frozen=True, slots=True)
class Signals:
    """Keys beside the built-in ones."""

    taints: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Departure:
    """A node that is about to go. `at`: when, Unix seconds, 0 = at any moment; `notice`: it has so many seconds then."""

    node: str
    why: str
    at: float = 0.0
    notice: float | None = None

    def begins(self, lead: float) -> float:
        """From when on it matters to who needs `lead` seconds to leave, Unix seconds."""
        return self.at - lead if self.at else 0.0

    def is_due(self, now: float, lead: float) -> bool:
        """Whether it matters now."""
        return self.begins(lead) <= now and not (self.at and now > self.at + STALE_SECONDS)


def departure_of(node: Node, signals: Signals) -> Departure | None:
    """What a node says of its going; None when it says nothing."""
    taint = next((t.key for t in node.taints if t.key in (*TAKEN_SOON, *signals.taints)), None)
    if taint is not None:
        spot = _holds(node, SPOT) is not None
        return Departure(node.name, f"taint {taint}", notice=SPOT_SECONDS if spot else None)
    label = _holds(node, (*MAINTAINED, *signals.labels))
    if label is not None:
        return Departure(node.name, f"label {label}")
    at = node.labels.get(SCHEDULED, "")
    if at.isdecimal() and len(at) <= 12:
        return Departure(node.name, f"label {SCHEDULED}", at=float(at))
    return None


def _holds(node: Node, labels: Sequence[str]) -> str | None:
    return next((k for k in labels if node.labels.get(k, "false").lower() != "false"), None)
