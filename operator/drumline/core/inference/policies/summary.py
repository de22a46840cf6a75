"""What is counted and said of the service as a whole: `status.roles`, the conditions, the phase, the URL.

    Ready          every role has its groups in service
    Available      every role that is to have groups has one in service
    Progressing    groups come, go or restart
    ScalingActive  somebody or something scales a role

RolloutComplete is the policy rollout's.

Ready names the weightiest of what is in the way: a name that is taken, a group that is out of restarts, one that
waits for a place, one that restarts, one that starts.
"""

from __future__ import annotations

from drumline.api.inference_status import GroupPhase, GroupStatus, RoleStatus
from drumline.api.reasons import Reason, ServiceCondition, ServicePhase
from drumline.core.gang import conditions
from drumline.core.gang.types import Refusal
from drumline.core.inference.groups import every
from drumline.core.inference.policies.admission import awaited
from drumline.core.inference.policies.name_conflict import conflict, taken
from drumline.core.inference.scale import desired, role_spec
from drumline.core.inference.summary_scaling import scaling_condition, scaling_status
from drumline.core.inference.view import View, in_service, is_going

Why = tuple[Reason | str, str]


def summary(view: View) -> View:
    """Keep counts, conditions, phase and URL true to the groups."""
    view = _totals(_counted(view))
    service, routing = view.obs.service, view.spec.routing
    view = view.with_status(url=f"http://{service.name}.{service.namespace}.svc:{routing.port}")
    view = _progressing(_available(_ready(view)))
    view = scaling_condition(scaling_status(view))
    return view.with_status(phase=_phase(view).value)


def counts(view: View) -> View:
    """Keep the counts, and whether there is anything in service, true to the groups; the rest is said already."""
    return _available(_totals(_counted(view)))


def _totals(view: View) -> View:
    roles = view.status.roles
    return view.with_status(
        replicas=sum(r.replicas for r in roles), ready_replicas=sum(r.ready for r in roles)
    )


def _counted(view: View) -> View:
    """Roles in the order of the spec, then those it has no more, while they have groups."""
    names = [r.name for r in view.spec.roles]
    names += [r.name for r in view.status.roles if r.name not in names and r.groups]
    return view.with_status(roles=tuple(_role(view, name) for name in names))


def _role(view: View, name: str) -> RoleStatus:
    known = view.role(name)
    serving = [g for g in known.groups if in_service(g) and not is_going(g)]
    return known.model_copy(
        update={
            "desired": desired(view, name),
            "replicas": len(known.groups),
            "ready": len(serving),
            "updated": sum(1 for g in serving if g.revision == view.status.update_revision),
        }
    )


def _ready(view: View) -> View:
    why = _obstacle(view)
    if why is not None:
        return view.condition(ServiceCondition.READY, False, *why)
    known = conditions.find(view.status.conditions, ServiceCondition.READY.value)
    text = f"{view.status.ready_replicas} groups are in service"
    view = view.condition(ServiceCondition.READY, True, Reason.GROUPS_READY, text)
    return (
        view
        if known is not None and known.status == "True"
        else view.event("Normal", Reason.GROUPS_READY, text)
    )


def _obstacle(view: View) -> Why | None:
    """What keeps the service from being ready; None when it is."""
    if taken(view):
        return Reason.NAME_CONFLICT, conflict(view)
    if view.spec.suspend:
        return Reason.SUSPENDED, "spec.suspend is true"
    short = [r for r in view.status.roles if r.ready < r.desired]
    if not short:
        return None
    counts = ", ".join(f"{r.ready} of {r.desired} groups of {r.name} are in service" for r in short)
    reason, detail = _weightiest(view, [(r.name, g) for r in short for g in r.groups if not is_going(g)])
    return reason, f"{counts}{'; ' if detail else ''}{detail}"


def _weightiest(view: View, groups: list[tuple[str, GroupStatus]]) -> Why:
    for phase in (GroupPhase.FAILED, GroupPhase.WAITING, GroupPhase.BACKOFF):
        for role, group in groups:
            if group.phase is phase:
                reason, text = _of_group(view, role, group)
                return reason, f"group {role}/{group.id}: {text}"[:700]
    return Reason.GROUPS_STARTING, next((g.message for _, g in groups if g.message), "")[:700]


def _of_group(view: View, role: str, group: GroupStatus) -> Why:
    """Why one group is not in service."""
    message = group.message or ""
    if group.phase is GroupPhase.FAILED:
        return Reason.MAX_RESTARTS, message
    if group.phase is GroupPhase.BACKOFF:
        return Reason.GROUP_RESTARTING, message
    return (Reason.BACKOFF, message) if group.next_attempt_at is not None else _waits_for(view, role, group)


def _waits_for(view: View, role: str, group: GroupStatus) -> Why:
    spec = role_spec(view, role)
    others = awaited(view, spec) if spec is not None else ()
    if others:
        return Reason.START_AFTER, f"begins when {', '.join(others)} has a group in service"
    answer = view.obs.admission.get(view.uid_of(role, group.id))
    if isinstance(answer, Refusal):
        return answer.reason, answer.message
    if view.obs.priority is None:
        return Reason.NO_PRIORITY_CLASS, group.message or ""
    return _said(group.message) or (Reason.QUEUED, group.message or "waiting for the next admission round")


def _said(message: str | None) -> Why | None:
    """The reason that a message begins with."""
    head, colon, text = (message or "").partition(": ")
    return (head, text) if colon and head in set(Reason) else None


def _available(view: View) -> View:
    wanted = [r for r in view.status.roles if r.desired or (r.ready and not view.spec.suspend)]
    lacking = [r.name for r in wanted if not r.ready]
    if lacking:
        text = f"no group of {', '.join(lacking)} is in service"
        return view.condition(ServiceCondition.AVAILABLE, False, Reason.NO_GROUP_READY, text)
    if not wanted:
        reason = Reason.SUSPENDED if view.spec.suspend else Reason.SCALED_TO_ZERO
        return view.condition(ServiceCondition.AVAILABLE, False, reason, "no group is to be in service")
    return view.condition(
        ServiceCondition.AVAILABLE, True, Reason.GROUPS_READY, "every role has a group in service"
    )


def _progressing(view: View) -> View:
    moving = [g for _, g in every(view) if not in_service(g) and g.phase is not GroupPhase.FAILED]
    if not moving:
        text = "no group comes, goes or restarts"
        return view.condition(ServiceCondition.PROGRESSING, False, Reason.GROUPS_SETTLED, text)
    counts = {phase: sum(1 for g in moving if g.phase is phase) for phase in GroupPhase}
    text = ", ".join(f"{count} {phase.value}" for phase, count in counts.items() if count)
    return view.condition(ServiceCondition.PROGRESSING, True, Reason.GROUPS_CHANGING, f"groups: {text}")


def _phase(view: View) -> ServicePhase:
    """A summary for people; the order is that of weight."""
    if view.spec.suspend:
        return ServicePhase.SUSPENDED
    if conditions.is_true(view.status.conditions, ServiceCondition.READY.value):
        return ServicePhase.SERVING
    if conditions.is_true(view.status.conditions, ServiceCondition.AVAILABLE.value):
        return ServicePhase.DEGRADED
    dead = [r for r in view.status.roles if r.desired and r.groups and _all_failed(r)]
    return ServicePhase.FAILED if dead else ServicePhase.PENDING


def _all_failed(role: RoleStatus) -> bool:
    return all(g.phase is GroupPhase.FAILED for g in role.groups if not is_going(g))
