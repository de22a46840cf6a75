"""What a group asks of admission, read from the very pods that would be created.

Placement knows one shape for all pods of a group. Where the leader has a template of its own, the shape is that
of a pod which could be either: of each resource the larger request, all of both's selectors and affinity, only
the tolerations that both have. So whichever pod comes to a node of the placement has room there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from drumline.api.catalog import Catalog
from drumline.api.inference import InferenceServiceSpec
from drumline.api.inference_status import GroupStatus
from drumline.api.meta import LABEL_WORKER
from drumline.core.gang.meta import ObjectMeta
from drumline.core.gang.projection import shape_of
from drumline.core.gang.types import GangRequest, PlacementPolicy, PodShape, Requirement
from drumline.core.inference import names
from drumline.core.inference.observation import Settings
from drumline.core.inference.render_group import PreparedGroup, prepare_group

_FIRST = 1  # the attempt is in names and labels only, which placement does not look at


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
    attempt = group.model_copy(update={"attempt": _FIRST})
    prepared = prepare_group(service, spec, role, attempt, catalog, settings or Settings())
    placement = spec.scheduling.placement
    pods = [prepared.pod(worker, None) for worker in sorted({0, prepared.size - 1})]
    return GangRequest(
        uid=names.gang_uid(service.uid, role, group.id),
        namespace=service.namespace,
        name=service.name,
        priority=priority,
        queued_at=queued_at,
        slices=1,
        workers_per_slice=prepared.size,
        worker=_shape_of_all(pods),
        policy=PlacementPolicy(placement.policy.value),
        level=placement.level or "",
        accelerator=prepared.shape.accelerator,
        chips_per_worker=prepared.shape.chips_per_worker,
        atomic_pool=_atomic_pool(prepared),
        excluded=excluded,
        labels=tuple(_labels(pods)),
        preferred_nodes=preferred_nodes or {},
    )


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
    )


def _shape_of_all(pods: list[dict[str, Any]]) -> PodShape:
    shapes = [shape_of(pod["spec"]) for pod in pods]
    return common_shape(shapes[0], shapes[-1])


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


def _atomic_pool(prepared: PreparedGroup) -> bool:
    """A TPU slice of several hosts is one node pool, which is taken whole."""
    return prepared.tpu and prepared.size > 1
