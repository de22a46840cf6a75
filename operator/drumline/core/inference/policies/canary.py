"""A canary is watched, and promoted or refused: by its readiness, its error rate and its latency.

    groups get a place → all in service within readySeconds → minSeconds in service, minRequests answered → promoted
                              │ not in time, or given up          │ too many errors at any time, too slow at the end
                              └──────────────→ refused ←──────────┘

Waiting for a place is not held against it. When one of its groups leaves service the observation begins anew.
A refused revision is remembered, and the planner goes back. With `automatic: false` a person decides either way.
"""

from __future__ import annotations

from dataclasses import dataclass

from drumline.api.inference_rollout import Canary
from drumline.api.inference_status import GroupPhase, GroupStatus, RolloutPhase
from drumline.api.reasons import Reason, ServiceCondition
from drumline.core.gang.clock import rfc3339, rfc3339_millis, unix
from drumline.core.inference import canary_analysis
from drumline.core.inference.backing import waits_there
from drumline.core.inference.canary_analysis import Measured
from drumline.core.inference.rollout import Standing
from drumline.core.inference.rollout_goals import canary_of, task, way
from drumline.core.inference.view import View, in_service, is_going

LOOK_SECONDS = 10.0  # between two looks at the measurements


@dataclass(frozen=True, slots=True)
class _Stand:
    """The canary's groups as they are."""

    missing: int  # not created yet
    unplaced: int  # never had a place, or wait for one with another backend
    out: int  # not in service
    given_up: str = ""  # a group that failed more often than allowed


def canary(view: View) -> View:
    """Watch the canary, if one is under way, and decide about it."""
    found = canary_of(view)
    if found is None or view.spec.rollout.paused:
        return view
    stand = _stand(view)
    view = _clocks(view, stand)
    if stand.given_up:
        return _refuse(view, found, stand.given_up)
    if view.status.rollout.canary_ready_at is None:
        return _not_ready(view, found, stand)
    return _observe(view, found)


def _stand(view: View) -> _Stand:
    goals = {side.name: side.new for side in task(view).sides if not side.gone}
    found = [(role, g) for role in goals for g in _groups(view, role)]
    failed = next((f"group {g.id} of role {r} failed: {g.cause}" for r, g in found if _failed(g)), "")
    up = dict.fromkeys(goals, 0)
    for role, group in found:
        up[role] += in_service(group)
    return _Stand(
        missing=sum(max(0, n - len(_groups(view, role))) for role, n in goals.items()),
        unplaced=sum(1 for r, g in found if g.attempt == 0 or waits_there(view, r, g)),
        out=sum(max(0, n - up[role]) for role, n in goals.items()),
        given_up=failed,
    )


def _groups(view: View, role: str) -> list[GroupStatus]:
    """The canary's groups of a role."""
    target = way(view).target
    return [g for g in view.groups(role) if g.revision == target and not is_going(g)]


def _failed(group: GroupStatus) -> bool:
    return group.phase is GroupPhase.FAILED


def _clocks(view: View, stand: _Stand) -> View:
    """Since when all groups have a place, and since when all are in service."""
    known = view.status.rollout
    placed, ready, now = known.canary_placed_at, known.canary_ready_at, rfc3339_millis(view.now)
    if stand.out == 0 and stand.missing == 0:
        placed, ready = placed or now, ready or now
    elif ready is not None:
        placed, ready = now, None
    elif placed is None and stand.unplaced == 0 and stand.missing == 0:
        placed = now
    if (placed, ready) == (known.canary_placed_at, known.canary_ready_at):
        return view
    changed = known.model_copy(update={"canary_placed_at": placed, "canary_ready_at": ready})
    return view.with_status(rollout=changed)


def _not_ready(view: View, found: Canary, stand: _Stand) -> View:
    placed = view.status.rollout.canary_placed_at
    if placed is None:
        return _say(view, f"the canary waits for a place for {stand.missing + stand.unplaced} groups")
    left = found.analysis.ready_seconds - (view.now - unix(placed))
    if left <= 0 and found.automatic:
        return _refuse(
            view, found, f"{stand.out} groups not in service after {found.analysis.ready_seconds} s"
        )
    return _say(view, f"the canary waits for {stand.out} groups to come into service").again_in(
        max(left, 1.0)
    )


def _observe(view: View, found: Canary) -> View:
    """All groups are in service."""
    rules = found.analysis
    roles = _measured(view)
    bad = canary_analysis.errors(rules, roles)
    until = unix(view.status.rollout.canary_ready_at) + rules.min_seconds
    over = view.now >= until
    if not bad and over:
        bad = canary_analysis.latency(rules, roles)
    if bad:
        return _refuse(view, found, bad)
    if not found.automatic:
        return _say(view, "the canary is in service; promote it or roll it back").again_in(LOOK_SECONDS)
    if not over:
        view = _say(view, f"the canary is in service and watched until {rfc3339(until)}")
        return view.again_in(min(LOOK_SECONDS, until - view.now))
    if canary_analysis.requests(roles) < rules.min_requests:
        text = f"the canary is to answer {rules.min_requests} requests before it is promoted"
        return _say(view, text).again_in(LOOK_SECONDS)
    return _promote(view)


def _measured(view: View) -> dict[str, Measured]:
    todo = task(view)
    say = view.obs.signals.of
    return {
        side.name: Measured(
            canary=[say(side.name, u.id) for u in side.units if u.revision == todo.target],
            stable=[
                say(side.name, u.id)
                for u in side.units
                if u.revision != todo.target and u.standing is Standing.SERVING
            ],
        )
        for side in todo.sides
        if not side.gone
    }


def _say(view: View, message: str) -> View:
    """What people read of a canary. It holds nothing that changes by the second."""
    known = view.status.rollout
    if known.message != message:
        view = view.with_status(rollout=known.model_copy(update={"message": message}))
    return view.condition(ServiceCondition.ROLLOUT_COMPLETE, False, Reason.CANARY, message)


def _promote(view: View) -> View:
    path = way(view)
    changes = {
        "promoted": path.update,
        "phase": RolloutPhase.ROLLING,
        "since": rfc3339_millis(view.now),
        "message": None,
    }
    text = f"revision {path.update}: the canary is promoted"
    view = view.with_status(rollout=view.status.rollout.model_copy(update=changes)).first()
    view = view.condition(ServiceCondition.ROLLOUT_COMPLETE, False, Reason.ROLLING_OUT, text)
    return view.event("Normal", Reason.PROMOTED, text)


def _refuse(view: View, found: Canary, why: str) -> View:
    path = way(view)
    if not found.automatic:
        return _say(view, f"the canary does badly: {why}"[:512]).again_in(LOOK_SECONDS)
    text = f"revision {path.update} is rolled back: {why}"[:512]
    changes = {
        "refused": path.update,
        "phase": RolloutPhase.ROLLED_BACK,
        "since": rfc3339_millis(view.now),
        "message": text,
    }
    view = view.with_status(rollout=view.status.rollout.model_copy(update=changes)).first()
    view = view.condition(ServiceCondition.ROLLOUT_COMPLETE, False, Reason.ROLLED_BACK, text)
    return view.event("Warning", Reason.ROLLED_BACK, text)
