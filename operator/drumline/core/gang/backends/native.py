"""Kubernetes' own gangs: a PodGroup, and pods that name it.

The scheduler binds the pods of a group once all that have to start together find nodes in one look at the cluster,
and none of them before. One adapter for each version of the API, which differ in the condition that tells of it:

- `v1alpha2` (1.36): `PodGroupScheduled`;
- `v1alpha3` and `v1beta1` (1.37), which take its place: `PodGroupInitiallyScheduled`.

From 1.37 on a group has a priority of its own, which counts in place of its pods' when others evict, and the
scheduler leaves a group alone whose pods have another one. So the group names the class that its pods carry. It is
evicted as a whole there: what is left of a gang is of no use to anybody.

A pod names its group in a field that an API server drops without a word where its gate is off, so that every pod is
read back (`kept`). Whether the scheduler knows groups nobody can ask. Pods keep our own priority class, which evicts
nobody: a scheduler would evict for each of a gang's pods by itself, whether the gang as a whole gets in or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from drumline.api.reasons import Reason
from drumline.core.gang.backends.base import GangFacts, Manifest, Need
from drumline.core.gang.backends.marking import condition, group, own, together, words
from drumline.core.gang.types import PlacementPolicy, Refusal

GROUP: Final = "scheduling.k8s.io"
FIELD: Final = "schedulingGroup"
_NAME: Final = "podGroupName"
GATES_ASKED: Final = (  # where a part of a gang was bound
    "are the scheduler's feature gates GenericWorkload and, before 1.37, GangScheduling on?"
)
_ERROR: Final = "SchedulerError"


@dataclass(frozen=True, slots=True)
class Native:
    """The adapter to one version.

    `scheduled` is the condition that tells whether the group has its nodes; `ranked`: groups have a priority.
    """

    version: str
    scheduled: str
    ranked: bool = True
    name: str = "native"

    @property
    def needs(self) -> tuple[Need, ...]:
        """The PodGroup. Workloads, templates of groups, are of no use here."""
        return (Need(GROUP, self.version, "podgroups", "PodGroup"),)

    def refusal(self, facts: GangFacts) -> Refusal | None:
        """It knows one required domain, by a node label, and no preferred one."""
        if facts.policy is PlacementPolicy.REQUIRED and not facts.topology_key:
            text = "scheduling.placement.policy is Required at a level without a node label, which is all a PodGroup knows"
            return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)
        return None

    def objects(self, facts: GangFacts) -> tuple[Manifest, ...]:
        """The PodGroup: all that start together, or nothing."""
        spec: dict[str, Any] = {"schedulingPolicy": {"gang": {"minCount": facts.pods}}}
        if facts.policy is PlacementPolicy.REQUIRED:
            spec["schedulingConstraints"] = {"topology": [{"key": facts.topology_key}]}
        if self.ranked:
            spec["disruptionMode"] = {"all": {}}
            if facts.pod_class:
                spec["priorityClassName"] = facts.pod_class
        return (group(facts, f"{GROUP}/{self.version}", spec),)

    def prepare_pod(self, pod: Manifest, facts: GangFacts, index: int) -> Manifest:
        """The pod in its group; a helper that comes later finds its node alone."""
        if not together(facts, index):
            return pod
        return {**pod, "spec": {**pod["spec"], FIELD: {_NAME: facts.group}}}

    def kept(self, sent: Manifest, answer: Manifest) -> str:
        """The field that names the group."""
        wanted = sent["spec"].get(FIELD)
        found = answer["spec"].get(FIELD) or {}
        return "" if not wanted or found.get(_NAME) == wanted[_NAME] else f"spec.{FIELD}"

    def waits(self, facts: GangFacts, objects: Iterable[Manifest]) -> Refusal | None:
        """What the scheduler says of the group; what it says of one that had its nodes once is of no interest."""
        found = own(facts, objects, "PodGroup")
        if found is None:
            return None
        told = condition(found, self.scheduled)
        if not told:
            text = f"the scheduler has said nothing of PodGroup {facts.group} yet: does it know PodGroups?"
            return Refusal(Reason.QUEUED, text)
        if told.get("status") == "True":
            return None
        why = words(told.get("message")) or words(told.get("reason"))
        if told.get("reason") == _ERROR:
            return Refusal(Reason.QUEUED, f"the scheduler fails on PodGroup {facts.group}: {why}")
        return Refusal(Reason.INSUFFICIENT_ACCELERATORS, f"PodGroup {facts.group} has no nodes: {why}")


VERSIONS: Final = (
    Native("v1beta1", "PodGroupInitiallyScheduled"),
    Native("v1alpha3", "PodGroupInitiallyScheduled"),
    Native("v1alpha2", "PodGroupScheduled", ranked=False),
)
