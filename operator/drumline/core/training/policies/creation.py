"""Create what is missing of the running attempt, each pod as soon as its node is free of older attempts.

All creates of a plan run concurrently. A helper that depends on another role waits for it. The pods that an
attempt begins with (workers, and helpers that depend on nothing) are only ever created with the rendering it
began with: after an operator upgrade that renders otherwise, an attempt that lacks one of them begins again.
A helper that comes due when they all exist is rendered as of today: a gang that runs is never ended for it. Where the
node of its place is not fit for use by then, or not on record any more, it is pinned to none; where the API server
refuses it, or its name is somebody else's, it is tried again.

What was created is on record, so that a pod that is gone is told from one that is still to come: condition
Admitted has reason `PodsCreated` once all that the attempt begins with is there, and `status.createdHelpers`
names the helpers that came later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from drumline.api.reasons import ConditionType, Reason
from drumline.core.gang.backends.base import BUILTIN
from drumline.core.gang.backing import Backed
from drumline.core.gang.charges import charged
from drumline.core.gang.clock import unix
from drumline.core.gang.lazy import Lazy
from drumline.core.gang.plan import Action, Create, Manifest
from drumline.core.gang.pods import kept_off
from drumline.core.gang.types import Charge, Pod
from drumline.core.training.attempts import finished
from drumline.core.training.backing import backed, backend_of, lost_objects
from drumline.core.training.dependencies import dependent_helpers, dependent_indexes, not_due
from drumline.core.training.render import PreparedGang, placement_hash
from drumline.core.training.rendering import prepared
from drumline.core.training.view import View
from drumline.core.training.whereabouts import barred

# The revision that holds the placement is watched apart from the job and may come into view after it.
PLACEMENT_GONE_SECONDS = 30.0
PLACEMENT_LOOK_SECONDS = 1.0
REFUSED_SECONDS = 15.0  # between tries to create a helper that was refused
NO_BACKEND_SECONDS = 10.0  # between looks for a backend whose API is gone


def creation(view: View) -> View:
    """Create the pods of the running attempt that are due and not there yet."""
    if not view.live:
        return view
    current = view.current()
    view = view.act(*lost_objects(view, current))
    missing = _missing(view, current)
    view, due = _not_refused(view, _due(view, current, missing))
    if not due:
        return _recorded(view, set(current))
    if (pause := _not_yet(view)) is not None:
        return view.again_in(pause)
    gang = prepared(view, view.status.attempt)
    if not dependent_indexes(view).issuperset(missing) and not _same_rendering(view, gang):
        return _begin_again(view)
    batch = due[: view.obs.settings.creates_per_plan]
    view = _create(view.act(*_shared(gang, current)), gang, batch, first=not current)
    if len(batch) < len(due):
        view = view.again_in(0.0)
    return _recorded(view, {*current, *batch})


def _not_yet(view: View) -> float | None:
    """Seconds until it may be known how the pods are to be; None when it is, or never will be."""
    if view.obs.placement is None and _age(view) < PLACEMENT_GONE_SECONDS:
        return PLACEMENT_LOOK_SECONDS
    gone = backend_of(view.status) != BUILTIN and view.obs.backend.adapter is None
    return NO_BACKEND_SECONDS if gone else None


def _create(view: View, gang: PreparedGang, batch: Sequence[int], *, first: bool) -> View:
    """The view in which these pods are created.

    What a backend needs goes before the first of them, and the first one goes alone: should the API server drop what
    makes it one of a gang, none follows it.
    """
    off, behind = tuple(barred(view)), backed(view, gang)
    kept = behind.adapter.kept if behind is not None else None
    pods = [
        Create(
            "pods", Lazy(partial(_pod, gang, i, _node(view, i), off, behind, charge_of(view, i))), kept=kept
        )
        for i in batch
    ]
    if behind is not None and first:
        view, pods = view.act(*behind.objects).act(pods[0]), pods[1:]
    return view.act(*pods)


def _pod(
    gang: PreparedGang,
    index: int,
    node: str | None,
    off: Sequence[tuple[str, bool]],
    behind: Backed | None,
    charge: Charge | None,
) -> Manifest:
    """The pod on its node; one that is pinned to none is kept off the nodes that the gang avoids."""
    pod: Manifest = charged(gang.pod(index, node), charge)
    if behind is not None:
        pod = behind.pod(pod, index)
    if node is not None or not off:
        return pod
    return {**pod, "spec": {**pod["spec"], "affinity": kept_off(pod["spec"].get("affinity"), off)}}


def charge_of(view: View, index: int) -> Charge | None:
    """What a worker counts for in the attempt's queue, and a spare likewise; helpers count for nothing."""
    helper = view.roster.workers <= index < view.roster.size
    if view.status.queue is None or helper:
        return None
    return Charge(view.status.queue, view.spec.accelerator.type, view.shape.chips_per_worker)


