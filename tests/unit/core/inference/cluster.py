"""A small cluster in which one service lives: an API, admission with the real capacity, and kubelets.

Everything written is seen at once, and a deleted pod is there until its kubelet lets go of it. `crash_after` ends
the application of a plan early, as the loss of the operator's process does. Nodes have 8 chips and room for them.

    world = World(services.fresh(raw))
    world.settle()          # decide, admit, start pods, until nothing changes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from drumline.api.inference_status import GroupStatus, InferenceServiceStatus
from drumline.api.meta import ANNOTATION_DIGEST
from drumline.core.gang.admission import admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.discovery import ObservedDiscovery, ObservedService
from drumline.core.gang.plan import Apply, Create, Delete, Patch, Plan
from drumline.core.gang.projection import project_pod
from drumline.core.gang.types import Granted, Node, Placement, Pod, Refusal
from drumline.core.inference.decide import decide
from drumline.core.inference.groups import every
from drumline.core.inference.observation import Child, Observation, Revision, RoleChild
from drumline.core.inference.policies.admission import request_of
from drumline.core.inference.render import read_revision
from drumline.core.inference.signals import EngineSample, GroupSignals, Signals
from drumline.core.inference.view import View
from tests.unit.core.inference import services

GPU = "nvidia.com/gpu"
L4 = "nvidia-l4"
LABELS = {"cloud.google.com/gke-accelerator": L4}
ROUNDS = 12  # decisions after which a world without news must have come to rest


def node(name: str, chips: int = 8, **changes: Any) -> Node:
    """A machine of L4 chips."""
    allocatable = {"cpu": 64_000, "memory": 2**38, "pods": 110, GPU: chips}
    return Node(name, labels={**LABELS, **changes.pop("labels", {})}, allocatable=allocatable, **changes)


def gpu_role(name: str = "serve", chips: int = 4, **changes: Any) -> dict[str, Any]:
    """A raw role on these machines."""
    return services.role(name, **{"accelerator": {"type": L4, "chipsPerWorker": chips}, **changes})


@dataclass
class World:
    """What stands in the API, and what admission said."""

    service: Observation
    now: float = services.NOW
    status: InferenceServiceStatus = field(init=False)
    pods: dict[str, Pod] = field(default_factory=dict)
    revisions: dict[str, Revision] = field(default_factory=dict)
    children: dict[str, Child] = field(default_factory=dict)
    roles: dict[str, RoleChild] = field(default_factory=dict)
    published: dict[str, Any] = field(default_factory=dict)
    peers: bool = False
    capacity: Capacity = field(default_factory=Capacity)
    queue: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Granted | Refusal] = field(default_factory=dict)
    load: dict[tuple[str, int], float] = field(default_factory=dict)  # requests in flight, by role and group
    made: int = 0

    def __post_init__(self) -> None:
        self.status = self.service.status
        for number in range(4):
            self.capacity.set_node(node(f"node-{number}"))

    # what is seen

    def observe(self) -> Observation:
        """What the operator sees."""
        nodes = self.capacity.nodes
        grouped: dict[tuple[str, int], tuple[Pod, ...]] = {}
        for pod in self.pods.values():
            key = (pod.member.role, pod.member.slice)
            grouped[key] = (*grouped.get(key, ()), pod)
        held = {n for r in self.status.roles for g in r.groups for n in g.nodes if n}
        return replace(
            self.service,
            status=self.status,
            pods=grouped,
            revisions=dict(self.revisions),
            children=dict(self.children),
            role_children=dict(self.roles),
            admission=dict(self.answers),
            lost=frozenset(n for n in held if n not in nodes or not nodes[n].ready),
            cordoned=frozenset(n for n in held if n in nodes and nodes[n].unschedulable),
            signals=self._signals(),
            discovery=ObservedDiscovery(
                service=ObservedService(ours=True) if self.peers else None, slices=dict(self.published)
            ),
        )

    def _signals(self) -> Signals:
        """Each leader that runs has just been asked, and tells of its requests."""
        leaders = [p.member for p in self.pods.values() if p.member.worker == 0 and p.able]
        samples = {
            (m.role, m.slice): GroupSignals(
                EngineSample(self.now, waiting=0.0, running=self.load.get((m.role, m.slice), 0.0))
            )
            for m in leaders
        }
        return Signals(samples)

    def view(self) -> View:
        """The same, as policies see it."""
        return View(self.observe(), self.now, self.status)

    def groups(self, role: str = "serve") -> dict[int, GroupStatus]:
        """The groups of a role by number."""
        return {g.id: g for n, g in every(self.view()) if n == role}

    # the operator

    def decide(self) -> Plan:
        """The plan for what is seen now."""
        return decide(self.observe(), self.now)

    def apply(self, plan: Plan, crash_after: int | None = None) -> bool:
        """Apply the plan's writes in order, the first `crash_after` of them only. Whether there was any."""
        self._ask(plan)
        writes = list(_writes(plan))
        for write in writes[:crash_after]:
            self._write(write)
        return bool(writes)

    def reconcile(self) -> int:
        """Decide and apply until nothing is left to do now; how many plans it took."""
        for count in range(ROUNDS):
            plan = self.decide()
            if not self.apply(plan) and plan.requeue_after != 0:
                return count
        raise AssertionError("decisions never come to rest")

    def settle(self, rounds: int = 6) -> None:
        """Let the operator, admission and the kubelets do all they can, without time going by."""
        for _ in range(rounds):
            self.reconcile()
            self.admit()
            self.reconcile()
            self.let_go()
            self.start()
        self.reconcile()

    # admission

    def admit(self) -> None:
        """A round of admission over what waits."""
        asking = [r for uid, r in self.queue.items() if not isinstance(self.answers.get(uid), Granted)]
        result = admit(asking, self.capacity, self.now, 300.0)
        self.answers.update({uid: Granted(placement) for uid, placement in result.granted})
        self.answers.update(result.refused)

    def _ask(self, plan: Plan) -> None:
        wanted = {request.uid: request for request in plan.queue}
        for uid in {*self.queue, *self.answers} - set(wanted):
            self._forget(uid)
        for uid, request in wanted.items():
            if self.queue.get(uid) != request:
                self._forget(uid)
                self.queue[uid] = request

    def _forget(self, uid: str) -> None:
        """A grant that nobody takes up is given back; one that the status holds stays."""
        self.queue.pop(uid, None)
        if isinstance(self.answers.pop(uid, None), Granted) and uid not in self._held():
            self.capacity.release(uid)

    def _held(self) -> dict[str, tuple[str, GroupStatus]]:
        view = self.view()
        return {view.uid_of(r, g.id): (r, g) for r, g in every(view) if any(g.nodes)}

    def _hold(self, before: set[str]) -> None:
        """Keep the capacity as the status has it."""
        held, view = self._held(), self.view()
        for uid in before - set(held):
            self.capacity.release(uid)
        for uid, (role, group) in held.items():
            if not isinstance(self.answers.get(uid), Granted) or uid not in self.queue:
                # a group of whose accelerator the catalogue knows nothing any more holds what it held
                with suppress(KeyError):
                    self.capacity.reserve(request_of(view, role, group), Placement(group.nodes))

    # the API

    def _write(self, write: Any) -> None:
        if isinstance(write, Mapping):
            before = set(self._held())
            self.status = InferenceServiceStatus.model_validate(write)
            self._hold(before)
        elif isinstance(write, Create):
            self._create(write)
        elif isinstance(write, Apply):
            self._apply(write)
        elif isinstance(write, Patch):
            self._patch(write)
        elif isinstance(write, Delete):
            self._delete(write)

    def _create(self, write: Create) -> None:
        manifest = write.manifest
        self.made += 1
        uid = f"uid-{self.made}"
        name = manifest["metadata"]["name"]
        if write.resource == "pods":
            assert name not in self.pods, f"{name} is there already"
            pod = project_pod({**manifest, "metadata": {**manifest["metadata"], "uid": uid}})
            self.put(replace(pod, created_at=self.now))
        elif write.resource == "controllerrevisions":
            self.revisions[name] = replace(read_revision(manifest), uid=uid)
        elif write.resource == "inferenceroles":
            spec = manifest["spec"]
            self.roles[spec["role"]] = RoleChild(uid, spec["replicas"])

    def _apply(self, write: Apply) -> None:
        name = write.manifest["metadata"]["name"]
        if write.resource == "endpointslices":
            self.published[name] = tuple(
                (e["hostname"], tuple(e["addresses"])) for e in write.manifest["endpoints"]
            )
        elif write.resource == "services" and name.endswith("-peers"):
            self.peers = True
        else:
            digest = (write.manifest["metadata"].get("annotations") or {}).get(ANNOTATION_DIGEST, "")
            self.children[f"{write.resource}/{name}"] = Child(f"uid-{name}", digest)

    def _patch(self, write: Patch) -> None:
        if write.resource == "pods":
            pod = self.pods.get(write.name)
            if pod is not None and pod.uid == write.uid:
                is_open = write.body["status"]["conditions"][0]["status"] == "True"
                self.put(replace(pod, in_service=is_open, ready=is_open and pod.able and not pod.deleting))
        elif write.resource == "controllerrevisions":
            self.revisions[write.name] = replace(self.revisions[write.name], number=write.body["revision"])
        elif write.resource == "inferenceroles":
            role = next(r for r, c in self.roles.items() if c.uid == write.uid)
            changes = (
                {"status": write.body["status"]}
                if write.subresource
                else {"replicas": write.body["spec"]["replicas"]}
            )
            self.roles[role] = replace(self.roles[role], **changes)

    def _delete(self, write: Delete) -> None:
        if write.resource == "pods":
            self.delete(write.name)
        elif write.resource == "controllerrevisions":
            del self.revisions[write.name]
        elif write.resource == "inferenceroles":
            self.roles = {role: child for role, child in self.roles.items() if child.uid != write.uid}
        else:
            self.children.pop(f"{write.resource}/{write.name}", None)

    # pods and nodes

    def put(self, pod: Pod) -> None:
        """A pod came or changed."""
        self.pods[pod.name] = pod
        self.capacity.set_pod(pod)

    def change(self, name: str, **changes: Any) -> None:
        """A pod changed."""
        self.put(replace(self.pods[name], **changes))

    def delete(self, name: str, **changes: Any) -> None:
        """A pod is told to end; it is there until `let_go`."""
        ending = {"deleting": True, "deleting_until": self.now + 30, "ready": False, "able": False}
        self.change(name, **{**ending, **changes})

    def drop(self, name: str) -> None:
        """A pod is gone."""
        del self.pods[name]
        self.capacity.remove_pod("ns", name)

    def let_go(self) -> None:
        """Pods that were told to end are gone."""
        for name in [n for n, p in self.pods.items() if p.deleting]:
            self.drop(name)

    def start(self) -> None:
        """Bind each pod to the node it is pinned to, and run it; a leader is Ready while its gate is open."""
        for name, pod in list(self.pods.items()):
            where = self._pin(pod)
            there = self.capacity.nodes.get(where)
            if pod.deleting or pod.terminal or pod.able or there is None or not there.ready:
                continue
            if not pod.bound and there.unschedulable:
                self.change(name, rejected="node(s) were unschedulable")
                continue
            ready = pod.member.worker > 0 or bool(pod.in_service)
            up = services.up(pod, self.now)
            self.put(replace(up, node=where, ready=ready, rejected=""))

    def _pin(self, pod: Pod) -> str:
        """Where a pod of a running attempt is placed."""
        group = self.groups(pod.member.role).get(pod.member.slice)
        if group is None or pod.member.attempt != group.attempt or not group.nodes:
            return ""
        return group.nodes[pod.member.worker]

    def fail(self, name: str, code: int = 1) -> None:
        """A pod ends with an error."""
        self.put(services.failed(self.pods[name], code, at=self.now))

    def set_node(self, name: str, **changes: Any) -> None:
        """A node changes; pods on one that is not ready any more are told to end."""
        self.capacity.set_node(replace(self.capacity.nodes[name], **changes))
        if changes.get("ready") is False:
            for pod in [p for p in self.pods.values() if p.node == name and not p.terminal]:
                self.delete(pod.name, disruption="DeletionByTaintManager")

    def wait(self, seconds: float, step: float = 2.0) -> None:
        """Time goes by, and everybody does what there is to do."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + step)
            self.settle(2)

    def edit(self, **changes: Any) -> None:
        """The spec changes."""
        meta = replace(self.service.service, generation=self.service.service.generation + 1)
        self.service = replace(self.service, service=meta, spec=self.service.spec.model_copy(update=changes))


def _writes(plan: Plan) -> Iterator[Any]:
    yield from plan.prepare
    if plan.intent is not None:
        yield plan.intent
    for stage in plan.actions:
        yield from stage
    if plan.status is not None:
        yield plan.status


def phases(world: World, role: str = "serve") -> list[str]:
    """Phase of each group, by number."""
    return [g.phase.value for _, g in sorted(world.groups(role).items())]
