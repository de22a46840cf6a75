"""The small cluster of `cluster`, in which Kubernetes' own scheduler binds the pods of a group: all of them or none."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from drumline.core.gang.backends.base import Found
from drumline.core.gang.backends.native import FIELD, VERSIONS
from drumline.core.gang.backends.registry import OURS, Choice
from drumline.core.gang.backing import resource_of
from drumline.core.gang.plan import Create, Delete
from drumline.core.gang.types import Pod
from drumline.core.inference.backing import belongs
from drumline.core.inference.observation import Observation
from tests.unit.core.inference import services
from tests.unit.core.inference.cluster import GPU, World

NATIVE = VERSIONS[-1]
NEED = NATIVE.needs[0]
GROUPS = resource_of(NEED)
THEIRS = Choice("native", NATIVE)


def found(name: str, uid: str = "uid-g") -> Found:
    """A PodGroup of the service's."""
    owner = {"kind": "InferenceService", "name": "chat", "uid": services.UID}
    metadata = {"name": name, "namespace": "ns", "ownerReferences": [owner]}
    return Found(NEED, uid, {"kind": "PodGroup", "metadata": metadata})


@dataclass
class Elsewhere(World):
    """`choice`: who admits attempts that are yet to begin."""

    choice: Choice = THEIRS
    groups_there: dict[str, Found] = field(default_factory=dict)
    group_of: dict[str, str] = field(default_factory=dict)  # pod → the PodGroup that it names

    def observe(self) -> Observation:
        seen = super().observe()
        assert all(belongs(services.UID, f) for f in self.groups_there.values())
        return replace(
            seen,
            backend=self.choice,
            backends={"native": THEIRS},
            theirs=tuple(self.groups_there.values()),
            theirs_known=frozenset({NEED}),
            cordoned=frozenset(n for n, node in self.capacity.nodes.items() if node.unschedulable),
        )

    def _create(self, write: Create) -> None:
        name = write.manifest["metadata"]["name"]
        if write.resource == GROUPS:
            self.made += 1
            self.groups_there[name] = Found(NEED, f"uid-{self.made}", dict(write.manifest))
            return
        super()._create(write)
        if write.resource == "pods":
            wanted = write.manifest["spec"].get(FIELD)
            self.group_of[name] = wanted["podGroupName"] if wanted else ""

    def _delete(self, write: Delete) -> None:
        if write.resource == GROUPS:
            self.groups_there.pop(write.name, None)
        else:
            super()._delete(write)

    def start(self) -> None:
        """Bind the groups that are whole and fit, then run what is bound."""
        waiting: dict[str, list[Pod]] = defaultdict(list)
        for pod in self.pods.values():
            if not pod.deleting and not pod.terminal and not pod.bound and self.group_of.get(pod.name):
                waiting[self.group_of[pod.name]].append(pod)
        for name, pods in waiting.items():
            group = self.groups_there.get(name)
            if (
                group is not None
                and len(pods) >= group.document["spec"]["schedulingPolicy"]["gang"]["minCount"]
            ):
                self._bind(pods)
        for pod in list(self.pods.values()):
            if self.group_of.get(pod.name) and pod.bound and not (pod.deleting or pod.terminal or pod.able):
                ready = pod.member is not None and (pod.member.worker > 0 or bool(pod.in_service))
                self.put(replace(services.up(pod, pod.bound_at), ready=ready))
        super().start()

    def _bind(self, pods: list[Pod]) -> None:
        nodes: list[str] = []
        for pod in pods:
            chips = dict(pod.requests)[GPU]
            fits = (n for n in self.capacity.nodes if self._free(n) - chips * nodes.count(n) >= chips)
            nodes.append(next(fits, ""))
        for pod, node in zip(pods, nodes, strict=True) if all(nodes) else ():
            self.put(replace(pod, node=node, bound=True, bound_at=self.now))

    def _free(self, name: str) -> int:
        node = self.capacity.nodes[name]
        held = self.capacity.now.used(name).get(GPU, 0)
        return node.allocatable[GPU] - held if node.ready and not node.unschedulable else 0

    def _pin(self, pod: Pod) -> str:
        return "" if self.group_of.get(pod.name) else super()._pin(pod)

    def expected(self) -> set[str]:
        """The PodGroups that there have to be: of the attempts under way."""
        return {
            f"chat-{role}-{g.attempt}-{g.id}-g"
            for role in ("serve", "prefill", "decode")
            for g in self.groups(role).values()
            if g.backend and g.nodes and g.started_at
        }


def choose(world: Elsewhere, *, ours: bool) -> None:
    """Who admits the next attempts."""
    world.choice = OURS if ours else THEIRS


def raw(**changes: Any) -> dict[str, Any]:
    """A service of pairs, which waits for nothing between two attempts."""
    policy = {"maxRestarts": 5, "backoff": {"initialSeconds": 0, "maxSeconds": 0}}
    return services.spec(
        {**services.role(replicas=2), "accelerator": {"type": "nvidia-l4", "chipsPerWorker": 4}},
        **{"failurePolicy": policy, "scheduling": {"gangTimeoutSeconds": 60}, **changes},
    )
