"""A group as a backend sees it that is not this operator: its attempt's facts, objects, pods with their marks.

Each attempt of a group is a gang of its own to the backend, under a name of its own. An attempt stays with whom it began;
who admits the next one follows from the service, its queue and the configuration as they are by then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from drumline.api import meta
from drumline.api.inference_status import GroupStatus
from drumline.api.reasons import Reason
from drumline.api.validation_inference_backend import unsupported
from drumline.core.gang.backends.base import BUILTIN, Found, GangFacts, RoleFacts
from drumline.core.gang.backends.registry import OURS, Choice
from drumline.core.gang.backing import Backed, is_of, requests_of
from drumline.core.gang.clock import unix
from drumline.core.gang.types import GangRequest, PlacementPolicy, Refusal
from drumline.core.inference import names
from drumline.core.inference.groups import live
from drumline.core.inference.render import PreparedGroup, prepare_group
from drumline.core.inference.view import View

LEADER: Final = "leader"
WORKER: Final = "worker"
UNSEEN_SECONDS: Final = 60.0  # a right that comes by then is made use of
REMEMBERED: Final = 4  # attempts of which something may be left with a backend


def choice_of(view: View, group: GroupStatus) -> Choice:
    """Who admits the group's running attempt or, where none runs, the next one."""
    if not live(group):
        return view.obs.backend
    return view.obs.backends.get(group.backend or BUILTIN, OURS)


def is_left(view: View, group: GroupStatus) -> bool:
    """Whether somebody else finds, or is to find, the group's nodes. One that holds nodes got them of this operator."""
    if any(group.nodes):
        return False
    return group.backend is not None if live(group) else view.obs.backend.foreign


def left(request: GangRequest) -> GangRequest:
    """The request as one that needs no room of ours: only the API server is asked what it makes of the pods."""
    return replace(request, unpinned=True, queue="", near=(), near_level="")


def prepared(view: View, role: str, group: GroupStatus) -> PreparedGroup:
    """The group's current attempt, ready to be rendered. ValueError, KeyError, IndexError: as `prepare_group`."""
    return prepare_group(
        view.obs.service,
        view.spec_of(group) or view.spec,
        role,
        group,
        view.obs.catalog,
        view.obs.settings,
        pod_priority_class=view.obs.pod_priority_class,
    )


def backed(view: View, role: str, group: GroupStatus, rendered: PreparedGroup | None = None) -> Backed | None:
    """The attempt with its backend; None for one of this operator's.

    So it is where the backend, or what the catalogue must know of the group, is not to be had.
    """
    adapter = choice_of(view, group).adapter
    if adapter is None:
        return None
    try:
        facts = facts_of(view, role, group, rendered or prepared(view, role, group))
    except (IndexError, KeyError, ValueError):
        return None
    return Backed(adapter, facts)


def next_one(group: GroupStatus) -> GroupStatus:
    """The group as it would begin."""
    return group.model_copy(update={"attempt": group.attempt + 1})


def refusal(view: View, role: str, group: GroupStatus) -> Refusal | None:
    """Why the backend can't have the group's next attempt; None for our own admission, and where it can."""
    choice = view.obs.backend
    if not choice.foreign:
        return None
    if choice.adapter is None:
        return Refusal(Reason.BACKEND_UNAVAILABLE, f"backend {choice.name}: {choice.absent}")
    for field, why in unsupported(view.spec_of(group) or view.spec, view.obs.catalog):
        text = f"spec.{field} can't be had of backend {choice.name}, as {why}"
        return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)
    behind = backed(view, role, next_one(group))
    return behind.adapter.refusal(behind.facts) if behind is not None else None


