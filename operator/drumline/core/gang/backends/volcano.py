"""Volcano: a PodGroup that its scheduler lets in by queue, then binds as a whole.

Topology is Volcano's own: tiers of HyperNodes, which carry names. Which tier a level of ours is can't be read off a
node's label, so the cluster's operator says it (`tiers`, by node label). A gang that only prefers to be close asks
for the soft mode, which needs no tier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from drumline.api.reasons import Reason
from drumline.core.gang.backends.base import GangFacts, Manifest, Need
from drumline.core.gang.backends.marking import condition, dropped, group, marked, own, total, words
from drumline.core.gang.types import EMPTY, PlacementPolicy, Refusal

ANNOTATION_GROUP: Final = "scheduling.k8s.io/group-name"  # what its scheduler reads
ANNOTATION_GROUP_TOO: Final = "scheduling.volcano.sh/group-name"  # what newer parts of it read
SCHEDULER: Final = "volcano"
_NEED: Final = Need("scheduling.volcano.sh", "v1beta1", "podgroups", "PodGroup")
_SETTLED: Final = frozenset({"Running", "Completed"})


@dataclass(frozen=True, slots=True)
class Volcano:
    """The adapter. `tiers`: by node label of a topology level, the name of the HyperNodes' tier that it is."""

    scheduler: str = SCHEDULER
    tiers: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    name: str = "volcano"
    needs: tuple[Need, ...] = (_NEED,)

    def refusal(self, facts: GangFacts) -> Refusal | None:
        """A gang that has to keep to a domain of which nobody said what Volcano calls it."""
        if facts.policy is not PlacementPolicy.REQUIRED or facts.topology_key in self.tiers:
            return None
        text = (
            f"scheduling.placement.policy is Required at {facts.topology_key or 'a level without a node label'}, "
            f"and the operator is not told which tier of Volcano's HyperNodes that is (told: "
            f"{', '.join(sorted(self.tiers)) or 'none'})"
        )
        return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)

    def objects(self, facts: GangFacts) -> tuple[Manifest, ...]:
        """The PodGroup. Without a queue Volcano puts it into `default`."""
        spec: dict[str, Any] = {"minMember": facts.pods, "minResources": total(facts)}
        if facts.queue:
            spec["queue"] = facts.queue
        if facts.priority_class:
            spec["priorityClassName"] = facts.priority_class
        if facts.policy is PlacementPolicy.REQUIRED:
            spec["networkTopology"] = {"mode": "hard", "highestTierName": self.tiers[facts.topology_key]}
        elif facts.policy is PlacementPolicy.PREFERRED:
            spec["networkTopology"] = {"mode": "soft"}
        return (group(facts, f"{_NEED.group}/{_NEED.version}", spec),)

    def prepare_pod(self, pod: Manifest, facts: GangFacts, index: int) -> Manifest:
        """Pods that come later join the group too: it asks for a least number of members, not for a largest."""
        return marked(
            pod,
            annotations={ANNOTATION_GROUP: facts.group, ANNOTATION_GROUP_TOO: facts.group},
            scheduler=self.scheduler,
            priority_class=facts.priority_class,
        )

    def kept(self, sent: Manifest, answer: Manifest) -> str:
        """The annotations and the scheduler."""
        return dropped(sent, answer, (ANNOTATION_GROUP, ANNOTATION_GROUP_TOO))

    def waits(self, facts: GangFacts, objects: Iterable[Manifest]) -> Refusal | None:
        """Not let in by its queue, or let in and without room; in Volcano's words where it has any."""
        found = own(facts, objects, _NEED.kind)
        if found is None:
            return None
        phase = (found.get("status") or {}).get("phase")
        if phase in _SETTLED:
            return None
        queue = (found.get("spec") or {}).get("queue") or "default"
        if not phase:
            text = f"Volcano has not looked at PodGroup {facts.group} yet: does its scheduler run?"
            return Refusal(Reason.QUEUED, text)
        why = condition(found, "Unschedulable")
        said = f": {words(why.get('message'))}" if why.get("status") == "True" else ""
        if phase == "Pending":
            return Refusal(Reason.QUEUED, f"Volcano's queue {queue} has not let the gang in{said}")
        text = f"Volcano's queue {queue} let the gang in; there is no room for all of it"
        return Refusal(Reason.INSUFFICIENT_ACCELERATORS, text + said)
