"""Whether a job that may ask for nodes can run on nodes that nobody chose for it."""

from __future__ import annotations

from collections.abc import Iterator

from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.provisioning import ProvisioningMode
from drumline.api.shape import resolve_shape
from drumline.api.training import PlacementPolicyType, TrainingJobSpec

PATH = "spec.scheduling.provisioning"


def provisioning_errors(spec: TrainingJobSpec, catalog: Catalog) -> Iterator[FieldError]:
    """Errors of `spec.scheduling.provisioning` in a spec whose accelerator is sound."""
    provisioning = spec.scheduling.provisioning
    if provisioning is None or provisioning.mode is ProvisioningMode.NEVER:
        return
    for why in _obstacles(spec, catalog):
        yield FieldError(f"{PATH}.mode", f"given {provisioning.mode} with {why}; allowed: Never")


def _obstacles(spec: TrainingJobSpec, catalog: Catalog) -> Iterator[str]:
    if spec.scheduling.placement.policy is PlacementPolicyType.REQUIRED:
        yield "spec.scheduling.placement.policy Required, which no pod that is pinned to no node can keep to"
    if spec.spares:
        yield f"spec.spares {spec.spares}, whose places are held on nodes that are known"
    if spec.elastic is not None:
        yield "spec.elastic: such a job begins with the nodes that there are"
    shape = resolve_shape(spec, catalog)
    if catalog[spec.accelerator.type].is_tpu and shape.workers_per_slice > 1:
        yield f"slices of {shape.workers_per_slice} hosts, each of which has to be one node pool"
    parallelism = spec.parallelism
    if parallelism is not None and parallelism.group > max(1, shape.chips_per_worker):
        yield "groups of several workers (tensor × expert), which have to be in one scale-up domain"
