"""What keeps a pod from starting that its status does not say: the kubelet tells it by events alone.

A pod of which a volume can't be mounted, or whose sandbox can't be made, shows nothing but `ContainerCreating`. The
kubelet's and the attach-detach controller's events give the reason. They count as what the pod waits for, and only
while the kubelet has no sandbox for it: an event outlives what it speaks of by up to an hour.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from sys import intern
from typing import Any, Final

from drumline.core.gang.failure_table import SANDBOX_WAITS, VOLUME_WAITS
from drumline.core.gang.projection_times import timestamp
from drumline.core.gang.types import Pod, PodPhase

HINDRANCES: Final = (*VOLUME_WAITS, *SANDBOX_WAITS)
MAX_MESSAGE: Final = 512


@dataclass(frozen=True, slots=True)
class Hindrance:
    """A core event that says why a pod does not start. `at`: when it was last seen, Unix seconds."""

    namespace: str
    pod: str
    uid: str  # of the pod
    reason: str
    message: str
    at: float


def project_event(raw: Mapping[str, Any]) -> Hindrance | None:
    """What is kept of a core/v1 Event; None for one that speaks of something else."""
    about, reason = raw.get("involvedObject") or {}, raw.get("reason") or ""
    if about.get("kind") != "Pod" or reason not in HINDRANCES:
        return None
    series = raw.get("series") or {}
    seen = series.get("lastObservedTime") or raw.get("lastTimestamp") or raw.get("eventTime")
    return Hindrance(
        namespace=intern(about.get("namespace") or ""),
        pod=about.get("name") or "",
        uid=about.get("uid") or "",
        reason=intern(reason),
        message=(raw.get("message") or "")[:MAX_MESSAGE],
        at=timestamp(seen or (raw.get("metadata") or {}).get("creationTimestamp")),
    )


def hindered(pod: Pod, events: Collection[Hindrance]) -> Pod:
    """The pod with the latest of these events of it as what it waits for, if it waits for nothing that it shows."""
    if not events or pod.waiting or not pod.unprepared or pod.phase is not PodPhase.PENDING or pod.deleting:
        return pod
    latest = max(events, key=lambda event: event.at)
    return replace(pod, waiting=latest.reason, waiting_message=latest.message)
