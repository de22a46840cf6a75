"""What an adapter to another gang scheduler or queue has to say. All of it is pure.

A gang of such a backend is not placed by us. Its attempt begins at once; its pods carry what the backend wants to
see on them, are pinned to no node, and lie beside the objects that tell the backend that they are one gang. The
backend binds all of them or none; what it says of a gang that waits becomes the job's condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from drumline.core.gang.names import Owner
from drumline.core.gang.types import EMPTY, PlacementPolicy, Refusal

Manifest = Mapping[str, Any]

BUILTIN: Final = "builtin"


@dataclass(frozen=True, slots=True)
class Need:
    """A resource that the cluster has to serve for the backend to be used."""

    group: str  # "scheduling.k8s.io"
    version: str  # "v1alpha2"
    plural: str  # "podgroups"
    kind: str  # "PodGroup"


@dataclass(frozen=True, slots=True)
class Found:
    """An object of one of a backend's kinds, as the API has it."""

    need: Need
    uid: str
    document: Manifest


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """Pods of one role: equal but for their names and environment."""

    name: str  # "worker" or a helper's
    count: int
    first: int  # index in the gang's order of the first of them
    requests: Mapping[str, int] = field(
        default_factory=lambda: EMPTY
    )  # of one pod, effective; canonical units


@dataclass(frozen=True, slots=True)
class GangFacts:
    """One attempt of one gang, as a backend needs to know it."""

    owner: Owner
    group: str  # name for the attempt's group object, unique to the attempt
    attempt: int
    roles: tuple[RoleFacts, ...]  # workers first; without helpers whose pods come later (dependsOn)
    queue: str = ""  # the backend's own queue; "" = none was named
    priority_class: str = ""
    policy: PlacementPolicy = PlacementPolicy.UNCONSTRAINED
    topology_key: str = ""  # node label of the level that the gang keeps to; "" = none
    timeout_seconds: int = 120
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)  # of ours, for the group's objects
    pod_class: str = ""  # the priority class of a pod that the backend gives none: one that evicts nobody

    @property
    def pods(self) -> int:
        """Pods that start together."""
        return sum(role.count for role in self.roles)


class GangBackend(Protocol):
    """An adapter. One instance serves all gangs."""

    @property
    def name(self) -> str:
        """As in `spec.scheduling.backend`."""

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the cluster has to serve."""

    def refusal(self, facts: GangFacts) -> Refusal | None:
        """Why the backend could never run this gang as it was asked for; None = it could."""

    def objects(self, facts: GangFacts) -> tuple[Manifest, ...]:
        """What has to exist before the gang's pods, owned by `facts.owner`."""

    def prepare_pod(self, pod: Manifest, facts: GangFacts, index: int) -> Manifest:
        """The pod at that index of the gang with what the backend needs on it; `pod` is not changed."""

    def kept(self, sent: Manifest, answer: Manifest) -> str:
        """What the API server dropped of a created pod without which it is in no gang; "" = nothing."""

    def waits(self, facts: GangFacts, objects: Iterable[Manifest]) -> Refusal | None:
        """What the backend says of a gang that is not running, from its own objects; None = nothing."""


@runtime_checkable
class Maker(Protocol):
    """A backend that makes objects of its own for an attempt, which do not go with the attempt's pods."""

    def made(self, facts: GangFacts) -> tuple[tuple[Need, str], ...]:
        """Kind and name of each."""
