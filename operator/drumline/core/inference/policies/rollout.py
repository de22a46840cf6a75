"""Where a rollout stands: its beginning, its phase, its end. Which groups change is the planner's business.

A rollout begins with a revision that is not the current one, and begins anew when the spec changes in its middle. It
is over when every role has all its groups in service, and only of the target. A revision needs no canary
(`promoted`) if none is asked for, if the analysis was passed, or if a person said so with the annotation
drumline.dev/promote; once promoted it stays so.
"""

from __future__ import annotations

from drumline.api.inference_status import RolloutPhase, RolloutStatus
from drumline.api.meta import ANNOTATION_PROMOTE
from drumline.api.reasons import Reason, ServiceCondition
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.inference.rollout import Side, Standing, Task
from drumline.core.inference.rollout_goals import canary_of, task, way
from drumline.core.inference.view import View

_REASONS = {
    RolloutPhase.CANARY: Reason.CANARY,
    RolloutPhase.ROLLING: Reason.ROLLING_OUT,
    RolloutPhase.PAUSED: Reason.ROLLOUT_PAUSED,
    RolloutPhase.ROLLED_BACK: Reason.ROLLED_BACK,
}


def rollout(view: View) -> View:
    """Keep `status.rollout`, the current revision and `RolloutComplete` true to what is there."""
    view = _promoted(_begun(view))
    todo, path = task(view), way(view)
    told = view.status.rollout.message
    if path.target != path.update:
        return _phase(view, RolloutPhase.ROLLED_BACK, told or _progress(todo))
    if all(_complete(side, todo, ready=not path.back) for side in todo.sides):
        return _over(view, todo.target)
    if view.spec.rollout.paused:
        return _phase(view, RolloutPhase.PAUSED, _progress(todo))
    if canary_of(view) is None:
        return _phase(view, RolloutPhase.ROLLING, _progress(todo))
    return _phase(view, RolloutPhase.CANARY, told or _progress(todo))


def _begun(view: View) -> View:
    """A record of its own for each revision; what is remembered of another one holds no more."""
    path = way(view)
    known = view.status.rollout
    if known.revision == path.update:
        return view
    record = RolloutStatus(revision=path.update, since=rfc3339_millis(view.now))
    return view.with_status(rollout=record)


def _promoted(view: View) -> View:
    known = view.status.rollout
    update = way(view).update
    asked = view.obs.service.annotations.get(ANNOTATION_PROMOTE) == update
    if known.promoted == update or not (
        asked or (view.spec.rollout.canary is None and known.refused is None)
    ):
        return view
    changed = known.model_copy(update={"promoted": update, "refused": None, "message": None})
    view = view.with_status(rollout=changed)
    if not asked or way(view).back:
        return view
    return view.event("Normal", Reason.PROMOTED, f"revision {update}: promoted by annotation")


def _complete(side: Side, todo: Task, *, ready: bool) -> bool:
    """Whether no other revision is left and, for a new one, all its groups are in service."""
    if side.gone:
        return not side.units
    serving = sum(1 for u in side.units if u.standing is Standing.SERVING)
    return all(u.revision == todo.target for u in side.units) and not (ready and serving < side.desired)


def _over(view: View, revision: str) -> View:
    known = view.status.rollout
    text = f"all groups are of revision {revision}"
    if known.phase is not RolloutPhase.COMPLETE:
        changes = {"phase": RolloutPhase.COMPLETE, "since": rfc3339_millis(view.now), "message": None}
        view = view.with_status(rollout=known.model_copy(update=changes))
        view = view.event("Normal", Reason.ROLLED_OUT, text)
    if view.status.current_revision != revision:
        view = view.with_status(current_revision=revision)
    return view.condition(ServiceCondition.ROLLOUT_COMPLETE, True, Reason.ROLLED_OUT, text)


def _phase(view: View, phase: RolloutPhase, message: str) -> View:
    known = view.status.rollout
    if known.phase is not phase:
        changes = {"phase": phase, "since": rfc3339_millis(view.now)}
        view = view.with_status(rollout=known.model_copy(update=changes))
        view = view.event("Normal", _REASONS[phase], message)
    return view.condition(ServiceCondition.ROLLOUT_COMPLETE, False, _REASONS[phase], message)


def _progress(todo: Task) -> str:
    parts = []
    for side in todo.sides:
        fresh = [u for u in side.units if u.revision == todo.target]
        ready = sum(1 for u in fresh if u.standing is Standing.SERVING)
        parts.append(f"{side.name} {ready}/{side.new} in service, {len(side.units) - len(fresh)} others")
    return f"revision {todo.target}: {'; '.join(parts)}"
