"""A plan: everything one decision wants done, as data.

`runtime` applies it; `drumline plan` prints it. Applying a plan twice does no more than applying it once.

Order in which a plan is applied:

1. `intent`, a status written before any side effect (resourceVersion-tested): a new attempt, a placement;
2. `actions`, stage by stage; inside a stage they run concurrently;
3. `status`, the observed status, written once and only if it changed;
4. `events`, only if the status write succeeded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Manifest = Mapping[str, Any]
Resource = Literal["pods", "services", "configmaps", "controllerrevisions", "endpointslices", "endpoints"]


@dataclass(frozen=True, slots=True)
class Create:
    """POST `manifest`. AlreadyExists is success only if the owner's uid and the attempt are ours."""

    resource: Resource
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE with a uid precondition; 404 and a uid conflict are success."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    grace_seconds: int | None = None  # None = the object's own


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply by field manager `drumline`. Never adopts an object owned by someone else."""

    resource: Resource
    manifest: Manifest


Action = Create | Delete | Apply


@dataclass(frozen=True, slots=True)
class Event:
    """A core event on the owner."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about one object. Empty = nothing."""

    intent: Mapping[str, Any] | None = None  # whole status (camelCase JSON) to write first
    actions: tuple[Action, ...] = ()
    status: Mapping[str, Any] | None = None  # whole status (camelCase JSON); None = unchanged
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None  # seconds; None = wait for the next change
    delete_self: bool = False  # TTL after finished: delete the object itself (background)
    metadata: Mapping[str, str] = field(default_factory=dict)  # for logs: policy that decided, …
