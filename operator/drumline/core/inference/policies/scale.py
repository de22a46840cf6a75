"""Do what the planner says: groups that are missing get an entry, those too many are taken out of service.

Both are on record before anything comes of them: an entry is admitted and gets pods in later policies, a group
that goes is drained by `drain`. Numbers of groups are never used again.
"""

from __future__ import annotations

from drumline.api.inference_status import GroupPhase, GroupStatus
from drumline.api.reasons import DrainReason
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.inference.rollout import Removal, Step, plan
from drumline.core.inference.rollout_goals import task
from drumline.core.inference.view import View


def scale(view: View) -> View:
    """Take the planner's step for every role."""
    todo = task(view)
    steps = plan(todo)
    for side in todo.sides:
        view = _step(view, side.name, steps[side.name])
    return view


def _step(view: View, role: str, step: Step) -> View:
    if not step.create and not step.remove:
        return view
    known = view.role(role)
    going = {removal.id: removal for removal in step.remove}
    groups = [_out(view, g, going[g.id]) if g.id in going else g for g in known.groups]
    number = known.next_group
    for revision, count in step.create:
        groups += [_entry(view, number + i, revision) for i in range(count)]
        number += count
    return view.put_role(known.model_copy(update={"groups": tuple(groups), "next_group": number})).first()


def _entry(view: View, number: int, revision: str) -> GroupStatus:
    return GroupStatus(id=number, revision=revision, queued_at=rfc3339_millis(view.now))


def _out(view: View, group: GroupStatus, removal: Removal) -> GroupStatus:
    why = DrainReason.SUSPENDED if view.spec.suspend else removal.why
    return group.model_copy(
        update={
            "phase": GroupPhase.DRAINING,
            "draining_since": rfc3339_millis(view.now),
            "drain_reason": why.value,
            "queued_at": None,
            "unready_since": None,
            "next_attempt_at": None,
        }
    )