def facts_of(view: View, role: str, group: GroupStatus, rendered: PreparedGroup) -> GangFacts:
    """One attempt of the group. Where its leader asks for something else it is a role of its own, after the workers."""
    scheduling, service = view.spec.scheduling, view.obs.service
    return GangFacts(
        owner=view.owner,
        group=names.backend_group(service.name, role, group.attempt, group.id),
        attempt=group.attempt,
        roles=_roles(rendered),
        queue=queue_of(view, group),
        priority_class=view.spec.priority_class_name or "",
        pod_class=view.obs.pod_priority_class,
        policy=PlacementPolicy(scheduling.placement.policy.value),
        topology_key=view.obs.topology_key,
        timeout_seconds=scheduling.gang_timeout_seconds,
        labels={
            meta.APP_MANAGED_BY: "drumline",
            meta.LABEL_SERVICE: service.name,
            meta.LABEL_SERVICE_UID: service.uid,
            meta.LABEL_ROLE: role,
            meta.LABEL_GROUP: str(group.id),
            meta.LABEL_ATTEMPT: str(group.attempt),
        },
    )


def queue_of(view: View, group: GroupStatus) -> str:
    """The queue of the backend's own; an attempt stays in the one that it began in."""
    if live(group):
        return group.backend_queue or ""
    return view.spec.scheduling.backend_queue or view.obs.queue


def names_of(service: str, role: str, group: GroupStatus) -> tuple[str, ...]:
    """Names that backends may have objects of the group under: of its last attempts."""
    attempts = range(max(1, group.attempt + 1 - REMEMBERED), group.attempt + 1)
    return tuple(names.backend_group(service, role, attempt, group.id) for attempt in attempts)


def objects_of(view: View, role: str, group: GroupStatus) -> tuple[Found, ...]:
    """What backends have of the group's last attempts."""
    ours = names_of(view.obs.service.name, role, group)
    return tuple(f for f in view.obs.theirs if f.document["metadata"]["name"] in ours)


def of_attempt(view: View, role: str, group: GroupStatus) -> tuple[Found, ...]:
    """Of these what the current attempt has."""
    name = names.backend_group(view.obs.service.name, role, group.attempt, group.id)
    return tuple(f for f in objects_of(view, role, group) if f.document["metadata"]["name"] == name)


def belongs(uid: str, found: Found) -> bool:
    """Whether an object of that name is the service's: it owns it, or pods of the attempt do."""
    name = found.document["metadata"]["name"]
    return is_of(uid, found.document, f"{names.pods_of(name)}-")


def all_seen(view: View, group: GroupStatus) -> bool:
    """Whether nothing of the group, which is finished, can be with its backend but what is seen there.

    What may not be listed could not be deleted either: it is waited for no longer than `UNSEEN_SECONDS`.
    """
    choice = view.obs.backends.get(group.backend or BUILTIN, OURS)
    if choice.adapter is None:
        return view.obs.discovered or not choice.foreign
    unseen = {*choice.adapter.needs} - view.obs.theirs_known
    waited = view.now - unix(group.draining_since, view.now)
    return not unseen or (unseen <= view.obs.theirs_denied and waited > UNSEEN_SECONDS)


def waits_there(view: View, role: str, group: GroupStatus) -> bool:
    """Whether the group's attempt is with a backend that has bound none of its pods."""
    return group.backend is not None and not any(pod.bound for pod in view.pods(role, group).values())


def said(view: View, role: str, group: GroupStatus) -> str:
    """What the backend says of an attempt of which it has bound no pod; "" = nothing."""
    if not waits_there(view, role, group):
        return ""
    choice = choice_of(view, group)
    if choice.adapter is None:
        return f"{Reason.BACKEND_UNAVAILABLE}: backend {group.backend}: {choice.absent}"
    behind = backed(view, role, group)
    told = behind.waits(of_attempt(view, role, group)) if behind is not None else None
    return f"{told.reason}: {told.message}" if told is not None else ""


def _roles(rendered: PreparedGroup) -> tuple[RoleFacts, ...]:
    leader = requests_of(rendered.pod(0, None))
    worker = requests_of(rendered.pod(rendered.size - 1, None))
    if leader == worker:
        return (RoleFacts(WORKER, rendered.size, 0, worker),)
    return RoleFacts(WORKER, rendered.size - 1, 1, worker), RoleFacts(LEADER, 1, 0, leader)
