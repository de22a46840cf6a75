"""Keeps what the built-in autoscaler remembers of each service. Lost at a restart, as with an HPA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drumline.core.inference.autoscale_service import Memories, recommend_all
from drumline.core.inference.observation import Observation
from drumline.core.inference.signals import Scaling

FORGET_SECONDS: Final = 3600.0


class Autoscaler:
    """Called with an observation and Unix seconds, gives the autoscaler's word by role."""

    def __init__(self) -> None:
        self._memories: dict[str, tuple[float, Memories]] = {}  # by uid, with the last look
        self._held: dict[str, float] = {}  # by uid: requests that somebody holds for the service
        self._pruned = 0.0

    def __call__(self, observation: Observation, now: float) -> Mapping[str, Scaling]:
        """What each role with built-in autoscaling should have."""
        uid = observation.service.uid
        _, memories = self._memories.get(uid, (now, {}))
        found, memories = recommend_all(observation, memories, now, self._held.get(uid, 0.0))
        self._memories[uid] = (now, memories)
        self._prune(now)
        return found

    def hold(self, uid: str, requests: float) -> None:
        """So many requests wait for the service with somebody else."""
        self._held[uid] = requests

    def _prune(self, now: float) -> None:
        """Services that nobody has asked about for long are gone."""
        if now - self._pruned < FORGET_SECONDS:
            return
        self._pruned = now
        for uid in [u for u, (at, _) in self._memories.items() if now - at > FORGET_SECONDS]:
            del self._memories[uid]
            self._held.pop(uid, None)