def _missing(view: View, current: dict[int, Pod]) -> list[int]:
    succeeded = view.succeeded()
    return [i for i in range(view.roster.size) if i not in current and i not in succeeded]


def _due(view: View, current: dict[int, Pod], missing: list[int]) -> list[int]:
    occupied = occupied_nodes(view)
    waiting = not_due(view, current)
    return [i for i in missing if i not in waiting and _node(view, i) not in occupied]


def _not_refused(view: View, due: list[int]) -> tuple[View, list[int]]:
    """Those that are due without helpers that were refused a moment ago."""
    text, at = view.obs.late_refused
    wait = at + REFUSED_SECONDS - view.now
    if not text or not 0 < wait <= REFUSED_SECONDS:
        return view, due
    later = dependent_indexes(view)
    rest = [i for i in due if i not in later]
    return (view.again_in(wait) if len(rest) < len(due) else view), rest


def occupied_nodes(view: View) -> frozenset[str]:
    """Nodes that a pod of another attempt has not left."""
    attempt = view.status.attempt
    return frozenset(
        p.node
        for p in view.obs.pods.values()
        if p.node and not p.terminal and (p.member is None or p.member.attempt != attempt)
    )


def _node(view: View, index: int) -> str | None:
    """The node that a pod is pinned to; None = it is to no node."""
    node = view.obs.placement.nodes[index] if view.obs.placement is not None else ""
    unfit = node in view.obs.unhealthy and index in dependent_indexes(view)
    return None if unfit else node or None


def _age(view: View) -> float:
    """Seconds since the attempt began."""
    return view.now - unix(view.status.attempts[-1].started_at)


def _same_rendering(view: View, gang: PreparedGang) -> bool:
    placement, written = view.obs.placement, view.status.placement
    if placement is None or written is None:
        return False
    return written.hash == placement_hash(placement, gang.render_hash)


def _begin_again(view: View) -> View:
    text = (
        "the attempt is not whole and its rendering or placement is not to be had any more; starting another"
    )
    view = replace(view, status=finished(view.status, view.now, message=text))
    view = view.condition(ConditionType.RESTARTING, True, Reason.RESTARTING, text)
    return view.event("Normal", Reason.RESTARTING, text).again_in(0.0).done(creation.__name__)


def _shared(gang: PreparedGang, current: dict[int, Pod]) -> tuple[Action, ...]:
    """What pods refer to is there before them; it is written once, with the first of them."""
    return () if current else gang.shared()


def _recorded(view: View, there: set[int]) -> View:
    """Put on record what the attempt has had created; `there` are the indexes that have a pod now."""
    had = there | view.succeeded()
    known = set(view.status.created_helpers)
    known |= {h for h in dependent_helpers(view) if had.issuperset(view.roster.role_range(h))}
    if known != set(view.status.created_helpers):
        view = view.with_status(created_helpers=tuple(sorted(known)))
    dependent = dependent_indexes(view)
    if not all(i in had for i in range(view.roster.size) if i not in dependent):
        return view
    later = sum(h.replicas for h in view.spec.helpers if h.name in known)
    created = view.roster.size - len(dependent) + later
    text = f"attempt {view.status.attempt}: {created} pods created"
    return view.condition(ConditionType.ADMITTED, True, Reason.PODS_CREATED, text)
