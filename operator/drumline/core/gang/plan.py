"""A plan: everything one decision wants done, as data.

`runtime` applies it; `drumline plan` prints it. Applying a plan twice does no more than applying it once.

Order in which a plan is applied:

1. `prepare`, objects that nothing refers to until the intent names them (the placement's revision);
2. `intent`, a status written before any side effect (resourceVersion-tested): a new attempt with its
   placement, or the end of one with its cause, since the side effects remove the evidence;
3. `actions`, stage by stage: the stages follow each other, what is in one stage runs concurrently;
4. `status`, the observed status, written once and only if it changed;
5. `events`, only if the status write succeeded;
6. `orders` to the gang's launchers, once what they rest on is written.

A conflict or a lost lease ends the plan where it stands; the next decision starts from what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NewType

from drumline.api.orders import Orders
from drumline.core.gang.types import GangRequest

Manifest = Mapping[str, Any]
GroupResource = NewType("GroupResource", str)  # of a backend's kind: plural.version.group
Kept = Callable[[Manifest, Manifest], str]  # (what was sent, the answer) → what was dropped
Resource = (
    Literal[
        "pods",
        "services",
        "configmaps",
        "controllerrevisions",
        "endpointslices",
        "endpoints",
        "inferenceroles",
        "poddisruptionbudgets",
        "httproutes",
        "inferencepools",
        "nodes",
        "podtemplates",
    ]
    | GroupResource
)


@dataclass(frozen=True, slots=True)
class Create:
    """POST `manifest`. AlreadyExists is success only if the owner's uid and the attempt are ours.

    With `replace`, an existing object of ours is deleted first (uid precondition): only for objects that
    nothing refers to yet. `kept` reads the answer back: what it names was dropped without a word, which is a final no.
    """

    resource: Resource
    manifest: Manifest
    replace: bool = False
    kept: Kept | None = None


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


@dataclass(frozen=True, slots=True)
class Patch:
    """PATCH with a uid precondition: what `body` names is set, the rest stays; 404 is success.

    `body` has no metadata. Lists that have a merge key (a pod's conditions) are merged by it, for core kinds.
    """

    resource: Resource
    namespace: str
    name: str
    uid: str
    body: Mapping[str, Any]
    subresource: str = ""  # "status"


@dataclass(frozen=True, slots=True)
class JsonPatch:
    """JSON patch of an object that is not ours: `operations` begin with the test of what they rest on.

    An object that is gone, and a test that fails, are no errors: whoever decided looks again.
    """

    resource: Resource
    namespace: str
    name: str
    operations: tuple[Mapping[str, Any], ...]


Action = Create | Delete | Apply | Patch | JsonPatch


@dataclass(frozen=True, slots=True)
class Event:
    """A core event on the owner."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about one object. Empty = nothing."""

    prepare: tuple[Create, ...] = ()
    intent: Mapping[str, Any] | None = None  # whole status (camelCase JSON) to write first
    actions: tuple[tuple[Action, ...], ...] = ()  # stages
    status: Mapping[str, Any] | None = None  # whole status (camelCase JSON); None = unchanged
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None  # seconds; None = wait for the next change
    delete_self: bool = False  # TTL after finished: delete the object itself (background)
    waiting: GangRequest | None = None  # put this gang in the admission queue; None = take it out
    queue: tuple[GangRequest, ...] = ()  # the same for an owner of many gangs: these wait, its others don't
    asks: bool = False  # nodes are asked for with the quota that admission granted
    orders: Orders | None = None  # what the launchers of the running attempt are told; None = as before
    metadata: Mapping[str, str] = field(default_factory=dict)  # for logs: policy that decided, …

    @property
    def begins(self) -> bool:
        """Whether an attempt begins with this plan: a placement is written down."""
        return bool(self.prepare)

    @property
    def takes(self) -> bool:
        """Whether what admission granted is taken up: an attempt begins, or nodes are asked for."""
        return self.begins or self.asks
