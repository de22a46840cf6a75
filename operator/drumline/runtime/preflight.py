"""What the API server makes of a gang before any of it exists.

One pod of each role is created with ``dryRun=All`` and strict field validation: a malformed template, a
PodSecurity level, a LimitRange or somebody's webhook speaks up now, and placement works with the requests
that came back. Bound volumes are resolved to their nodes, and the namespace's quotas are checked for the
whole gang. Jobs of one template in one namespace share a dry run for a while, or until a pod is refused there after all.

The dry run leaves the choice of a name to the API server: a name that somebody else has is no fault of the
template, and the create proper says so.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from hashlib import sha256
from math import inf
from typing import Any

import orjson

from drumline.api.environment import INFERENCE, JAX, TORCH, TPU
from drumline.api.meta import (
    APP_INSTANCE,
    ENV_PREFIX,
    LABEL_ATTEMPT,
    LABEL_GROUP,
    LABEL_JOB,
    LABEL_JOB_UID,
    LABEL_REVISION,
    LABEL_SERVICE,
    LABEL_SERVICE_UID,
)
from drumline.api.reasons import Reason
from drumline.core.gang.placement_refusal import unmodelled
from drumline.core.gang.plan import Create, Kept
from drumline.core.gang.projection_shape import CLAIM_PREFIX, shape_of
from drumline.core.gang.quota import Role
from drumline.core.gang.types import GangRequest, PodShape, Refusal, Requirement
from drumline.core.inference.render_request import common_shape
from drumline.runtime.errors import Forbidden, NotFound, TerminalError
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.preflight_backend import dropped, object_refusal
from drumline.runtime.preflight_quota import Quotas

Manifest = Mapping[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
KEPT_SECONDS = 300.0
GENERATED = "[a-z0-9]{5}"  # what the API server adds to a generateName
MAX_GENERATED = 63 - 5  # it cuts longer ones
_POD = "\0"  # stands for the pod's name in a text that several jobs may share
_OF_A_JOB = frozenset(  # labels no template can set
    {LABEL_JOB, LABEL_JOB_UID, LABEL_SERVICE, LABEL_SERVICE_UID, LABEL_GROUP, LABEL_ATTEMPT, LABEL_REVISION}
)
_INJECTED = frozenset((*TORCH, *JAX, *TPU, *INFERENCE, "RAY_ADDRESS"))


@dataclass(frozen=True, slots=True)
class Sample:
    """One pod of a role, and how many there will be."""

    count: int
    manifest: Manifest
    optional: bool = False  # a role that the gang does without when the API server refuses its pod
    kept: Kept | None = None  # what of it has to come back


@dataclass(frozen=True, slots=True)
class Cleared:
    """A gang that may be placed: with the shapes that came back, and its roles for the quota."""

    request: GangRequest
    roles: tuple[Role, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """What a dry run says, or will say."""

    namespace: str
    until: float
    task: asyncio.Task[PodShape | Refusal]
    manifest: Manifest


class Preflight:
    """Checks gangs against the API server. `samples` renders a pod of each role, workers first: of each kind one.

    `namespace` is the one that all gangs are in; "" = any.
    """

    def __init__(
        self,
        client: Client,
        samples: Callable[[GangRequest], Sequence[Sample]],
        clock: Callable[[], float],
        objects: Callable[[GangRequest], Sequence[Create]] = lambda _: (),
        namespace: str = "",
    ) -> None:
        self._client = client
        self._samples = samples
        self._objects = objects
        self._clock = clock
        self._shapes: dict[str, _Known] = {}
        self.quotas = Quotas(client, clock, namespace)

    async def check(self, request: GangRequest) -> Cleared | Refusal:
        """The gang as the API server sees it, or why it can't be admitted.

        Raises ApiError when the API server can't be asked.
        """
        for create in self._objects(request):
            if (refused := await object_refusal(self._client, create)) is not None:
                return refused
        found: list[Role] = []
        for sample in self._samples(request):
            manifest, shape = await self._shape(request, sample)
            if isinstance(shape, PodShape):
                found.append((manifest, shape, sample.count))
            elif not sample.optional:
                return shape
        roles = tuple(found)
        await self.quotas.refresh(request.namespace)
        # where some of it may give way, spares or slices, the quotas are asked when it has nodes
        gives_way = request.spares or request.min_slices
        refusal = None if gives_way else self.quotas.refusal(request.uid, request.namespace, roles)
        return refusal or Cleared(_shaped(request, [shape for _, shape, _ in roles]), roles)

    def distrust(self, namespace: str) -> None:
        """A pod was refused there: what dry runs said before may not hold any more."""
        old = {k: replace(v, until=-inf) for k, v in self._shapes.items() if v.namespace == namespace}
        self._shapes |= old

    def close(self) -> None:
        """Cancel what is under way."""
        self.quotas.close()
        for known in self._shapes.values():
            known.task.cancel()

    async def _shape(self, request: GangRequest, sample: Sample) -> tuple[Manifest, PodShape | Refusal]:
        """The sample's shape, or why it is refused; with one manifest for all whose quotas ask the same."""
        manifest = sample.manifest
        key = f"{_digest(request.namespace, manifest)}{'/unpinned' if request.unpinned else ''}"
        known = self._shapes.get(key)
        if known is None or known.until < self._clock():
            now = self._clock()
            self._shapes = {k: v for k, v in self._shapes.items() if v.until >= now or not v.task.done()}
            task = asyncio.create_task(self._ask(request, sample))
            known = self._shapes[key] = _Known(request.namespace, now + KEPT_SECONDS, task, manifest)
            task.add_done_callback(partial(self._asked, key))
        shape = await asyncio.shield(known.task)
        if isinstance(shape, Refusal):
            shape = replace(shape, message=shape.message.replace(_POD, manifest["metadata"]["name"]))
        return known.manifest, shape

    def _asked(self, key: str, task: asyncio.Task[PodShape | Refusal]) -> None:
        """Only a good answer is kept."""
        good = not task.cancelled() and task.exception() is None and not isinstance(task.result(), Refusal)
        if not good and key in self._shapes and self._shapes[key].task is task:
            del self._shapes[key]

    async def _ask(self, request: GangRequest, sample: Sample) -> PodShape | Refusal:
        manifest = sample.manifest
        prefix = f"{manifest['metadata']['name']}-"[:MAX_GENERATED]
        metadata = {k: v for k, v in manifest["metadata"].items() if k != "name"}
        try:
            answer = await self._client.request(
                "POST",
                resource_path("pods", request.namespace),
                body={**manifest, "metadata": {**metadata, "generateName": prefix}},
                params={"dryRun": "All", "fieldValidation": "Strict"},
                repeatable=True,
            )
        except Forbidden as error:
            if error.denied:
                raise
            quota = "exceeded quota" in error.message
            reason = Reason.NAMESPACE_QUOTA if quota else Reason.POD_FORBIDDEN
            return Refusal(reason, _text(error, prefix))
        except TerminalError as error:
            return Refusal(Reason.TEMPLATE_REFUSED, _text(error, prefix))
        lost = sample.kept(manifest, answer) if sample.kept is not None else ""
        if lost:
            return Refusal(Reason.BACKEND_FIELD_DROPPED, dropped("a pod", lost))
        shape = await self._resolve(request.namespace, shape_of(answer["spec"]))
        if isinstance(shape, Refusal) or request.unpinned:
            return shape
        return unmodelled((shape,)) or replace(shape, unmodelled=())

    async def _resolve(self, namespace: str, shape: PodShape) -> PodShape | Refusal:
        """Bound volumes become node affinity; what placement can't model is left in the shape."""
        claims = [u.removeprefix(CLAIM_PREFIX) for u in shape.unmodelled if u.startswith(CLAIM_PREFIX)]
        for claim in claims:
            try:
                terms = await self._volume_terms(namespace, claim)
            except NotFound:
                return Refusal(
                    Reason.NO_FEASIBLE_NODE, f"persistentvolumeclaim {namespace}/{claim} does not exist"
                )
            shape = replace(shape, affinity=_both(shape.affinity, terms))
        return shape

    async def _volume_terms(self, namespace: str, claim: str) -> tuple[tuple[Requirement, ...], ...]:
        found = await self._client.request("GET", resource_path("persistentvolumeclaims", namespace, claim))
        volume = found["spec"].get("volumeName")
        if not volume:
            return ()
        found = await self._client.request("GET", resource_path("persistentvolumes", name=volume))
        required = (found["spec"].get("nodeAffinity") or {}).get("required")
        return shape_of({"affinity": {"nodeAffinity": {REQUIRED: required}}}).affinity


