"""A job's gang as a backend sees it: the facts of an attempt, its group's objects, its pods with their marks."""

from __future__ import annotations

from collections.abc import Mapping

from drumline.api import meta
from drumline.api.reasons import Reason
from drumline.api.status import TrainingJobStatus
from drumline.api.validation_backend import unsupported
from drumline.core.gang.backends.base import BUILTIN, Found, GangFacts, RoleFacts
from drumline.core.gang.backing import Backed, ended, requests_of
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.names import revision_name
from drumline.core.gang.plan import Create
from drumline.core.gang.types import Placement, PlacementPolicy, Pod, Refusal
from drumline.core.training.attempts import admitted_for
from drumline.core.training.render import PreparedGang
from drumline.core.training.rendering import prepared
from drumline.core.training.view import View, owner_of


def facts_of(view: View, gang: PreparedGang) -> GangFacts:
    """One attempt of the job; helpers that depend on others come later and are none of its roles."""
    job, attempt, scheduling = view.obs.job, gang.facts.attempt, view.spec.scheduling
    workers = RoleFacts(meta.ROLE_WORKER, view.roster.workers, 0, requests_of(gang.worker(0, None)))
    helpers = [
        RoleFacts(
            helper.name,
            helper.replicas,
            view.roster.offsets[helper.name],
            requests_of(gang.helper(n, 0, None)),
        )
        for n, helper in enumerate(view.spec.helpers)
        if not helper.depends_on
    ]
    labels = {
        meta.APP_MANAGED_BY: "drumline",
        meta.LABEL_JOB: job.name,
        meta.LABEL_JOB_UID: job.uid,
        meta.LABEL_ATTEMPT: str(attempt),
    }
    return GangFacts(
        owner=owner_of(job),
        group=revision_name(job.name, attempt),
        attempt=attempt,
        roles=(workers, *helpers),
        queue=_queue(view),
        priority_class=view.spec.priority_class_name or "",
        pod_class=view.obs.pod_priority_class,
        policy=PlacementPolicy(scheduling.placement.policy.value),
        topology_key=view.obs.topology_key,
        timeout_seconds=scheduling.gang_timeout_seconds,
        labels=labels,
    )


def refusal(view: View) -> Refusal | None:
    """Why the job's backend can't have the next attempt; None for this operator's own admission, and where it can."""
    choice = view.obs.backend
    if not choice.foreign:
        return None
    if choice.adapter is None:
        return Refusal(Reason.BACKEND_UNAVAILABLE, f"backend {choice.name}: {choice.absent}")
    for field, why in unsupported(view.spec):
        text = f"spec.{field} can't be had of backend {choice.name}, as {why}"
        return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)
    return choice.adapter.refusal(facts_of(view, prepared(view, view.status.attempt + 1)))


def lost_objects(view: View, current: Mapping[int, Pod]) -> tuple[Create, ...]:
    """What the backend needs of the running attempt and somebody else deleted while a pod of it waits for a node."""
    if not view.obs.groups_known:
        return ()
    behind = backed(view, prepared(view, view.status.attempt))
    return (
        behind.missing(current.values(), view.obs.groups, view.obs.groups_known) if behind is not None else ()
    )


def backed(view: View, gang: PreparedGang) -> Backed | None:
    """The attempt with its backend; None for one that this operator placed."""
    adapter = view.obs.backend.adapter
    return Backed(adapter, facts_of(view, gang)) if adapter is not None else None


def said(view: View) -> Refusal | None:
    """What the backend says of the running attempt."""
    found = backed(view, prepared(view, view.status.attempt)) if view.obs.backend.foreign else None
    if found is None:
        return None
    return found.waits(view.obs.groups)


def backend_of(status: TrainingJobStatus) -> str:
    """Who found, or is to find, the nodes of the attempt that the status places."""
    return (status.placement.backend if status.placement is not None else None) or BUILTIN


def handed_over(view: View, status: TrainingJobStatus, given: Placement) -> TrainingJobStatus:
    """The status of an attempt that begins, with who finds its nodes; until it has some its admitted time stands still.

    One of another backend holds nothing of an AcceleratorQueue: that is our own admission's. Nor has such a gang that
    starts again kept nodes.
    """
    if status.placement is None or not (view.obs.backend.foreign or given.unpinned):
        return status
    if not view.obs.backend.foreign:
        spent = round(admitted_for(view.status, view.now))
        return status.model_copy(update={"admitted_at": None, "admitted_seconds": spent})
    told = {"backend": view.obs.backend.name, "backend_queue": _queue(view) or None}
    placement = status.placement.model_copy(update=told)
    last = view.status.attempts[-1] if view.status.attempts else None
    until = unix(last.finished_at, view.now) if last is not None else view.now
    spent = round(admitted_for(view.status, until))
    held = {"placement": placement, "queue": None, "admitted_at": None, "admitted_seconds": spent}
    return status.model_copy(update=held)


def let_in(view: View, current: Mapping[int, Pod]) -> View:
    """The view with a gang's admitted time begun, once one of its pods is bound to a node that was not known before."""
    if view.status.admitted_at is not None or not any(pod.bound for pod in current.values()):
        return view
    return view.with_status(admitted_at=rfc3339_millis(view.now))


def retired(view: View, keep: int | None) -> View:
    """The view in which what an earlier attempt has with its backend is deleted. `keep`: the attempt that runs."""
    return view.act(*ended(f for f in view.obs.groups if not _of_attempt(view, f, keep)))


def _queue(view: View) -> str:
    """The queue of the backend's own; a gang that holds a place there stays in the one that it began in."""
    placement = view.status.placement
    if placement is not None and placement.backend == view.obs.backend.name:
        return placement.backend_queue or ""
    return view.spec.scheduling.backend_queue or view.obs.queue


def _of_attempt(view: View, found: Found, attempt: int | None) -> bool:
    return attempt is not None and found.document["metadata"]["name"] == revision_name(
        view.obs.job.name, attempt
    )
