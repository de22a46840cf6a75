"""From waiting to a place: an attempt begins only when all of its group has nodes.

A restart keeps its nodes: while they are all well and not avoided, the next attempt begins on them with no new
admission. Else the group asks again and keeps what it holds, for `gangTimeoutSeconds` at most; after that its nodes
are free for others while it waits. The nodes it had are preferred, but it begins on them by a grant only: what it
was granted elsewhere meanwhile may have let others in here.

A role with `startAfter` does not begin before each role named there has a group in service. Once one of its groups
has begun it is not held up again: the order is one of starting, not of living. Roles with no groups to have are not
waited for.

A group that goes over to another variant says so first, and asks in the next decision: an answer to its old question
must never be taken for one to the new.

Groups that another scheduler or queue admits hold nothing between two attempts. What they ask here is what the API server
makes of their pods; then they begin at once, pinned to no node.

Groups of the profile edge ask nobody: they begin at once, on whatever node the scheduler likes.
"""

from __future__ import annotations

from dataclasses import replace

from drumline.api.inference import InferenceRoleSpec, Profile
from drumline.api.inference_status import GroupPhase, GroupStatus
from drumline.api.reasons import DrainReason, Reason
from drumline.core.gang.clock import SKEW_SECONDS, is_ahead, rfc3339_millis, unix
from drumline.core.gang.types import GangRequest, Granted, Refusal
from drumline.core.inference import backing, variants
from drumline.core.inference.groups import begun, every, finish, live
from drumline.core.inference.leaving import barred
from drumline.core.inference.neighbours import near
from drumline.core.inference.render import group_request, group_shape
from drumline.core.inference.scale import desired
from drumline.core.inference.view import View, in_service, is_going

NO_CLASS_SECONDS = 10.0  # between looks for a PriorityClass that is not there yet


def admission(view: View) -> View:
    """Begin the attempts that may begin; for the rest say why they wait."""
    for role, group in every(view):
        if is_going(group) or group.created or group.phase is GroupPhase.FAILED:
            continue
        size = size_of(view, role, group)
        if size is None:
            view = _lost(view, role, group)
        elif not live(group):
            view = _considered(view, role, group, size)
    return view


def request_of(view: View, role: str, group: GroupStatus) -> GangRequest:
    """What a group asks of admission. ValueError when its revision is not to be had any more."""
    spec = view.spec_of(group)
    if spec is None:
        raise ValueError(f"revision {group.revision} of group {role}/{group.id} is gone")
    request = group_request(
        view.obs.service,
        spec,
        role,
        group,
        view.obs.catalog,
        queued_at=unix(group.queued_at, unix(group.started_at, view.obs.service.created_at)),
        priority=view.obs.priority or 0,
        excluded=frozenset(group.excluded),
        preferred_nodes=dict(enumerate(group.nodes)),
        settings=view.obs.settings,
    )
    if backing.is_left(view, group):
        return backing.left(request)
    return near(view, role, replace(request, queue=queue_of(view, group)))


def queue_of(view: View, group: GroupStatus) -> str:
    """The queue that a group asks: the one that it counts in while it holds nodes."""
    return (group.queue or "") if group.nodes else view.obs.queue


def size_of(view: View, role: str, group: GroupStatus) -> int | None:
    """Pods of the group; None when its revision, or what the catalogue must know of it, is not to be had any more."""
    spec = view.spec_of(group)
    try:
        return group_shape(spec, role, view.obs.catalog, group.variant).size if spec is not None else None
    except (IndexError, KeyError, ValueError):
        return None


def _lost(view: View, role: str, group: GroupStatus) -> View:
    """A group that began makes room for another; one that never did says why, or others would follow it for ever.

    While the spec does not hold another group would fare no better.
    """
    if view.obs.errors:
        text = f"{Reason.INVALID_SPEC}: what it needs is not to be had while the spec does not hold"
        return view.put(role, group.model_copy(update={"message": text}))
    if group.attempt:
        return finish(view, role, group, DrainReason.REVISION_LOST)
    text = f"{DrainReason.REVISION_LOST}: revision {group.revision} is not to be had any more"
    return view.put(role, group.model_copy(update={"message": text}))


def _backoff_left(view: View, group: GroupStatus) -> float:
    """Seconds that the group still rests. A rest longer than any was ordered by a clock that has been put back since."""
    wait = unix(group.next_attempt_at) - view.now
    longest = view.spec.failure_policy.backoff.max_seconds + SKEW_SECONDS
    return 0.0 if group.phase is GroupPhase.BACKOFF and wait > longest else wait


def _considered(view: View, role: str, group: GroupStatus, size: int) -> View:
    wait = _backoff_left(view, group)
    if wait > 0:
        return view.again_in(wait)
    spec = view.spec_of(group) or view.spec
    found = next(r for r in spec.roles if r.name == role)
    if awaited(view, found):
        return view
    if spec.profile is Profile.EDGE:
        return _begin(view, role, group, ("",) * size)
    if _keeps_nodes(view, role, group, size):
        return _begin(view, role, group, group.nodes)
    return _asked(view, role, found, _queued(view, group))


