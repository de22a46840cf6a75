"""One TrainingJob planned without a cluster, by the operator's own code.

The job is validated, rendered, placed (on described nodes, or nowhere) and decided upon exactly as in the
operator: `validate_job`, `gang_request`, `place`, `decide`. What differs is the world: nothing else runs,
and the job was admitted this moment. Pods of a helper that waits for another role are not in the
operator's first plan; they follow at the end, with what they wait for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from drumline import __version__
from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.meta import MANAGED_BY
from drumline.api.provisioning import ProvisioningMode
from drumline.api.shape import resolve_shape, spare_size
from drumline.api.status import ProvisioningPhase, TrainingJobStatus
from drumline.api.training import TrainingJobSpec
from drumline.api.validation import MAX_PODS, parse_spec, validate_job
from drumline.core.gang.backends.base import BUILTIN
from drumline.core.gang.backends.registry import label_of, presumed
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.device_capacity import resolved
from drumline.core.gang.lazy import rendered
from drumline.core.gang.placement import place
from drumline.core.gang.placement_refusal import unmodelled
from drumline.core.gang.plan import Apply, Create, Plan
from drumline.core.gang.projection import project_node
from drumline.core.gang.topology import Topology
from drumline.core.gang.types import Placement, Refusal
from drumline.core.training.backing import backed, refusal
from drumline.core.training.decide import decide
from drumline.core.training.members import roster
from drumline.core.training.observation import Granted, JobMeta, Observation, Settings
from drumline.core.training.provisioned import consumed
from drumline.core.training.render import PreparedGang, prepare_gang
from drumline.core.training.rendering import render_settings
from drumline.core.training.request import gang_request
from drumline.core.training.view import View

Manifest = Mapping[str, Any]

NO_UID: Final = "00000000-0000-0000-0000-000000000000"  # the API server gives one at creation
_NOW: Final = 1_000_000_000.0  # no object shows it
_IMAGE: Final = f"drumline/operator:{__version__}"


class InvalidJobError(Exception):
    """The job is not valid; `errors` says why, field by field."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, errors)))


class RefusedError(Exception):
    """The nodes can't take the gang now; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(f"{refusal.reason}: {refusal.message}")


@dataclass(frozen=True, slots=True)
class Job:
    """A valid job from a manifest."""

    meta: JobMeta
    spec: TrainingJobSpec


@dataclass(frozen=True, slots=True)
class Planned:
    """Objects in the order of their creation, each with a remark ("" = none)."""

    objects: tuple[tuple[str, Manifest], ...]
    placed: bool
    nothing: str  # why there are no objects; "" when there are


def job_of(manifest: Manifest, namespace: str, catalog: Catalog) -> Job:
    """The job of a manifest; `namespace` where it names none. InvalidJobError."""
    metadata = manifest.get("metadata") or {}
    name = str(metadata.get("name") or "")
    spec, errors = parse_spec(manifest.get("spec"))
    if spec is None:
        raise InvalidJobError(errors)
    if errors := validate_job(name, spec, catalog):
        raise InvalidJobError(errors)
    space = str(metadata.get("namespace") or namespace)
    uid = str(metadata.get("uid") or NO_UID)
    labels = metadata.get("labels") or {}
    return Job(JobMeta(space, name, uid, 1, "1", 0.0, labels=labels, managed_by=spec.managed_by), spec)


def plan_offline(
    job: Job, catalog: Catalog, nodes: Sequence[Manifest] | None = None, attempt: int = 1
) -> Planned:
    """What the operator would create for `attempt` of `job` on `nodes`. RefusedError.

    Without `nodes` no placement is known, and the pods are unpinned; a job that would ask for nodes has asked.
    """
    obs = _observation(job, catalog, attempt)
    obs, asked, marks = _asked(obs) if nodes is None else (obs, (), {})
    gang = prepare_gang(job.meta, job.spec, catalog, attempt, render_settings(obs))
    view = View(obs, _NOW, obs.status)
    if (refused := refusal(view)) is not None:
        raise RefusedError(refused)
    behind, ours = backed(view, gang), nodes is not None and not obs.backend.foreign
    placement = _place(obs, job, nodes or ()) if ours else Placement(("",) * _places(obs))
    plan = decide(replace(obs, admission=Granted(placement)), _NOW)
    objects = tuple(("", manifest) for manifest in _created(plan))
    waiting = tuple(_waiting(job.spec, gang, placement, objects)) if objects else ()
    if behind is not None:
        indexes = {gang.name_of(i): i for i in range(gang.roster.size)}
        waiting = tuple((why, behind.pod(pod, indexes[pod["metadata"]["name"]])) for why, pod in waiting)
    whole = ((remark, _marked(manifest, marks)) for remark, manifest in (*objects, *waiting))
    return Planned((*asked, *whole), nodes is not None, _why_nothing(job.spec))


def _asked(obs: Observation) -> tuple[Observation, tuple[tuple[str, Manifest], ...], Mapping[str, str]]:
    """The job as one whose nodes are there; what asks for them, and the annotations by which its pods consume that.

    A job that asks for none by requests is as it is.
    """
    wish = obs.spec.scheduling.provisioning if obs.spec is not None else None
    if obs.spec is None or wish is None or wish.mode is not ProvisioningMode.REQUEST:
        return obs, (), {}
    plan = decide(replace(obs, admission=Granted(Placement(("",) * _places(obs)))), _NOW)
    status = TrainingJobStatus.model_validate(plan.intent or {})
    known = status.provisioning
    there = known.model_copy(update={"phase": ProvisioningPhase.PROVISIONED}) if known is not None else None
    marks = consumed(status.model_copy(update={"provisioning": there}))
    remark = f"created when the gang was refused nodes for {wish.after_seconds} s"
    scheduling = obs.spec.scheduling.model_copy(update={"provisioning": None})
    spec = obs.spec.model_copy(update={"scheduling": scheduling})
    return replace(obs, spec=spec), tuple((remark, m) for m in _created(plan)), marks


def _marked(manifest: Manifest, marks: Mapping[str, str]) -> Manifest:
    """The manifest, with these annotations beside its own if it is a pod's."""
    if not marks or manifest["kind"] != "Pod":
        return manifest
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "annotations": {**metadata["annotations"], **marks}}}


