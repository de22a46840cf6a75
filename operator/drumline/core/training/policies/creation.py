"""Create what is missing of the running attempt, each pod as soon as its node is free of older attempts.

All creates of a plan run concurrently. A helper that depends on another role waits for it. The missing pods
of an attempt are only ever created with the rendering it began with: after an operator upgrade that renders
otherwise, an attempt that is whole is left alone, and one that is not whole begins again.
"""

from __future__ import annotations

from dataclasses import replace

from drumline.api.reasons import ConditionType, Reason
from drumline.api.training import Dependency, DependencyStatus
from drumline.core.gang.plan import Action, Create
from drumline.core.gang.types import Pod, PodPhase
from drumline.core.training.attempts import finished
from drumline.core.training.render import PreparedGang, placement_hash
from drumline.core.training.rendering import prepared
from drumline.core.training.view import View


def creation(view: View) -> View:
    """Create the pods of the running attempt that are not there yet."""
    if not view.live:
        return view
    current = view.current()
    missing = _missing(view, current)
    if not missing:
        return _all_created(view, current)
    gang = prepared(view, view.status.attempt)
    if not _same_rendering(view, gang):
        return _begin_again(view)
    due = _due(view, current, missing)
    limit = view.obs.settings.creates_per_plan
    view = view.act(*_shared(view, gang, current))
    view = view.act(*(Create("pods", gang.pod(i, _node(view, i))) for i in due[:limit]))
    if len(due) > limit:
        return view.again_in(0.0)
    return _all_created(view, current) if len(due) == len(missing) else view


def _missing(view: View, current: dict[int, Pod]) -> list[int]:
    succeeded = view.succeeded()
    return [i for i in range(view.roster.size) if i not in current and i not in succeeded]


def _due(view: View, current: dict[int, Pod], missing: list[int]) -> list[int]:
    attempt = view.status.attempt
    occupied = {
        p.node
        for p in view.obs.pods.values()
        if p.node and not p.terminal and (p.member is None or p.member.attempt != attempt)
    }
    waiting = _waiting_indexes(view, current)
    return [i for i in missing if i not in waiting and _node(view, i) not in occupied]


def _waiting_indexes(view: View, current: dict[int, Pod]) -> frozenset[int]:
    held: set[int] = set()
    for helper in view.spec.helpers:
        if not all(_satisfied(view, d, current) for d in helper.depends_on):
            held.update(view.roster.role_range(helper.name))
    return frozenset(held)


def _satisfied(view: View, dependency: Dependency, current: dict[int, Pod]) -> bool:
    role = "worker" if dependency.name == "workers" else dependency.name
    succeeded = view.succeeded()
    for index in view.roster.role_range(role):
        pod = current.get(index)
        done = index in succeeded or (pod is not None and pod.phase is PodPhase.SUCCEEDED)
        ready = dependency.status is DependencyStatus.READY and pod is not None and pod.ready
        if not (done or ready):
            return False
    return True


def _node(view: View, index: int) -> str | None:
    placement = view.obs.placement
    return (placement.nodes[index] or None) if placement is not None else None


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


def _shared(view: View, gang: PreparedGang, current: dict[int, Pod]) -> tuple[Action, ...]:
    """What pods refer to is there before them; it is written once, with the first of them."""
    return () if current else gang.shared()


def _all_created(view: View, current: dict[int, Pod]) -> View:
    text = f"attempt {view.status.attempt}: {view.roster.size} pods created"
    return view.condition(ConditionType.ADMITTED, True, Reason.PODS_CREATED, text)
