"""From a raw v1.Pod to when it came how far (`PodTimes`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from drumline.core.gang.types import NO_TIMES, PodTimes

Raw = Mapping[str, Any]

_NONE: Final[Raw] = {}


def timestamp(value: str | None) -> float:
    """Unix time in seconds of an RFC 3339 time; 0 for none."""
    return _parse_time(value) if value else 0.0


def pod_times(metadata: Raw, status: Raw) -> PodTimes:
    """The milestones of a pod, from its conditions and the states of its main containers."""
    deleted_at = _deleted_at(metadata)
    conditions = {c.get("type"): c for c in status.get("conditions") or ()}
    if not deleted_at and not conditions:
        return NO_TIMES
    started_at, ended_at = _containers(status)
    ready = conditions.get("Ready", _NONE)
    return PodTimes(
        prepared_at=_prepared_at(conditions, started=bool(started_at)),
        started_at=started_at,
        ready_at=timestamp(ready.get("lastTransitionTime")) if ready.get("status") == "True" else 0.0,
        ended_at=ended_at,
        deleted_at=deleted_at,
    )


def _prepared_at(conditions: Mapping[Any, Raw], *, started: bool) -> float:
    """A sandbox condition that is absent, or False again after the end, says nothing."""
    initialized, sandbox = conditions.get("Initialized", _NONE), conditions.get("PodReadyToStartContainers")
    if initialized.get("status") != "True":
        return 0.0
    at = timestamp(initialized.get("lastTransitionTime"))
    if sandbox is None or (started and sandbox.get("status") != "True"):
        return at
    if sandbox.get("status") != "True":
        return 0.0
    up = timestamp(sandbox.get("lastTransitionTime"))
    return max(at, up)


def _containers(status: Raw) -> tuple[float, float]:
    """(when the last one started, when the last one ended); 0 while one has not."""
    states = [c.get("state") or _NONE for c in status.get("containerStatuses") or ()]
    ends = [state.get("terminated") for state in states]
    begins = [end or state.get("running") for state, end in zip(states, ends, strict=True)]
    started = [timestamp(b.get("startedAt")) if b else 0.0 for b in begins]
    ended = [timestamp(e.get("finishedAt")) if e else 0.0 for e in ends]
    return max(started, default=0.0) if all(started) else 0.0, max(ended, default=0.0) if all(ended) else 0.0


def _deleted_at(metadata: Raw) -> float:
    """The deletion timestamp is when the grace is over."""
    until = timestamp(metadata.get("deletionTimestamp"))
    return until - (metadata.get("deletionGracePeriodSeconds") or 0) if until else 0.0


@lru_cache(maxsize=4096)
def _parse_time(value: str) -> float:
    return datetime.fromisoformat(value).timestamp()
