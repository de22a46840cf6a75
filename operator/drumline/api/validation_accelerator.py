"""Whether accelerator, topology and counts of workers fit each other and the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drumline.api.catalog import AcceleratorType, Catalog, VendorKind
from drumline.api.errors import FieldError
from drumline.api.training import AcceleratorShape, TrainingJobSpec


@dataclass(frozen=True, slots=True)
class Chosen:
    """An accelerator as it stands at `path`, and how many pods the user says share a slice of it."""

    path: str  # "spec.accelerator"
    accelerator: AcceleratorShape
    workers: int | None
    workers_path: str  # "spec.workersPerSlice"

    @property
    def type_path(self) -> str:
        """Of the type."""
        return f"{self.path}.type"

    @property
    def topology_path(self) -> str:
        """Of the topology."""
        return f"{self.path}.topology"

    @property
    def chips_path(self) -> str:
        """Of the chips of a worker."""
        return f"{self.path}.chipsPerWorker"


def accelerator_errors(spec: TrainingJobSpec, catalog: Catalog) -> Iterator[FieldError]:
    """Errors of a job's `spec.accelerator` and of what follows from it."""
    chosen = Chosen("spec.accelerator", spec.accelerator, spec.workers_per_slice, "spec.workersPerSlice")
    yield from chosen_errors(chosen, catalog)


def chosen_errors(chosen: Chosen, catalog: Catalog) -> Iterator[FieldError]:
    """Errors of an accelerator, wherever it stands."""
    entry = catalog.get(chosen.accelerator.type)
    if entry is None:
        allowed = ", ".join(sorted(catalog))
        yield FieldError(
            chosen.type_path, f"unknown accelerator {chosen.accelerator.type!r}; allowed: {allowed}"
        )
    elif entry.is_tpu:
        yield from _tpu_errors(chosen, entry)
    else:
        yield from _host_errors(chosen, entry)


def _tpu_errors(chosen: Chosen, entry: AcceleratorType) -> Iterator[FieldError]:
    topology = chosen.accelerator.topology
    if topology is None:
        yield FieldError(
            chosen.topology_path, f"required on {entry.key}; allowed: {entry.allowed_topologies()}"
        )
        return
    if not entry.allows(topology):
        allowed = entry.allowed_topologies()
        yield FieldError(
            chosen.topology_path, f"impossible topology {topology!r} of {entry.key}; allowed: {allowed}"
        )
        return
    sizes, wanted = entry.worker_sizes(topology), chosen.accelerator.chips_per_worker
    if wanted is not None and wanted not in sizes:
        allowed = " or ".join(map(str, sizes))
        yield FieldError(
            chosen.chips_path, f"given {wanted}; allowed: {allowed} for a {topology} slice of {entry.key}"
        )
        return
    hosts = entry.hosts(topology, wanted)
    if chosen.workers not in (None, hosts):
        yield FieldError(
            chosen.workers_path,
            f"given {chosen.workers}; allowed: {hosts} or absent, as a {topology} slice of {entry.key} "
            f"has {hosts} hosts",
        )


def _host_errors(chosen: Chosen, entry: AcceleratorType) -> Iterator[FieldError]:
    if chosen.accelerator.topology is not None:
        yield FieldError(
            chosen.topology_path,
            f"given {chosen.accelerator.topology!r} on {entry.key}; allowed: absent, only TPUs have one",
        )
    chips = chosen.accelerator.chips_per_worker
    if chips is None:
        return
    if entry.kind is VendorKind.CPU:
        if chips:
            yield FieldError(
                chosen.chips_path, f"given {chips}; allowed: 0 or absent, {entry.key} has no chips"
            )
    elif not 1 <= chips <= entry.largest_host:
        yield FieldError(
            chosen.chips_path, f"given {chips}; allowed: 1 to {entry.largest_host} on {entry.key}"
        )
