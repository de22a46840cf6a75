"""What a TrainingJob asks of admission, read from the very pods that would be created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from drumline.api.catalog import AcceleratorType, Catalog
from drumline.api.parallelism import ScaleUp
from drumline.api.status import Avoidance, ExcludedNode
from drumline.api.training import TrainingJobSpec
from drumline.core.gang.devices import claim_template
from drumline.core.gang.pods import PodSettings
from drumline.core.gang.projection import shape_of
from drumline.core.gang.scale_up import Together, together
from drumline.core.gang.types import GangRequest, PlacementPolicy, PodGroupRequest
from drumline.core.training.observation import JobMeta
from drumline.core.training.render import PreparedGang, RenderSettings, prepare_gang
from drumline.core.training.spares_render import prepare_spares

_ANY_IMAGE: Final = "operator"  # which one it is, placement does not look at


def gang_request(
    job: JobMeta,
    spec: TrainingJobSpec,
    catalog: Catalog,
    *,
    queued_at: float,
    priority: int = 0,
    excluded: Sequence[ExcludedNode] = (),
    preferred_nodes: Mapping[int, str] | None = None,
    settings: RenderSettings | None = None,
    queue: str = "",
) -> GangRequest:
    """The request of a valid job that joined the queue at `queued_at` (seconds).

    `excluded` are nodes to avoid; `preferred_nodes` maps pod indexes to the nodes of the last attempt;
    `queue` is the one that it waits in, "" for none.
    KeyError, ValueError as `resolve_shape`.
    """
    entry = catalog[spec.accelerator.type]
    # the attempt is in names and labels only, which placement does not look at
    gang = prepare_gang(job, spec, catalog, 1, settings)
    return GangRequest(
        uid=job.uid,
        namespace=job.namespace,
        name=job.name,
        priority=priority,
        queued_at=queued_at,
        slices=spec.slices,
        workers_per_slice=gang.roster.workers_per_slice,
        worker=shape_of(gang.worker(0, None)["spec"]),
        helpers=_helpers(gang),
        policy=PlacementPolicy(spec.scheduling.placement.policy.value),
        level=spec.scheduling.placement.level or "",
        accelerator=spec.accelerator.type,
        chips_per_worker=gang.chips_per_worker,
        chips_claim=claim_template(spec.template["spec"], spec.accelerator.resource_claim),
        atomic_pool=_atomic_pool(entry, gang),
        excluded=frozenset(n.name for n in excluded),
        if_possible=tuple(n.name for n in excluded if n.avoid is Avoidance.IF_POSSIBLE),
        if_ever_possible=tuple(n.name for n in excluded if n.avoid is Avoidance.IF_EVER_POSSIBLE),
        preferred_nodes=preferred_nodes or {},
        queue=queue,
        spares=spec.spares,
        **_groups(spec, entry, gang.chips_per_worker),
        labels=(
            _labels(gang.worker(0, None)),
            *(_labels(gang.helper(n, 0, None)) for n in range(len(gang.helpers))),
            *_spares_labels(gang, spec),
        ),
    )


def _groups(spec: TrainingJobSpec, entry: AcceleratorType, chips: int) -> Together:
    """The fields that keep tensor- and expert-parallel groups of several workers together; `chips` of a worker."""
    mesh = spec.parallelism
    if mesh is None:
        return {}
    return together(mesh.group, chips, entry, required=mesh.scale_up is ScaleUp.REQUIRED)


def _labels(pod: Mapping[str, Any]) -> Mapping[str, str]:
    labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
    return labels


def _spares_labels(gang: PreparedGang, spec: TrainingJobSpec) -> tuple[Mapping[str, str], ...]:
    """A spare's pod, too, is kept off by what keeps off its labels."""
    if not spec.spares:
        return ()
    return (_labels(prepare_spares(gang, spec, _ANY_IMAGE, PodSettings()).pod(0, None)),)


def _helpers(gang: PreparedGang) -> tuple[PodGroupRequest, ...]:
    return tuple(
        PodGroupRequest(name, count, shape_of(gang.helper(number, 0, None)["spec"]))
        for number, (name, count) in enumerate(gang.roster.helpers)
    )


def _atomic_pool(entry: AcceleratorType, gang: PreparedGang) -> bool:
    """A TPU slice of several hosts is one node pool, which is taken whole."""
    return entry.is_tpu and gang.roster.workers_per_slice > 1
