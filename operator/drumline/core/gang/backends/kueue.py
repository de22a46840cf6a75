"""Kueue, by its groups of plain pods: it gates them when they are made, and lifts the gates of all of them at once.

What the pods carry names their queue (a LocalQueue), their group and its size. Kueue makes a Workload of the
group's name out of them; what it says of a gang that waits is in there.

An attempt is one group, for ever. Kueue would let pods of a group be replaced and keeps the quota of those that
ended until they are, so every pod says from its first moment that its group is not to be gone on with
(`retriable-in-group`): then the group is over once all its pods have ended, whether the job is complete, failed,
preempted or starts again, and even if no operator runs then. Pods that are deleted while they are gated have no
kubelet to end them: Kueue lets go of those when the pod garbage collector has come by, or at once when its Workload
is deleted (see `made`).

Helpers that come later can't join: a group has exactly as many pods as it says. Each of them is a Workload alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drumline.api.reasons import Reason
from drumline.core.gang.backends.base import GangFacts, Manifest, Need
from drumline.core.gang.backends.marking import condition, dropped, marked, own, together, words
from drumline.core.gang.types import PlacementPolicy, Refusal

_PREFIX: Final = "kueue.x-k8s.io"
LABEL_QUEUE: Final = f"{_PREFIX}/queue-name"
LABEL_GROUP: Final = f"{_PREFIX}/pod-group-name"
LABEL_MANAGED: Final = f"{_PREFIX}/managed"  # Kueue's own, on every pod that it gates
LABEL_INDEX: Final = f"{_PREFIX}/pod-group-pod-index"
ANNOTATION_COUNT: Final = f"{_PREFIX}/pod-group-total-count"
ANNOTATION_RETRIABLE: Final = f"{_PREFIX}/retriable-in-group"
GATE: Final = f"{_PREFIX}/admission"
MAX_ROLES: Final = 18  # of one group, which Kueue tells apart by what their pods request
WORKLOAD: Final = Need(_PREFIX, "v1beta2", "workloads", "Workload")
_TOPOLOGY: Final = {
    PlacementPolicy.REQUIRED: f"{_PREFIX}/podset-required-topology",
    PlacementPolicy.PREFERRED: f"{_PREFIX}/podset-preferred-topology",
}
_REASONS: Final = {  # of its condition QuotaReserved, where Kueue's gate for explicit ones is on
    "WaitingForQuota": Reason.QUEUE_QUOTA,
    "ExceedsMaxQuota": Reason.QUEUE_QUOTA,
    "TopologyPlacementFailed": Reason.TOPOLOGY_UNSATISFIABLE,
    "NoMatchingFlavor": Reason.NO_FEASIBLE_NODE,
}
_WORDS: Final = (  # of its message, where that gate is off
    ("insufficient", Reason.QUEUE_QUOTA),
    ("maximum capacity", Reason.QUEUE_QUOTA),
    ("topology", Reason.TOPOLOGY_UNSATISFIABLE),
)


@dataclass(frozen=True, slots=True)
class Kueue:
    """The adapter."""

    name: str = "kueue"
    needs: tuple[Need, ...] = (WORKLOAD,)

    def refusal(self, facts: GangFacts) -> Refusal | None:
        """No queue, a level that is no node label, or more roles than a Workload has room for."""
        if not facts.queue:
            text = "no LocalQueue of Kueue is named: without one Kueue leaves the pods alone, and no gang comes of them"
        elif facts.policy is PlacementPolicy.REQUIRED and not facts.topology_key:
            text = "scheduling.placement.policy is Required at a level without a node label, which is all Kueue knows"
        elif len(facts.roles) > MAX_ROLES:
            text = f"the gang has {len(facts.roles)} roles that start together, and Kueue's groups {MAX_ROLES} at most"
        else:
            return None
        return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)

    def objects(self, facts: GangFacts) -> tuple[Manifest, ...]:
        """None: Kueue makes the Workload itself, once all pods are there."""
        return ()

    def made(self, facts: GangFacts) -> tuple[tuple[Need, str], ...]:
        """What the backend makes for the attempt by itself, and has to go with it: kind and name."""
        return ((WORKLOAD, facts.group),)

    def prepare_pod(self, pod: Manifest, facts: GangFacts, index: int) -> Manifest:
        """The pod in its queue, and in its group unless it comes later."""
        if not together(facts, index):
            return marked(pod, labels={LABEL_QUEUE: facts.queue}, priority_class=facts.priority_class)
        labels = {LABEL_QUEUE: facts.queue, LABEL_GROUP: facts.group}
        annotations = {ANNOTATION_COUNT: str(facts.pods), ANNOTATION_RETRIABLE: "false"}
        workers = facts.roles[0]
        if workers.first <= index < workers.first + workers.count:  # ranks follow the topology
            labels[LABEL_INDEX] = str(index - workers.first)
            if facts.topology_key and facts.policy in _TOPOLOGY:
                annotations[_TOPOLOGY[facts.policy]] = facts.topology_key
        return marked(pod, labels=labels, annotations=annotations, priority_class=facts.priority_class)

    def kept(self, sent: Manifest, answer: Manifest) -> str:
        """The marks, and the gate that Kueue's webhook adds: without it each pod runs as soon as it fits.

        The webhook's label stays when the gate is lifted, which a pod that was there already may be past.
        """
        lost = dropped(sent, answer, (LABEL_QUEUE, LABEL_GROUP, ANNOTATION_COUNT, ANNOTATION_RETRIABLE))
        gates = {gate["name"] for gate in answer["spec"].get("schedulingGates") or ()}
        if not lost and GATE not in gates and not _gated_once(sent, answer):
            return f"scheduling gate {GATE}: Kueue's integration of pods is off, or not for this namespace"
        return lost

    def waits(self, facts: GangFacts, objects: Iterable[Manifest]) -> Refusal | None:
        """What the Workload's conditions say of a group that is at the gate."""
        found = own(facts, objects, WORKLOAD.kind)
        where = f"at Kueue's gate in LocalQueue {facts.queue}"
        if found is None:
            return Refusal(Reason.QUEUED, f"{where}: Kueue has not made a Workload of the gang yet")
        if condition(found, "Admitted").get("status") == "True":
            return None
        return _waiting(found, where)


def _gated_once(sent: Manifest, answer: Manifest) -> bool:
    """Whether Kueue's webhook, and not whoever wrote the pod's template, says that it has the pod."""
    before, after = ((m["metadata"].get("labels") or {}).get(LABEL_MANAGED) for m in (sent, answer))
    return before is None and after == "true"


def _waiting(workload: Manifest, where: str) -> Refusal:
    quota: Mapping[str, Any] = condition(workload, "QuotaReserved")
    if quota.get("status") == "True":
        checks = (workload.get("status") or {}).get("admissionChecks") or ()
        pending = [str(c.get("name")) for c in checks if c.get("state") != "Ready"]
        return Refusal(
            Reason.QUEUED, f"{where}: quota is reserved, checks are not done: {', '.join(pending)}"
        )
    text = words(quota.get("message"))
    guess = next((reason for word, reason in _WORDS if word in text), Reason.QUEUED)
    reason = _REASONS.get(str(quota.get("reason")), guess)
    return Refusal(reason, f"{where}: {text or 'Kueue has not looked at it yet'}")
