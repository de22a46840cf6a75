"""A job's gang as a backend sees it: the facts of an attempt, its group's objects, its pods with their marks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drumline.api import meta
from drumline.api.reasons import Reason
from drumline.api.status import TrainingJobStatus
from drumline.api.validation_backend import unsupported
from drumline.core.gang.backends.base import BUILTIN, Found, GangBackend, GangFacts, Need, RoleFacts
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.names import revision_name
from drumline.core.gang.plan import Create, Delete, GroupResource, Manifest
from drumline.core.gang.projection import shape_of
from drumline.core.gang.types import Placement, PlacementPolicy, Pod, Refusal
from drumline.core.training.attempts import admitted_for
from drumline.core.training.render import PreparedGang
from drumline.core.training.rendering import prepared
from drumline.core.training.view import View, owner_of


def resource_of(need: Need) -> GroupResource:
    """How a plan names a kind of a backend's."""
    return GroupResource(f"{need.plural}.{need.version}.{need.group}")


def facts_of(view: View, gang: PreparedGang) -> GangFacts:
    """One attempt of the job; helpers that depend on others come later and are none of its roles."""
    job, attempt, scheduling = view.obs.job, gang.facts.attempt, view.spec.scheduling
    workers = RoleFacts(meta.ROLE_WORKER, view.roster.workers, 0, _requests(gang.worker(0, None)))
    helpers = [
        RoleFacts(
            helper.name, helper.replicas, view.roster.offsets[helper.name], _requests(gang.helper(n, 0, None))
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


def lost_of_object(sent: Manifest, answer: Manifest) -> str:
    """The first field of an object's spec that the API server did not keep; "" = it kept all."""
    return _lost(sent.get("spec"), answer.get("spec"), "spec")


@dataclass(frozen=True, slots=True)
class Backed:
    """An attempt whose pods somebody else finds nodes for."""

    adapter: GangBackend
    facts: GangFacts

    @property
    def objects(self) -> tuple[Create, ...]:
        """What has to be there before the gang's pods."""
        kinds = {f"{n.group}/{n.version}/{n.kind}": resource_of(n) for n in self.adapter.needs}
        found = self.adapter.objects(self.facts)
        return tuple(Create(kinds[f"{o['apiVersion']}/{o['kind']}"], o, kept=lost_of_object) for o in found)

    def pod(self, pod: Manifest, index: int) -> Manifest:
        """The pod at that index as the backend wants it."""
        return self.adapter.prepare_pod(pod, self.facts, index)


def lost_objects(view: View, current: Mapping[int, Pod]) -> tuple[Create, ...]:
    """What the backend needs of the running attempt and somebody else deleted while a pod of it waits for a node."""
    waits = any(not pod.bound and not pod.terminal for pod in current.values())
    if not waits or not view.obs.groups_known:
        return ()
    behind = backed(view, prepared(view, view.status.attempt))
    known = {resource_of(need) for need in view.obs.groups_known}
    there = {(resource_of(f.need), f.document["metadata"]["name"]) for f in view.obs.groups}
    wanted = behind.objects if behind is not None else ()
    return tuple(
        o for o in wanted if o.resource in known and (o.resource, o.manifest["metadata"]["name"]) not in there
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
    return found.adapter.waits(found.facts, (f.document for f in view.obs.groups))


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
    old = [f for f in view.obs.groups if not _of_attempt(view, f, keep)]
    deletes = (
        Delete(
            resource_of(f.need),
            view.obs.job.namespace,
            f.document["metadata"]["name"],
            f.uid,
        )
        for f in old
        if not f.document["metadata"].get("deletionTimestamp")
    )
    return view.act(*deletes)


def is_of(uid: str, document: Manifest) -> bool:
    """Whether an attempt's object is that job's: it owns it, or the attempt's pods do, for which a backend made it."""
    metadata = document["metadata"]
    pods = f"{metadata['name']}-"
    return any(
        o.get("uid") == uid or (o.get("kind") == "Pod" and str(o.get("name")).startswith(pods))
        for o in metadata.get("ownerReferences") or ()
    )


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


def _requests(pod: Manifest) -> dict[str, int]:
    return dict(shape_of(pod["spec"]).requests)


def _lost(sent: object, found: object, path: str) -> str:
    if isinstance(sent, dict):
        inner = found if isinstance(found, dict) else {}
        return next((lost for k, v in sent.items() if (lost := _lost(v, inner.get(k), f"{path}.{k}"))), "")
    if isinstance(sent, list):
        inner_list = found if isinstance(found, list) else []
        if len(inner_list) < len(sent):
            return path
        pairs = enumerate(zip(sent, inner_list, strict=False))
        return next((lost for i, (a, b) in pairs if (lost := _lost(a, b, f"{path}[{i}]"))), "")
    return "" if found is not None or sent is None else path
