"""One InferenceService planned without a cluster, by the operator's own code.

The service is validated and then decided upon again and again, as the operator would, in a world in which what a plan
creates is there at once, every group is admitted (on described nodes, or nowhere), and no pod ever starts. What waits
for pods that run (workers of a group whose leader comes first, roles that start after others) is not in those plans;
it follows at the end, with what it waits for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from drumline.api.catalog import Catalog
from drumline.api.inference import InferenceRoleSpec, InferenceServiceSpec
from drumline.api.inference_status import GroupStatus, InferenceServiceStatus
from drumline.api.meta import ANNOTATION_DIGEST, MANAGED_BY
from drumline.api.validation_inference import parse_service, validate_service
from drumline.cli.offline import NO_UID, InvalidJobError, Planned, RefusedError
from drumline.core.gang.backends.base import BUILTIN
from drumline.core.gang.backends.registry import label_of, presumed
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.device_capacity import resolved
from drumline.core.gang.discovery import ObservedDiscovery, ObservedService
from drumline.core.gang.lazy import rendered
from drumline.core.gang.meta import ObjectMeta
from drumline.core.gang.placement import place
from drumline.core.gang.placement_refusal import unmodelled
from drumline.core.gang.plan import Action, Apply, Create, Patch, Plan
from drumline.core.gang.projection import project_node, project_pod
from drumline.core.gang.types import GangRequest, Granted, Placement, Pod, Refusal
from drumline.core.inference import backing, names
from drumline.core.inference.decide import decide
from drumline.core.inference.groups import every
from drumline.core.inference.observation import Child, Observation, RoleChild, Settings
from drumline.core.inference.render import read_revision
from drumline.core.inference.view import View

Manifest = Mapping[str, Any]

ROUNDS: Final = 20
_NOW: Final = 1_000_000_000.0  # no object shows it


@dataclass(frozen=True, slots=True)
class Service:
    """A valid service from a manifest."""

    meta: ObjectMeta
    spec: InferenceServiceSpec


def service_of(manifest: Manifest, namespace: str, catalog: Catalog) -> Service:
    """The service of a manifest; `namespace` where it names none. InvalidJobError."""
    metadata = manifest.get("metadata") or {}
    name = str(metadata.get("name") or "")
    spec, errors = parse_service(manifest.get("spec"))
    if spec is None:
        raise InvalidJobError(errors)
    if errors := validate_service(name, spec, catalog):
        raise InvalidJobError(errors)
    space, uid = str(metadata.get("namespace") or namespace), str(metadata.get("uid") or NO_UID)
    labels = metadata.get("labels") or {}
    return Service(ObjectMeta(space, name, uid, 1, "1", 0.0, labels=labels, managed_by=spec.managed_by), spec)


def plan_service(service: Service, catalog: Catalog, nodes: Sequence[Manifest] | None = None) -> Planned:
    """What the operator would create for a new service on `nodes`. RefusedError.

    Without `nodes` no placement is known, and the pods are unpinned.
    """
    world = _World(service, catalog, nodes)
    world.settle()
    return Planned((*world.objects, *world.waiting()), nodes is not None, _why_nothing(service.spec))


def _why_nothing(spec: InferenceServiceSpec) -> str:
    return (
        f"Nothing is created: {spec.managed_by} manages the service." if spec.managed_by != MANAGED_BY else ""
    )


@dataclass
class _World:
    service: Service
    catalog: Catalog
    nodes: Sequence[Manifest] | None
    objects: list[tuple[str, Manifest]] = field(default_factory=list)
    capacity: Capacity = field(default_factory=Capacity)

    def __post_init__(self) -> None:
        for manifest in self.nodes or ():
            self.capacity.set_node(project_node(manifest))
        scheduling = self.service.spec.scheduling
        choice, level = presumed(scheduling.backend or BUILTIN), scheduling.placement.level
        self.seen = Observation(
            service=self.service.meta,
            spec=self.service.spec,
            errors=(),
            status=InferenceServiceStatus(),
            catalog=self.catalog,
            settings=Settings(nowhere=self.nodes is None),
            queue=self.service.spec.queue or "",
            backend=choice,
            backends={choice.name: choice},
            topology_key=label_of(self.capacity.hierarchy(level), level) if level else "",
        )

    def settle(self) -> None:
        """Decide and apply until nothing new comes of it."""
        for _ in range(ROUNDS):
            plan = decide(self.seen, _NOW)
            known = len(self.objects)
            status = plan.status or plan.intent
            before = self.seen.status
            if status is not None:
                self._see(status=InferenceServiceStatus.model_validate(status))
            for action in (*plan.prepare, *(a for stage in plan.actions for a in stage)):
                self._apply(action)
            self._admit(plan)
            if len(self.objects) == known and self.seen.status == before and not plan.queue:
                return

    def _see(self, **changes: Any) -> None:
        self.seen = replace(self.seen, **changes)

    def _admit(self, plan: Plan) -> None:
        view = View(self.seen, _NOW, self.seen.status)
        for role, group in every(view):
            if not group.nodes and (refused := backing.refusal(view, role, group)) is not None:
                raise RefusedError(refused)
        held = dict(self.seen.admission)
        for request in plan.queue:
            if request.uid not in held:
                held[request.uid] = Granted(self._placed(request))
        self._see(admission={r.uid: held[r.uid] for r in plan.queue})

    def _placed(self, request: GangRequest) -> Placement:
        if self.nodes is None or request.unpinned:
            return Placement(("",) * request.workers)
        asked = resolved(request, self.capacity)
        known = unmodelled((request.worker,)) or asked
        answer = known if isinstance(known, Refusal) else place(known, self.capacity)
        if isinstance(answer, Refusal):
            raise RefusedError(answer)
        self.capacity.reserve(request, answer)
        return answer

    def _apply(self, action: Action) -> None:
        if isinstance(action, Patch) and action.resource == "inferenceroles":
            return
        if not isinstance(action, Create | Apply):
            return
        manifest = rendered(action.manifest)
        name = manifest["metadata"]["name"]
        if action.resource not in ("endpointslices", "endpoints"):
            self.objects.append(("", manifest))
        if action.resource == "pods":
            self._start(manifest)
        elif action.resource == "controllerrevisions":
            found = read_revision({**manifest, "metadata": {**manifest["metadata"], "uid": name}})
            self._see(revisions={**self.seen.revisions, name: found})
        elif action.resource == "inferenceroles":
            spec = manifest["spec"]
            child = RoleChild(name, int(spec["replicas"]))
            self._see(role_children={**self.seen.role_children, str(spec["role"]): child})
        elif name == names.peers(self.service.meta.name):
            self._see(discovery=ObservedDiscovery(service=ObservedService(ours=True)))
        elif "." not in action.resource:  # those with one are a backend's
            digest = str((manifest["metadata"].get("annotations") or {}).get(ANNOTATION_DIGEST, ""))
            self._see(children={**self.seen.children, f"{action.resource}/{name}": Child(name, digest)})

    def _start(self, manifest: Manifest) -> None:
        pod = project_pod(
            {**manifest, "metadata": {**manifest["metadata"], "uid": manifest["metadata"]["name"]}}
        )
        if pod.member is None:
            return
        key = (pod.member.role, pod.member.slice)
        there: tuple[Pod, ...] = self.seen.pods.get(key, ())
        self._see(pods={**self.seen.pods, key: (*there, pod)})

    def waiting(self) -> Iterator[tuple[str, Manifest]]:
        """Pods that wait for others to run."""
        there = {manifest["metadata"]["name"] for _, manifest in self.objects}
        for role in self.seen.status.roles:
            for group in role.groups:
                yield from (
                    (why, pod)
                    for why, pod in self._pods(role.name, group)
                    if pod["metadata"]["name"] not in there
                )

    def _pods(self, name: str, group: GroupStatus) -> Iterator[tuple[str, Manifest]]:
        role = next(r for r in self.service.spec.roles if r.name == name)
        placed = group if group.attempt else group.model_copy(update={"attempt": 1})
        view = View(self.seen, _NOW, self.seen.status)
        prepared = backing.prepared(view, name, placed)
        behind = backing.backed(view, name, placed, prepared)
        for worker in range(prepared.size):
            node = group.nodes[worker] if worker < len(group.nodes) else ""
            pod = prepared.pod(worker, node or None)
            yield _why(role, worker), behind.pod(pod, worker) if behind is not None else pod


def _why(role: InferenceRoleSpec, worker: int) -> str:
    waits = [f"role {other} has a group in service" for other in role.start_after]
    if worker:
        waits.append("the group's leader runs")
    return f"created once: {' and '.join(waits)}" if waits else "created with its group"
