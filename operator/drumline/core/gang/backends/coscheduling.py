"""Coscheduling, a plugin of kube-scheduler from sigs.k8s.io/scheduler-plugins.

A pod that is labelled with its PodGroup's name waits in the scheduler until as many of the group have a node as
have to start together; when the time for that is over all of them are put back. The scheduler that has the plugin
is mostly a second one, so its name is a setting. The group's status tells a phase and counts, no reasons: why a
pod finds no node is in the pod's own condition.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from drumline.api.reasons import Reason
from drumline.core.gang.backends.base import GangFacts, Manifest, Need
from drumline.core.gang.backends.marking import dropped, group, marked, own, total
from drumline.core.gang.types import PlacementPolicy, Refusal

LABEL_GROUP: Final = "scheduling.x-k8s.io/pod-group"
SCHEDULER: Final = "scheduler-plugins-scheduler"  # as the project's chart calls it
MAX_WAIT_SECONDS: Final = 900  # kube-scheduler lets no pod wait for longer
_NEED: Final = Need("scheduling.x-k8s.io", "v1alpha1", "podgroups", "PodGroup")
_SETTLED: Final = frozenset({"Running", "Finished", "Failed"})


@dataclass(frozen=True, slots=True)
class Coscheduling:
    """The adapter. `scheduler` is the profile that has the plugin."""

    scheduler: str = SCHEDULER
    name: str = "coscheduling"
    needs: tuple[Need, ...] = (_NEED,)

    def refusal(self, facts: GangFacts) -> Refusal | None:
        """It knows nothing of topology: a gang that has to keep to one domain can't be left to it."""
        if facts.policy is not PlacementPolicy.REQUIRED:
            return None
        text = (
            "coscheduling does not keep a gang to a topology domain: scheduling.placement.policy Required "
            "can't be had of it, Preferred and Unconstrained can"
        )
        return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)

    def objects(self, facts: GangFacts) -> tuple[Manifest, ...]:
        """The PodGroup."""
        spec = {
            "minMember": facts.pods,
            "minResources": total(facts),
            "scheduleTimeoutSeconds": max(1, min(facts.timeout_seconds, MAX_WAIT_SECONDS)),
        }
        return (group(facts, f"{_NEED.group}/{_NEED.version}", spec),)

    def prepare_pod(self, pod: Manifest, facts: GangFacts, index: int) -> Manifest:
        """Pods that come later join the group too: it asks for a least number of members, not for a largest."""
        return marked(
            pod,
            labels={LABEL_GROUP: facts.group},
            scheduler=self.scheduler,
            priority_class=facts.priority_class,
        )

    def kept(self, sent: Manifest, answer: Manifest) -> str:
        """The label and the scheduler."""
        return dropped(sent, answer, (LABEL_GROUP,))

    def waits(self, facts: GangFacts, objects: Iterable[Manifest]) -> Refusal | None:
        """Its phase; none is written as long as nobody has looked at the group."""
        found = own(facts, objects, _NEED.kind)
        if found is None:
            return None
        status = found.get("status") or {}
        phase, running = status.get("phase"), int(status.get("running") or 0)
        if phase in _SETTLED:
            return None
        if not phase:
            text = f"coscheduling has not looked at PodGroup {facts.group} yet"
            return Refusal(
                Reason.QUEUED, f"{text}: does scheduler {self.scheduler} run, with its controller?"
            )
        text = f"coscheduling: PodGroup {facts.group} is {phase}, {running} of {facts.pods} pods run"
        return Refusal(Reason.QUEUED if phase == "Pending" else Reason.INSUFFICIENT_ACCELERATORS, text)
