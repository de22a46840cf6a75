"""KAI: a PodGroup of ours, and pods that its own grouper is told to leave alone.

KAI makes a PodGroup of one member for pods whose owner it does not know, and rewrites their annotation. Since
version 0.15 an annotation keeps it from that; an older one would start such a gang piece by piece, which nothing
in the API shows. A topology level is a node label within a named Topology: without its name (a setting) KAI
ignores the level, so a gang that requires one is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drumline.api.reasons import Reason
from drumline.core.gang.backends.base import GangFacts, Manifest, Need
from drumline.core.gang.backends.marking import dropped, group, marked, own, words
from drumline.core.gang.types import PlacementPolicy, Refusal

ANNOTATION_GROUP: Final = "pod-group-name"
ANNOTATION_LEAVE: Final = "kai.scheduler/skip-podgrouper"
LABEL_QUEUE: Final = "kai.scheduler/queue"
SCHEDULER: Final = "kai-scheduler"
DEFAULT_QUEUE: Final = "default-queue"  # where KAI itself puts what names none
_NEED: Final = Need("scheduling.run.ai", "v2alpha2", "podgroups", "PodGroup")
_QUOTA: Final = frozenset({"OverLimit", "NonPreemptibleOverQuota"})
_LEVEL: Final = {
    PlacementPolicy.REQUIRED: "requiredTopologyLevel",
    PlacementPolicy.PREFERRED: "preferredTopologyLevel",
}


@dataclass(frozen=True, slots=True)
class Kai:
    """The adapter. `topology` names the Topology that our levels' node labels stand in; "" = there is none."""

    scheduler: str = SCHEDULER
    topology: str = ""
    name: str = "kai"
    needs: tuple[Need, ...] = (_NEED,)

    def refusal(self, facts: GangFacts) -> Refusal | None:
        """A gang that has to keep to a domain where KAI would not be able to tell which."""
        if facts.policy is not PlacementPolicy.REQUIRED or (self.topology and facts.topology_key):
            return None
        lacks = "a node label for the level" if self.topology else "the name of KAI's Topology"
        text = f"scheduling.placement.policy is Required, and the operator is not told {lacks}"
        return Refusal(Reason.UNSUPPORTED_SCHEDULING, f"{text}: KAI would ignore it")

    def objects(self, facts: GangFacts) -> tuple[Manifest, ...]:
        """The PodGroup."""
        queue = facts.queue or DEFAULT_QUEUE
        spec: dict[str, Any] = {"minMember": facts.pods, "queue": queue}
        if facts.priority_class:
            spec["priorityClassName"] = facts.priority_class
        level = _LEVEL.get(facts.policy)
        if level and self.topology and facts.topology_key:
            spec["topologyConstraint"] = {"topology": self.topology, level: facts.topology_key}
        made = group(facts, f"{_NEED.group}/{_NEED.version}", spec, **{LABEL_QUEUE: queue})
        return (made,)

    def prepare_pod(self, pod: Manifest, facts: GangFacts, index: int) -> Manifest:
        """Pods that come later join the group too: it asks for a least number of members, not for a largest."""
        return marked(
            pod,
            labels={LABEL_QUEUE: facts.queue or DEFAULT_QUEUE},
            annotations={ANNOTATION_GROUP: facts.group, ANNOTATION_LEAVE: "true"},
            scheduler=self.scheduler,
            priority_class=facts.priority_class,
        )

    def kept(self, sent: Manifest, answer: Manifest) -> str:
        """The marks and the scheduler."""
        return dropped(sent, answer, (ANNOTATION_GROUP, ANNOTATION_LEAVE, LABEL_QUEUE))

    def waits(self, facts: GangFacts, objects: Iterable[Manifest]) -> Refusal | None:
        """What keeps it from a node pool, in KAI's words: quota, or room."""
        found = own(facts, objects, _NEED.kind)
        if found is None:
            return None
        status = found.get("status") or {}
        against = [c for c in status.get("schedulingConditions") or () if c.get("status") == "True"]
        if not against:
            text = f"KAI has said nothing of PodGroup {facts.group} yet"
            return Refusal(Reason.QUEUED, text)
        return _refused(against[-1])


def _refused(said: Mapping[str, Any]) -> Refusal:
    """One scheduling condition of a PodGroup."""
    reasons = said.get("reasons") or ()
    told = "; ".join(words(r.get("message")) for r in reasons if r.get("message"))
    names = {r.get("reason") for r in reasons}
    text = f"KAI can't schedule the gang: {told or words(said.get('message')) or said.get('reason')}"
    if names & _QUOTA:
        return Refusal(Reason.QUEUE_QUOTA, text)
    if "QueueDoesNotExist" in names:
        return Refusal(Reason.QUEUED, text)
    return Refusal(Reason.INSUFFICIENT_ACCELERATORS, text)
