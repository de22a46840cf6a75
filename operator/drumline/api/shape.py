"""The size of a gang: how many slices, workers, processes and chips a spec asks for.

On TPU the workers of a slice follow from its topology. On GPU the user counts them; a worker has a whole
host's chips unless told otherwise. On CPU there are workers and no chips.
"""

from __future__ import annotations

from dataclasses import dataclass

from drumline.api.catalog import AcceleratorType, Catalog, VendorKind
from drumline.api.training import Framework, TrainingJobSpec


@dataclass(frozen=True, slots=True)
class GangShape:
    """Counts of one attempt. `chips_per_worker` is the count of `resource` that a pod requests."""

    slices: int
    workers_per_slice: int
    chips_per_worker: int
    processes_per_worker: int
    resource: str  # extended resource; empty on CPU
    chips: int  # of the whole gang

    @property
    def workers(self) -> int:
        """Worker pods in all."""
        return self.slices * self.workers_per_slice


def resolve_shape(spec: TrainingJobSpec, catalog: Catalog) -> GangShape:
    """The shape of a valid spec.

    KeyError for an unknown accelerator, ValueError for an impossible topology: `validate_job` finds both.
    """
    entry = catalog[spec.accelerator.type]
    chips, workers = _host_shape(spec, entry)
    return GangShape(
        slices=spec.slices,
        workers_per_slice=workers,
        chips_per_worker=chips,
        processes_per_worker=spec.processes_per_worker or _default_processes(spec.framework, chips),
        resource=entry.resource,
        chips=spec.slices * workers * chips,
    )


def spare_size(spec: TrainingJobSpec, workers_per_slice: int) -> int:
    """Pods of one spare: those of a slice where slices are whole node pools (TPU), else one."""
    return workers_per_slice if spec.accelerator.topology is not None else 1


def with_slices(spec: TrainingJobSpec, slices: int) -> TrainingJobSpec:
    """The spec of a gang of so many slices; the very same where it has them."""
    return spec if spec.slices == slices else spec.model_copy(update={"slices": slices})


def largest(spec: TrainingJobSpec) -> TrainingJobSpec:
    """The spec of the largest gang that it may ever ask for."""
    return spec if spec.elastic is None else with_slices(spec, max(spec.slices, spec.elastic.max_slices))


def _host_shape(spec: TrainingJobSpec, entry: AcceleratorType) -> tuple[int, int]:
    """Chips of a worker, workers of a slice."""
    wanted = spec.accelerator.chips_per_worker
    if entry.is_tpu:
        topology = spec.accelerator.topology or ""
        chips = wanted or entry.chips_per_worker(topology)
        return chips, entry.hosts(topology, chips)
    chips = 0 if entry.kind is VendorKind.CPU else wanted or entry.chips_per_host
    return chips, spec.workers_per_slice or 1


def _default_processes(framework: Framework, chips: int) -> int:
    """Torch runs one process a chip; JAX and plain programs drive all chips of a host from one."""
    return max(1, chips) if framework is Framework.TORCH else 1
