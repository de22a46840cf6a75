"""What the API server makes of a gang before any of it exists.

One pod of each role is created with ``dryRun=All`` and strict field validation: a malformed template, a
PodSecurity level, a LimitRange or somebody's webhook speaks up now, and placement works with the requests
that came back. Bound volumes are resolved to their nodes, and the namespace's quotas are checked for the
whole gang. Jobs of one template in one namespace share a dry run for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import orjson

from drumline.api.reasons import Reason
from drumline.core.gang.projection_shape import CLAIM_PREFIX, shape_of
from drumline.core.gang.quota import check_quota
from drumline.core.gang.types import GangRequest, PodShape, Refusal, Requirement
from drumline.runtime.errors import Forbidden, NotFound, TerminalError
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path

Manifest = Mapping[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
KEPT_SECONDS = 60.0
QUOTA_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One pod of a role, and how many there will be."""

    count: int
    manifest: Manifest


class Preflight:
    """Checks gangs against the API server. `samples` renders a pod of each role, workers first."""

    def __init__(
        self,
        client: Client,
        samples: Callable[[GangRequest], Sequence[Sample]],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._samples = samples
        self._clock = clock
        self._shapes: dict[str, tuple[float, asyncio.Future[PodShape | Refusal]]] = {}
        self._quotas: dict[str, tuple[float, asyncio.Future[list[Manifest]]]] = {}

    async def check(self, request: GangRequest) -> GangRequest | Refusal:
        """The request with the shapes that the API server returned, or why it can't be admitted.

        Raises ApiError when the API server can't be asked.
        """
        samples = self._samples(request)
        shapes: list[PodShape] = []
        for sample in samples:
            shape = await self._shape(request.namespace, sample.manifest)
            if isinstance(shape, Refusal):
                return shape
            shapes.append(shape)
        refusal = await self._quota(request.namespace, samples, shapes)
        if refusal is not None:
            return refusal
        helpers = tuple(replace(h, shape=s) for h, s in zip(request.helpers, shapes[1:], strict=True))
        return replace(request, worker=shapes[0], helpers=helpers)

    async def _shape(self, namespace: str, manifest: Manifest) -> PodShape | Refusal:
        key = _digest(namespace, manifest)
        known = self._shapes.get(key)
        if known is None or known[0] < self._clock():
            self._shapes = {k: v for k, v in self._shapes.items() if v[0] >= self._clock()}
            task = asyncio.ensure_future(self._ask(namespace, manifest))
            known = self._shapes[key] = (self._clock() + KEPT_SECONDS, task)
        try:
            shape = await asyncio.shield(known[1])
        except Exception:
            self._shapes.pop(key, None)
            raise
        if isinstance(shape, Refusal):
            self._shapes.pop(key, None)
        return shape

    async def _ask(self, namespace: str, manifest: Manifest) -> PodShape | Refusal:
        name = manifest["metadata"]["name"]
        try:
            answer = await self._client.request(
                "POST",
                resource_path("pods", namespace),
                body=manifest,
                params={"dryRun": "All", "fieldValidation": "Strict"},
                repeatable=True,
            )
        except Forbidden as error:
            quota = "exceeded quota" in error.message
            return Refusal(
                Reason.NAMESPACE_QUOTA if quota else Reason.POD_FORBIDDEN, f"pod {name}: {error.message}"
            )
        except TerminalError as error:
            return Refusal(Reason.TEMPLATE_REFUSED, f"pod {name}: {error.message}")
        return await self._resolve(namespace, shape_of(answer["spec"]))

    async def _resolve(self, namespace: str, shape: PodShape) -> PodShape | Refusal:
        """Bound volumes become node affinity; what placement can't model is refused by name."""
        claims = [u.removeprefix(CLAIM_PREFIX) for u in shape.unmodelled if u.startswith(CLAIM_PREFIX)]
        for claim in claims:
            try:
                terms = await self._volume_terms(namespace, claim)
            except NotFound:
                return Refusal(
                    Reason.NO_FEASIBLE_NODE, f"persistentvolumeclaim {namespace}/{claim} does not exist"
                )
            shape = replace(shape, affinity=_both(shape.affinity, terms))
        left = tuple(u for u in shape.unmodelled if not u.startswith(CLAIM_PREFIX))
        if left:
            text = f"gang placement does not model {', '.join(left)}; remove it from the template"
            return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)
        return replace(shape, unmodelled=())

    async def _volume_terms(self, namespace: str, claim: str) -> tuple[tuple[Requirement, ...], ...]:
        found = await self._client.request("GET", resource_path("persistentvolumeclaims", namespace, claim))
        volume = found["spec"].get("volumeName")
        if not volume:
            return ()
        found = await self._client.request("GET", resource_path("persistentvolumes", name=volume))
        required = (found["spec"].get("nodeAffinity") or {}).get("required")
        return shape_of({"affinity": {"nodeAffinity": {REQUIRED: required}}}).affinity

    async def _quota(
        self, namespace: str, samples: Sequence[Sample], shapes: Sequence[PodShape]
    ) -> Refusal | None:
        quotas = await self._quotas_of(namespace)
        return check_quota(
            quotas, [(s.manifest, shape, s.count) for s, shape in zip(samples, shapes, strict=True)]
        )

    async def _quotas_of(self, namespace: str) -> list[Manifest]:
        known = self._quotas.get(namespace)
        if known is None or known[0] < self._clock():
            task = asyncio.ensure_future(self._list_quotas(namespace))
            known = self._quotas[namespace] = (self._clock() + QUOTA_SECONDS, task)
        try:
            return await asyncio.shield(known[1])
        except Exception:
            self._quotas.pop(namespace, None)
            raise

    async def _list_quotas(self, namespace: str) -> list[Manifest]:
        found = await self._client.request("GET", resource_path("resourcequotas", namespace))
        return list(found.get("items") or ())


def _both(
    ours: tuple[tuple[Requirement, ...], ...], theirs: tuple[tuple[Requirement, ...], ...]
) -> tuple[tuple[Requirement, ...], ...]:
    """Terms of which one of each side has to hold; an empty side asks for nothing."""
    if not ours or not theirs:
        return ours or theirs
    return tuple((*a, *b) for a in ours for b in theirs)


def _digest(namespace: str, manifest: Manifest) -> str:
    """The same for pods that differ only in name, labels of ours, host name and environment."""
    spec = {k: v for k, v in manifest["spec"].items() if k not in ("hostname", "subdomain")}
    for kind in ("containers", "initContainers"):
        if kind in spec:
            spec[kind] = [{k: v for k, v in c.items() if k != "env"} for c in spec[kind]]
    annotations = manifest["metadata"].get("annotations")
    return sha256(orjson.dumps([namespace, annotations, spec], option=orjson.OPT_SORT_KEYS)).hexdigest()