def _shaped(request: GangRequest, shapes: Sequence[PodShape]) -> GangRequest:
    """The request with the shapes of its samples; where workers are of several kinds, a place is for any of them."""
    kinds = len(shapes) - len(request.helpers)
    helpers = tuple(replace(h, shape=s) for h, s in zip(request.helpers, shapes[kinds:], strict=True))
    return replace(request, worker=reduce(common_shape, shapes[:kinds]), helpers=helpers)


def _both(
    ours: tuple[tuple[Requirement, ...], ...], theirs: tuple[tuple[Requirement, ...], ...]
) -> tuple[tuple[Requirement, ...], ...]:
    """Terms of which one of each side has to hold; an empty side asks for nothing."""
    if not ours or not theirs:
        return ours or theirs
    return tuple((*a, *b) for a in ours for b in theirs)


def _text(error: TerminalError, prefix: str) -> str:
    """What the API server said, without the name that it made up: the same at every try."""
    return f"pod {_POD}: " + re.sub(f"{re.escape(prefix)}(?:{GENERATED})?", _POD, error.message)


def _digest(namespace: str, manifest: Manifest) -> str:
    """The same for pods that differ only in what we write of job, attempt and host into them."""
    spec = {k: v for k, v in manifest["spec"].items() if k not in ("hostname", "subdomain")}
    for kind in ("containers", "initContainers"):
        if kind in spec:
            spec[kind] = [_container(c) for c in spec[kind]]
    metadata = {k: v for k, v in manifest["metadata"].items() if k not in ("name", "ownerReferences")}
    labels = metadata.get("labels") or {}
    ours = {k for k in labels if k in _OF_A_JOB}
    owner = labels.get(LABEL_JOB) or labels.get(LABEL_SERVICE)
    ours |= {APP_INSTANCE} if labels.get(APP_INSTANCE) == owner else set()
    metadata["labels"] = {k: "" if k in ours else v for k, v in labels.items()}
    return sha256(orjson.dumps([namespace, metadata, spec], option=orjson.OPT_SORT_KEYS)).hexdigest()


def _container(container: Manifest) -> Manifest:
    env = container.get("env")
    return {**container, "env": [_variable(e) for e in env]} if isinstance(env, list) else container


def _variable(variable: Any) -> Any:
    """One of ours in a form of ours, without its value. All else stands: it may be what is wrong."""
    if not isinstance(variable, Mapping):
        return variable
    name = str(variable.get("name", ""))
    plain = variable.keys() == {"name", "value"} and isinstance(variable["value"], str)
    injected = name in _INJECTED or name.startswith(ENV_PREFIX)
    return {"name": name} if injected and (plain or _is_host_list(variable)) else variable


def _is_host_list(variable: Mapping[str, Any]) -> bool:
    """A reference to a key of a ConfigMap, well-formed."""
    source = variable.get("valueFrom")
    if variable.keys() != {"name", "valueFrom"} or not isinstance(source, Mapping):
        return False
    if source.keys() != {"configMapKeyRef"} or not isinstance(key := source["configMapKeyRef"], Mapping):
        return False
    return key.keys() == {"name", "key"} and all(isinstance(v, str) for v in key.values())
