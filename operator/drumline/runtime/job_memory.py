"""What the operator remembers of one job beyond what the API shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from drumline.api.meta import LABEL_ROLE, ROLE_SPARE
from drumline.core.gang.discovery import Published
from drumline.core.gang.types import Placement, Pod

NOTHING_SAID: Final = ("", 0.0)


@dataclass(frozen=True, slots=True)
class RoomSeen:
    """What a look for room found (`rooms`)."""

    at: float  # Unix seconds
    generation: int  # of the capacity
    attempt: int
    slices: int


@dataclass(slots=True)
class JobMemory:
    """What the operator remembers of one job beyond what the API shows. Lost at a restart, and not missed."""

    placement: tuple[str, Placement] | None = None  # (revision, decoded)
    bound: tuple[int, Mapping[int, str]] = (0, MappingProxyType({}))  # attempt; nodes of pods pinned to none
    foreign: frozenset[str] = frozenset()
    blocked: str = ""
    spares_refused: str = ""  # what the API server said of a spare's pod
    late_refused: tuple[str, float] = NOTHING_SAID  # … of a helper's that comes later, and when, Unix seconds
    ended: dict[str, Pod] = field(
        default_factory=dict
    )  # how pods ended that were deleted, perhaps before we recorded it
    published: dict[str, Published] = field(default_factory=dict)  # slices written, not yet seen
    service: bool = False  # the Service was written, not yet seen
    last_published_at: float = 0.0
    held: str = ""  # the revision whose nodes are reserved in memory
    conflicts: int = 0  # in a row
    created_attempt: int = -1  # whose pods are all created, which a spared status would have said
    room: RoomSeen | None = None  # of an elastic gang that has fewer slices than it wants
    counted_at: float = 0.0  # when a status that differs only in counts was last written

    def refuse(self, pod: Mapping[str, Any] | None, text: str, late: Collection[str], now: float) -> None:
        """The API server's final word on creating that pod; None = no pod. `late`: helpers that come later.

        The gang is whole without a spare's, and runs on without a late helper's.
        """
        if pod is not None and _role(pod) == ROLE_SPARE:
            self.spares_refused = text
        elif comes_late(pod, late):
            self.late_refused = text, now
        elif pod is not None:
            self.blocked = text

    def goes_without(self, what: str) -> bool:
        """Whether that object ("pods/x") was refused for good, and is none that the gang needs."""
        return any(text.startswith(f"{what}: ") for text in (self.spares_refused, self.late_refused[0]))

    def forget_refusals(self) -> None:
        """Another attempt begins, or none does."""
        self.blocked = self.spares_refused = ""
        self.late_refused = NOTHING_SAID


def comes_late(pod: Mapping[str, Any] | None, late: Collection[str]) -> bool:
    """Whether it is a pod of one of these helpers, which come when the gang runs already."""
    return pod is not None and _role(pod) in late


def _role(pod: Mapping[str, Any]) -> str | None:
    role: str | None = (pod["metadata"].get("labels") or {}).get(LABEL_ROLE)
    return role