def _keeps_nodes(view: View, role: str, group: GroupStatus, size: int) -> bool:
    """Whether a group that rests may begin where it was. Once it has asked for a place only a grant counts."""
    granted = isinstance(view.obs.admission.get(view.uid_of(role, group.id)), Granted)
    well = not (_avoided(view, group).intersection(group.nodes) or barred(view, role, group))
    kept = group.phase is GroupPhase.BACKOFF and len(group.nodes) == size and not view.obs.backend.foreign
    return kept and well and not granted


def awaited(view: View, role: InferenceRoleSpec) -> tuple[str, ...]:
    """The roles that must have a group in service before this one begins; none once it has begun."""
    if any(g.attempt for g in view.groups(role.name) if not is_going(g)):
        return ()
    return tuple(
        other
        for other in role.start_after
        if desired(view, other) and not any(in_service(g) for g in view.groups(other))
    )


def _avoided(view: View, group: GroupStatus) -> frozenset[str]:
    return view.obs.lost | view.obs.cordoned | frozenset(group.excluded)


def _queued(view: View, group: GroupStatus) -> GroupStatus:
    """The group as it waits now: since when, holding what, avoiding what."""
    if group.phase is not GroupPhase.WAITING or group.queued_at is None:
        return group.model_copy(
            update={"phase": GroupPhase.WAITING, "queued_at": group.queued_at or rfc3339_millis(view.now)}
        )
    if is_ahead(group.queued_at, view.now):
        group = group.model_copy(update={"queued_at": rfc3339_millis(view.now)})
    waited = view.now - unix(group.queued_at)
    if group.nodes and waited >= view.spec.scheduling.gang_timeout_seconds:
        group = group.model_copy(update={"nodes": ()})
    if group.excluded and waited >= view.obs.settings.exclude_seconds:
        group = group.model_copy(update={"excluded": ()})
    return group


def _asked(view: View, role: str, found: InferenceRoleSpec, group: GroupStatus) -> View:
    """Begin on what was granted, or go on asking."""
    if view.obs.backend.foreign and group.nodes:
        group = group.model_copy(update={"nodes": ()})
    view = view.put(role, group)
    answer = _answer(view, role, group)
    if view.obs.priority is None:
        text = f"spec.priorityClassName: there is no PriorityClass {view.spec.priority_class_name!r}"
        refusal = Refusal(Reason.NO_PRIORITY_CLASS, text)
        return _refused(view, role, group, refusal).again_in(NO_CLASS_SECONDS)
    if view.obs.queue_refused is not None and not group.nodes:
        return _refused(view, role, group, view.obs.queue_refused)
    if (no := backing.refusal(view, role, group)) is not None:
        return _refused(view, role, group, no)
    if isinstance(answer, Granted):
        group = group.model_copy(update={"queue": answer.queue or None, **_with(view, group)})
        return _begin(view, role, group, answer.placement.nodes)
    whose = _turn(view, found, group)
    if whose != group.variant:
        return view.put(role, group.model_copy(update={"variant": whose, "nodes": ()})).again_in(0.0)
    view = _look_again(view, found, group).ask(request_of(view, role, group))
    return _refused(view, role, group, answer) if answer is not None else view


def _answer(view: View, role: str, group: GroupStatus) -> Granted | Refusal | None:
    """What admission says; a grant that answers who else should admit the group is none."""
    answer = view.obs.admission.get(view.uid_of(role, group.id))
    if not isinstance(answer, Granted) or view.obs.settings.nowhere:
        return answer
    return answer if any(answer.placement.nodes) != backing.is_left(view, group) else None


def _with(view: View, group: GroupStatus) -> dict[str, str | None]:
    """With whom the attempt begins."""
    if not backing.is_left(view, group):
        return {"backend": None, "backend_queue": None}
    return {"backend": view.obs.backend.name, "backend_queue": backing.queue_of(view, group) or None}


def _turn(view: View, role: InferenceRoleSpec, group: GroupStatus) -> int:
    """The variant to ask for now."""
    if view.obs.errors:
        return group.variant
    waited = view.now - unix(group.queued_at, view.now)
    return variants.turn(view, role, group, waited) if role.variants else group.variant


def _look_again(view: View, role: InferenceRoleSpec, group: GroupStatus) -> View:
    """When waiting makes a difference by itself: nodes given up, nodes avoided no longer, the next variant."""
    waited = view.now - unix(group.queued_at, view.now)
    if group.nodes:
        view = view.again_in(view.spec.scheduling.gang_timeout_seconds - waited)
    if group.excluded:
        view = view.again_in(view.obs.settings.exclude_seconds - waited)
    return view.again_in(variants.next_turn(waited)) if role.variants and not view.obs.errors else view


def _refused(view: View, role: str, group: GroupStatus, answer: Refusal) -> View:
    """Say why the group waits; an event says so when the reason is another, not when only numbers are."""
    message = f"{answer.reason}: {answer.message}"[:1024]
    if (group.message or "").partition(":")[0] != answer.reason:
        view = view.event("Normal", answer.reason, f"group {role}/{group.id}: {answer.message}")
    return view.put(role, group.model_copy(update={"message": message}))


def _begin(view: View, role: str, group: GroupStatus, nodes: tuple[str, ...]) -> View:
    """Write the placement down; the pods follow in the same plan, after it."""
    return replace(view.put(role, begun(group, nodes, view.now)), status_first=True)
