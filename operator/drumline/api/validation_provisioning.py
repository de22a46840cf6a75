"""Whether a job asks for nodes in a way that it can run on what comes.

Nodes that come for a ProvisioningRequest are known before the gang is placed, so whatever may be asked of nodes that are
there may be asked of these. Pods that are pinned to no node go where the scheduler puts them.
"""

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
    if provisioning.mode is ProvisioningMode.UNPINNED:
        for why in _obstacles(spec, catalog):
            allowed = f"allowed: {ProvisioningMode.NEVER}, {ProvisioningMode.REQUEST}"
            yield FieldError(f"{PATH}.mode", f"given {provisioning.mode} with {why}; {allowed}")


def request_errors(spec: TrainingJobSpec) -> Iterator[FieldError]:
    """Errors of what only a ProvisioningRequest has, whatever the accelerator."""
    provisioning = spec.scheduling.provisioning
    if provisioning is None:
        return
    asks, mode = provisioning.mode is ProvisioningMode.REQUEST, provisioning.mode
    if asks and provisioning.class_name is None:
        text = f"required with mode {mode}; allowed: a class that an autoscaler of the cluster serves"
        yield FieldError(f"{PATH}.className", text)
    given = {
        "className": provisioning.class_name,
        "parameters": provisioning.parameters,
        "managedResources": provisioning.managed_resources,
    }
    for name, value in given.items():
        if value is not None and not asks:
            text = f"given with mode {mode}; allowed: only with mode {ProvisioningMode.REQUEST}"
            yield FieldError(f"{PATH}.{name}", text)


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
