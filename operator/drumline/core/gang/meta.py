"""Identity of the object that a decision is about, of whatever kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from drumline.api.meta import MANAGED_BY


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """Identity of an object of ours. `created_at` is Unix time in seconds."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created_at: float
    deleting: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)  # those of ours: drumline.dev/…
    managed_by: str = MANAGED_BY  # of the raw spec, valid or not
