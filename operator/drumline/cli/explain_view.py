"""Why a TrainingJob waits, from the objects of its cluster and the very code that admits it.

What only the operator knows, such as what an API server says of a dry run, is in the job's own condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drumline.api.catalog import Catalog
from drumline.api.meta import TRAINING_JOBS
from drumline.api.reasons import ConditionType
from drumline.cli.manifests import Manifest
from drumline.cli.placements import OURS, REVISIONS, by_owner, placement_of
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.clock import unix
from drumline.core.gang.explain import Explanation, Holder, explain
from drumline.core.gang.projection import project_node, project_pod
from drumline.core.gang.types import Placement, Pod
from drumline.core.training import conditions
from drumline.core.training.attempts import admitted_for
from drumline.core.training.observation import Observation
from drumline.core.training.policies.admission import asked_of, request_of
from drumline.core.training.view import View
from drumline.runtime.records import JobReader, JobRecord

CLASSES: Final = "priorityclasses"
WANTED: Final[Mapping[str, str]] = {
    "nodes": "",
    "pods": "",
    CLASSES: "",
    TRAINING_JOBS: "",
    REVISIONS: OURS,
}
_DOMAIN: Final = "/"  # that extended resources have


class NotWaitingError(Exception):
    """The job waits for no admission; the message says how it stands."""


@dataclass(frozen=True, slots=True)
class ExplainView:
    """Everything that `explain` shows. `now` in Unix seconds."""

    namespace: str
    name: str
    said: str  # reason and message of the operator's condition; "" before it has looked
    found: Explanation
    now: float
    undated: int = 0  # gangs that hold nodes and have no deadline


def explained(
    found: Mapping[str, list[Manifest]], key: tuple[str, str], catalog: Catalog, now: float
) -> ExplainView:
    """Why the job `key` waits. KeyError when it is not among `found` (by resource: `WANTED`), NotWaitingError."""
    site = _Site(found, catalog, now)
    view = site.views[key]
    said = conditions.find(view.status, ConditionType.QUOTA_RESERVED)
    if not _waits(view):
        raise NotWaitingError(_standing(view))
    waiting = [asked_of(other) for other in site.views.values() if _waits(other)]
    held = [h for h in site.holders if h.uid != view.obs.job.uid]
    text = f"{said.reason}: {said.message}" if said is not None and said.status != "True" else ""
    told = explain(asked_of(view), site.capacity, waiting, held, now)
    return ExplainView(*key, text, told, now, sum(1 for h in held if h.ends_by is None))


def _waits(view: View) -> bool:
    if view.obs.spec is None or conditions.is_finished(view.status) or view.spec.suspend:
        return False
    return not conditions.is_true(view.status, ConditionType.QUOTA_RESERVED)


def _standing(view: View) -> str:
    name = f"{view.obs.job.namespace}/{view.obs.job.name}"
    if view.obs.spec is None:
        return f"{name} is not valid: {'; '.join(map(str, view.obs.errors))}"
    return f"{name} does not wait for admission: it is {view.status.phase or 'new'}"


class _Site:
    """The cluster as admission sees it."""

    def __init__(self, found: Mapping[str, list[Manifest]], catalog: Catalog, now: float) -> None:
        self.capacity = Capacity()
        self.holders: list[Holder] = []
        self.views: dict[tuple[str, str], View] = {}
        self._priorities = {c["metadata"]["name"]: int(c.get("value", 0)) for c in found[CLASSES]}
        revisions = by_owner(found[REVISIONS])
        for node in found["nodes"]:
            self.capacity.set_node(project_node(node))
        pods = [project_pod(p) for p in found["pods"]]
        for pod in pods:
            self.capacity.set_pod(pod)
        reader = JobReader(catalog)
        for document in found[TRAINING_JOBS]:
            self._take(reader.read(document), placement_of(document, revisions), now)
        self.holders += _groups(pods, now)

    def _take(self, record: JobRecord, placement: Placement | None, now: float) -> None:
        view = View(self._observed(record, placement), now, record.status)
        self.views[record.key] = view
        if view.obs.spec is None or view.obs.placement is None:
            return
        request = request_of(view)
        self.capacity.reserve(request, view.obs.placement)
        chips = request.workers * max(1, request.chips_per_worker)
        self.holders.append(
            Holder(
                record.meta.uid,
                f"{record.meta.namespace}/{record.meta.name}",
                request.priority,
                chips,
                _unsaved(view, chips),
                _ends_by(view),
            )
        )

    def _observed(self, record: JobRecord, placement: Placement | None) -> Observation:
        name = record.spec.priority_class_name if record.spec is not None else None
        return Observation(
            job=record.meta,
            spec=record.spec,
            errors=record.errors,
            shape=record.shape,
            roster=record.roster,
            status=record.status,
            catalog=record.catalog,
            pods={},
            priority=self._priorities.get(name) if name else 0,
            placement=placement,
        )


def _unsaved(view: View, chips: int) -> float:
    """Seconds of work of the whole gang that no durable checkpoint covers."""
    goodput, attempts = view.status.goodput, view.status.attempts
    if goodput is not None and goodput.source == "reported":
        return goodput.provisional_ms / 1000 / chips
    began = unix(attempts[-1].started_at, view.now) if attempts else view.now
    saved = unix(goodput.last_checkpoint_at, began) if goodput is not None else began
    return max(0.0, view.now - max(began, saved))


def _ends_by(view: View) -> float | None:
    limit = view.spec.active_deadline_seconds
    return None if limit is None else view.now + limit - admitted_for(view.status, view.now)


def _groups(pods: Iterable[Pod], now: float) -> Iterator[Holder]:
    """The groups of InferenceServices, which hold nodes by their pods."""
    found: dict[str, list[Pod]] = {}
    for pod in pods:
        if pod.member is not None and pod.member.group and pod.node and not pod.terminal:
            found.setdefault(pod.member.gang, []).append(pod)
    for gang, members in found.items():
        member = members[0].member
        if member is None:
            continue
        chips = sum(n for p in members for name, n in p.requests if _DOMAIN in name)
        name = f"{members[0].namespace}/{member.job} ({member.role} group {member.slice})"
        yield Holder(gang, name, 0, max(1, chips), now - min(p.created_at for p in members))


def raw(view: ExplainView) -> dict[str, Any]:
    """The view as data, in names of the wire."""
    found = view.found
    return {
        "namespace": view.namespace,
        "name": view.name,
        "condition": view.said,
        "fitsNow": found.refusal is None,
        "reason": found.refusal.reason if found.refusal is not None else None,
        "message": found.refusal.message if found.refusal is not None else None,
        "never": found.ever.message if found.ever is not None else None,
        "ahead": list(found.ahead),
        "wouldHaveToEnd": [
            {
                "name": h.name,
                "accelerators": h.chips,
                "priority": h.priority,
                "unsavedSeconds": round(h.unsaved_seconds),
            }
            for h in found.leavers
        ],
        "latest": found.by,
    }
