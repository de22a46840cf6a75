"""The spares of a job: what of its placement they are, and what becomes of them from attempt to attempt.

A placement is the gang's, workers and helpers, then the spares; a spare is one place, on TPU the places of a slice.
`status.placement.lostSpares` has the numbers of those that are of no use any more. The next attempt begins on the
nodes of the last: a spare takes the place of each that must not be used again, and those left stand by again.
"""

from __future__ import annotations

from itertools import chain

from drumline.api.reasons import Reason
from drumline.api.shape import spare_size
from drumline.api.status import PlacementStatus, TrainingJobStatus
from drumline.core.gang.clock import unix
from drumline.core.gang.spares import Group, promote
from drumline.core.gang.types import Placement
from drumline.core.training.departing import departing
from drumline.core.training.observation import Observation
from drumline.core.training.view import View

MAX_NAMED = 4  # promotions in a message
SEEK_SECONDS = 2.0  # that a restart waits at most for admission's word on spares that it lacks

Spares = dict[int, tuple[int, ...]]  # by number: indexes of its places among all spare places, from 0


def group_of(obs: Observation) -> Group:
    """Workers, and how many of them a spare stands for. ValueError without a valid spec."""
    if obs.spec is None or obs.roster is None:
        raise ValueError("a job without a valid spec has no spares")
    return Group(obs.roster.workers, spare_size(obs.spec, obs.roster.workers_per_slice))


def standing_by(obs: Observation, status: TrainingJobStatus) -> Spares:
    """The spares that are held under `status`, which may be one that is still to be written."""
    written = status.placement
    if written is None or not written.spares or obs.spec is None:
        return {}
    size, gone = group_of(obs).together, frozenset(written.lost_spares or ())
    return {n: _places(n, size) for n in range(written.spares) if n not in gone}


def spare_places(view: View) -> int:
    """How many places spares have in the placement that the status names."""
    written = view.status.placement
    return (written.spares or 0) * group_of(view.obs).together if written is not None else 0


def spare_places_held(obs: Observation) -> int:
    """How many places spares have of those that the gang still holds."""
    return sum(map(len, standing_by(obs, obs.status).values()))


def spare_nodes(obs: Observation) -> tuple[str, ...]:
    """The node of each spare place, lost ones included."""
    if obs.roster is None or obs.placement is None:
        return ()
    return obs.placement.nodes[obs.roster.size :]


def carried_over(view: View, placement: Placement, unusable: frozenset[str]) -> Placement | None:
    """The next attempt's placement, from the last one; None when the gang has to be placed anew."""
    written = view.status.placement
    lost = (written.lost_spares or ()) if written is not None else ()
    found = promote(placement.nodes, view.roster.size, group_of(view.obs), unusable, lost)
    return found.placement if found is not None else None


def make_up(view: View) -> bool:
    """Whether nodes of the gang must not be used again, and spares are there for all of them."""
    placement = view.obs.placement
    if placement is None or not spare_places(view):
        return False
    if len(placement.nodes) != view.roster.size + spare_places(view):
        return False
    unusable = view.obs.unhealthy | {n.name for n in view.status.excluded_nodes} | departing(view).keys()
    lost = not unusable.isdisjoint(placement.nodes[: view.roster.size])
    return lost and carried_over(view, placement, unusable) is not None


def seeks_spares(view: View, kept: Placement) -> bool:
    """Whether a gang that keeps its nodes first asks for the spares that it lacks.

    Not where a spare makes up for a loss, which is to be quick, and not for long: it begins without them then.
    """
    if _found(view, kept) >= view.spec.spares or make_up(view):
        return False
    ended = unix(view.status.attempts[-1].finished_at) if view.status.attempts else 0.0
    return view.now - max(ended, unix(view.status.next_attempt_at)) < SEEK_SECONDS


def with_spares(view: View, placement: Placement, written: PlacementStatus) -> PlacementStatus:
    """What the status says of a placement, with its spares; unchanged for a job that asks for none."""
    return written.model_copy(update={"spares": _found(view, placement)}) if view.spec.spares else written


def spares_in_words(view: View, placement: Placement) -> str:
    """How many spares a placement has, for a message; "" for a job that asks for none."""
    asked = view.spec.spares
    if not asked:
        return ""
    found = _found(view, placement)
    bare = found and not view.obs.settings.launcher_image
    without = " (places only: the operator runs without --launcher-image)" if bare else ""
    return f"; {found} of {asked} spare{'' if asked == 1 else 's'}{without}"


def tell_promotion(view: View, placement: Placement, attempt: int) -> View:
    """The view with an event when the attempt that begins has a node that stood by; its old placement is still in it."""
    old = view.obs.placement
    if old is None or not view.spec.spares or view.status.placement is None:
        return view
    before, size, stood_by = old.nodes, view.roster.size, frozenset(spare_nodes(view.obs))
    moved = [
        f"{new} takes the place of {before[i]} (index {i})"
        for i, new in enumerate(placement.nodes[:size])
        if new in stood_by and i < len(before) and new != before[i]
    ]
    if not moved:
        return view
    more = f" and {len(moved) - MAX_NAMED} more" if len(moved) > MAX_NAMED else ""
    text = f"attempt {attempt}: spare {', '.join(moved[:MAX_NAMED])}{more}{spares_in_words(view, placement)}"
    return view.event("Normal", Reason.SPARE_PROMOTED, text)


def lost_nodes(obs: Observation) -> frozenset[str]:
    """Nodes that need not be held any more, since nothing but lost spares was there."""
    written, nodes = obs.status.placement, spare_nodes(obs)
    if written is None or not written.lost_spares or obs.placement is None or obs.roster is None:
        return frozenset()
    size = group_of(obs).together
    lost = set(chain.from_iterable(_places(n, size) for n in written.lost_spares))
    kept = {node for i, node in enumerate(nodes) if i not in lost}
    kept.update(obs.placement.nodes[: obs.roster.size])
    return frozenset(nodes[i] for i in lost if i < len(nodes)) - kept


def _found(view: View, placement: Placement) -> int:
    return (len(placement.nodes) - view.roster.size) // group_of(view.obs).together


def _places(number: int, size: int) -> tuple[int, ...]:
    return tuple(range(number * size, (number + 1) * size))
