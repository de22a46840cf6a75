"""Nodes that are about to go, as far as they matter to one job now.

A job needs a while to leave: what a checkpoint on request may take, or without one the time between two checkpoints,
so that the last of them is not missed.
"""

from __future__ import annotations

from typing import Final

from drumline.api.progress import OnRequest
from drumline.api.reasons import Cause
from drumline.api.status import Avoidance, ExcludedNode
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.departures import Departure
from drumline.core.training.progress_render import launches
from drumline.core.training.rendering import reporting
from drumline.core.training.view import View

_UNTIL: Final = 3600.0  # it is asked about again long before


def request(view: View) -> OnRequest | None:
    """How the program is asked for a checkpoint; None where it is not, or no launcher runs that could."""
    known = view.spec.checkpoint.on_request if view.spec.checkpoint is not None else None
    return known if launches(view.spec, reporting(view.obs.settings)) else None


def lead_seconds(view: View) -> float:
    """How long before a node goes the job begins to leave it."""
    asked = request(view)
    if asked is not None:
        return float(asked.grace_seconds)
    known = view.spec.checkpoint
    return float(known.interval_seconds or 0) if known is not None else 0.0


def departing(view: View) -> dict[str, Departure]:
    """All nodes of the cluster that are about to go, by name."""
    if not view.obs.departing:
        return {}
    lead = lead_seconds(view)
    return {name: d for name, d in view.obs.departing.items() if d.is_due(view.now, lead)}


def kept_out(view: View) -> tuple[ExcludedNode, ...]:
    """The same nodes as ones that the gang must not be placed on, for as long as they say so."""
    until = rfc3339_millis(view.now + _UNTIL)
    return tuple(
        ExcludedNode(name=name, until=until, cause=Cause.MAINTENANCE.value, avoid=Avoidance.ALWAYS)
        for name in sorted(departing(view))
    )


def next_look(view: View, nodes: frozenset[str]) -> float | None:
    """Seconds until one of these nodes begins to matter; None when none will by time alone."""
    lead = lead_seconds(view)
    begins = (d.begins(lead) - view.now for name in nodes if (d := view.obs.departing.get(name)) is not None)
    return min((wait for wait in begins if wait > 0), default=None)
