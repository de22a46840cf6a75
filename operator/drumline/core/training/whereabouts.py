"""Where the pods of a gang are: on the node of their place, and where that is no node, on the one they were bound to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from drumline.api.status import Avoidance
from drumline.core.gang.clock import unix
from drumline.core.training.departing import departing
from drumline.core.training.observation import Observation
from drumline.core.training.view import View

MAX_GOING: Final = 32  # nodes about to go that a pod is kept off by name


def unnamed(view: View) -> int:
    """How many nodes are about to go that pods pinned to no node are not kept off."""
    return max(0, len(departing(view)) - MAX_GOING)


def nodes_of(obs: Observation) -> tuple[str, ...]:
    """The node of each place by index, "" for one that is not known yet; none while the placement is not known."""
    if obs.placement is None:
        return ()
    if not obs.bound:
        return obs.placement.nodes
    return tuple(node or obs.bound.get(i, "") for i, node in enumerate(obs.placement.nodes))


def barred(view: View) -> Iterator[tuple[str, bool]]:
    """Nodes that a pod pinned to no node is kept off, and whether it must not go there even for want of others.

    Every pod names each of them. Of those that are about to go only the MAX_GOING that go first are named, so that a pod
    stays small while a whole cluster is maintained; a gang that comes to another of them moves (`departure`).
    """
    going = departing(view)
    soonest = sorted(going.values(), key=lambda d: (d.at, d.node))
    yield from ((d.node, True) for d in soonest[:MAX_GOING])
    for node in view.status.excluded_nodes:
        if unix(node.until) > view.now and node.name not in going:
            yield node.name, node.avoid is Avoidance.ALWAYS