def _places(obs: Observation) -> int:
    """Of the gang and all spares that it asks for."""
    if obs.roster is None or obs.spec is None:
        return 0
    return obs.roster.size + obs.spec.spares * spare_size(obs.spec, obs.roster.workers_per_slice)


def _why_nothing(spec: TrainingJobSpec) -> str:
    if spec.managed_by != MANAGED_BY:
        return f"Nothing is created: {spec.managed_by} manages the job."
    return "Nothing is created until spec.suspend is false." if spec.suspend else ""


def _place(obs: Observation, job: Job, nodes: Sequence[Manifest]) -> Placement:
    capacity = Capacity()
    for manifest in nodes:
        capacity.set_node(project_node(manifest))
    request = gang_request(job.meta, job.spec, obs.catalog, queued_at=_NOW, settings=render_settings(obs))
    # of volumes placement could judge, if a cluster said where they are
    unknown = unmodelled((request.worker, *(helper.shape for helper in request.helpers)))
    asked = resolved(request, capacity)
    answer = unknown or (asked if isinstance(asked, Refusal) else place(asked, capacity))
    if isinstance(answer, Refusal):
        raise RefusedError(answer)
    return answer


def _observation(job: Job, catalog: Catalog, attempt: int) -> Observation:
    shape = resolve_shape(job.spec, catalog)
    members = roster(job.meta.name, job.spec, shape.workers_per_slice)
    # spares have pods where the operator has an image for them, as the chart's has; its name is the chart's default
    settings = Settings(creates_per_plan=MAX_PODS, launcher_image=_IMAGE)
    backend, level = job.spec.scheduling.backend, job.spec.scheduling.placement.level
    return Observation(
        backend=presumed(backend or BUILTIN),
        topology_key=label_of(Topology().hierarchy(level, ()), level) if level else "",
        job=job.meta,
        spec=job.spec,
        errors=(),
        shape=shape,
        roster=members,
        status=TrainingJobStatus(attempt=attempt - 1),
        catalog=catalog,
        pods={},
        settings=settings,
    )


def _created(plan: Plan) -> Iterator[Manifest]:
    yield from (create.manifest for create in plan.prepare)
    for stage in plan.actions:
        yield from (rendered(action.manifest) for action in stage if isinstance(action, Create | Apply))


def _waiting(
    spec: TrainingJobSpec, gang: PreparedGang, placement: Placement, objects: Sequence[tuple[str, Manifest]]
) -> Iterator[tuple[str, Manifest]]:
    """Pods of helpers that the first plan leaves out."""
    there = {manifest["metadata"]["name"] for _, manifest in objects if manifest["kind"] == "Pod"}
    for helper in spec.helpers:
        needs = " and ".join(f"{d.name} {d.status.value}" for d in helper.depends_on)
        for index in gang.roster.role_range(helper.name):
            if gang.name_of(index) not in there:
                yield f"created once: {needs}", gang.pod(index, placement.nodes[index] or None)
