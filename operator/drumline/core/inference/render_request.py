"""What a group asks of admission, read from the very pods that would be created.

Placement knows one shape for all pods of a group. Where the leader has a template of its own, the shape is that
of a pod which could be either: of each resource the larger request, all of both's selectors and affinity, only
the tolerations that both have. So whichever pod comes to a node of the placement has room there.

Groups of one role and variant differ in their number and revision alone, which placement sees in labels only. So
pods are rendered once for all groups that one decision asks for, not once for each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from drumline.api.catalog import Catalog
from drumline.api.inference import InferenceServiceSpec
from drumline.api.inference_status import GroupStatus
from drumline.api.meta import LABEL_GROUP, LABEL_REVISION, LABEL_WORKER
from drumline.api.parallelism import ScaleUp
from drumline.core.gang.devices import claim_template
from drumline.core.gang.meta import ObjectMeta
from drumline.core.gang.projection import shape_of
from drumline.core.gang.scale_up import Together, together
from drumline.core.gang.types import GangRequest, PlacementPolicy, PodShape, Requirement
from drumline.core.inference import names
from drumline.core.inference.observation import Settings
from drumline.core.inference.render_group import prepare_group
from drumline.core.inference.render_shape import GroupShape, accelerator_of, role_of


@dataclass(frozen=True, eq=False, slots=True)
class _Kind:
    """What the pods of a group are made from; alike if it is the very same objects."""

    service: ObjectMeta
    spec: InferenceServiceSpec
    role: str
    variant: int
    catalog: Catalog
    settings: Settings

    def __hash__(self) -> int:
        return hash((id(self.spec), id(self.catalog), self.role, self.variant))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Kind)
            and self.spec is other.spec
            and self.catalog is other.catalog
            and (self.service.uid, self.role, self.variant) == (other.service.uid, other.role, other.variant)
            and self.settings == other.settings
        )


@dataclass(frozen=True, slots=True)
class _Sample:
    """What a request has of its pods."""

    shape: GroupShape
    pods: PodShape
    labels: tuple[Mapping[str, str], ...]
    atomic_pool: bool
    chips_claim: str


def group_request(
    service: ObjectMeta,
    spec: InferenceServiceSpec,
    role: str,
    group: GroupStatus,
    catalog: Catalog,
    *,
    queued_at: float,
    priority: int = 0,
    excluded: frozenset[str] = frozenset(),
    preferred_nodes: Mapping[int, str] | None = None,
    settings: Settings | None = None,
) -> GangRequest:
    """The request of a group that joined the queue at `queued_at` (seconds); `spec` is of the group's revision.

    `excluded` are nodes not to use; `preferred_nodes` maps workers to the nodes of the last attempt. KeyError,
    IndexError, ValueError as `group_shape`.
    """
    sample = _sample(_Kind(service, spec, role, group.variant, catalog, settings or Settings()))
    placement = spec.scheduling.placement
    own = {LABEL_GROUP: str(group.id), LABEL_REVISION: group.revision}
    return GangRequest(
        uid=names.gang_uid(service.uid, role, group.id),
        namespace=service.namespace,
        name=service.name,
        priority=priority,
        queued_at=queued_at,
        slices=1,
        workers_per_slice=sample.shape.size,
        worker=sample.pods,
        policy=PlacementPolicy(placement.policy.value),
        level=placement.level or "",
        accelerator=sample.shape.accelerator,
        chips_per_worker=sample.shape.chips_per_worker,
        chips_claim=sample.chips_claim,
        atomic_pool=sample.atomic_pool,
        excluded=excluded,
        labels=tuple({**labels, **own} for labels in sample.labels),
        preferred_nodes=preferred_nodes or {},
        **_together(spec, role, sample.shape, catalog),
    )


def _together(spec: InferenceServiceSpec, role: str, shape: GroupShape, catalog: Catalog) -> Together:
    mesh = role_of(spec, role).parallelism
    if mesh is None:
        return {}
    required = mesh.scale_up is ScaleUp.REQUIRED
    return together(mesh.group, shape.chips_per_worker, catalog[shape.accelerator], required=required)


def common_shape(first: PodShape, second: PodShape) -> PodShape:
    """The shape of a pod that can be put wherever either could."""
    if first == second:
        return first
    requests = {key: max(value, dict(second.requests).get(key, 0)) for key, value in first.requests}
    tolerations = tuple(t for t in first.tolerations if t in second.tolerations)
    return PodShape(
        requests=tuple(sorted({**dict(second.requests), **requests}.items())),
        node_selector=tuple(sorted({*first.node_selector, *second.node_selector})),
        affinity=_both(first.affinity, second.affinity),
        tolerations=tolerations,
        host_ports=tuple(sorted({*first.host_ports, *second.host_ports})),
        unmodelled=tuple(sorted({*first.unmodelled, *second.unmodelled})),
        claims=tuple(sorted((Counter(first.claims) | Counter(second.claims)).elements())),
    )


# one decision asks for a few kinds of groups; services take turns
@lru_cache(maxsize=64)
def _sample(kind: _Kind) -> _Sample:
    any_group = GroupStatus(id=0, revision="", attempt=1, variant=kind.variant)
    prepared = prepare_group(kind.service, kind.spec, kind.role, any_group, kind.catalog, kind.settings)
    pods = [prepared.pod(worker, None) for worker in sorted({0, prepared.size - 1})]
    shapes = [shape_of(pod["spec"]) for pod in pods]
    return _Sample(
        shape=prepared.shape,
        pods=common_shape(shapes[0], shapes[-1]),
        labels=tuple(_labels(pods)),
        # a TPU slice of several hosts is one node pool, which is taken whole
        atomic_pool=prepared.tpu and prepared.size > 1,
        chips_claim=claim_template(pods[0]["spec"], _claim(kind)),
    )


def _claim(kind: _Kind) -> str | None:
    return accelerator_of(role_of(kind.spec, kind.role), kind.variant).resource_claim


def _both(
    first: tuple[tuple[Requirement, ...], ...], second: tuple[tuple[Requirement, ...], ...]
) -> tuple[tuple[Requirement, ...], ...]:
    """Terms are alternatives: both hold on a node if a term of each does. No terms hold everywhere.

    A term with nothing in it matches no node, so neither does its combination with another.
    """
    if not first or not second or first == second:
        return first or second
    found = [(*a, *b) if a and b else () for a in first for b in second]
    return tuple(dict.fromkeys(found))


def _labels(pods: list[dict[str, Any]]) -> Iterator[Mapping[str, str]]:
    """Each role's labels once: a worker's differ from the leader's only if its template's do."""
    seen: list[Mapping[str, str]] = []
    for pod in pods:
        labels: Mapping[str, str] = pod["metadata"]["labels"]
        alike = {key: value for key, value in labels.items() if key != LABEL_WORKER}
        if alike not in seen:
            seen.append(alike)
            yield labels
