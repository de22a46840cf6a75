"""Whether accelerator, topology and counts of workers fit each other and the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from drumline.api.catalog import AcceleratorType, Catalog, VendorKind
from drumline.api.errors import FieldError
from drumline.api.training import TrainingJobSpec

_TYPE = "spec.accelerator.type"
_TOPOLOGY = "spec.accelerator.topology"
_CHIPS = "spec.accelerator.chipsPerWorker"


def accelerator_errors(spec: TrainingJobSpec, catalog: Catalog) -> Iterator[FieldError]:
    """Errors of `spec.accelerator` and of what follows from it."""
    entry = catalog.get(spec.accelerator.type)
    if entry is None:
        allowed = ", ".join(sorted(catalog))
        yield FieldError(_TYPE, f"unknown accelerator {spec.accelerator.type!r}; allowed: {allowed}")
    elif entry.is_tpu:
        yield from _tpu_errors(spec, entry)
    else:
        yield from _host_errors(spec, entry)


def _tpu_errors(spec: TrainingJobSpec, entry: AcceleratorType) -> Iterator[FieldError]:
    topology = spec.accelerator.topology
    if topology is None:
        yield FieldError(_TOPOLOGY, f"required on {entry.key}; allowed: {entry.allowed_topologies()}")
        return
    if not entry.allows(topology):
        allowed = entry.allowed_topologies()
        yield FieldError(_TOPOLOGY, f"impossible topology {topology!r} of {entry.key}; allowed: {allowed}")
        return
    sizes, wanted = entry.worker_sizes(topology), spec.accelerator.chips_per_worker
    if wanted is not None and wanted not in sizes:
        allowed = " or ".join(map(str, sizes))
        yield FieldError(_CHIPS, f"given {wanted}; allowed: {allowed} for a {topology} slice of {entry.key}")
        return
    hosts = entry.hosts(topology, wanted)
    if spec.workers_per_slice not in (None, hosts):
        yield FieldError(
            "spec.workersPerSlice",
            f"given {spec.workers_per_slice}; allowed: {hosts} or absent, as a {topology} slice of {entry.key} "
            f"has {hosts} hosts",
        )


def _host_errors(spec: TrainingJobSpec, entry: AcceleratorType) -> Iterator[FieldError]:
    if spec.accelerator.topology is not None:
        yield FieldError(
            _TOPOLOGY,
            f"given {spec.accelerator.topology!r} on {entry.key}; allowed: absent, only TPUs have one",
        )
    chips = spec.accelerator.chips_per_worker
    if chips is None:
        return
    if entry.kind is VendorKind.CPU:
        if chips:
            yield FieldError(_CHIPS, f"given {chips}; allowed: 0 or absent, {entry.key} has no chips")
    elif not 1 <= chips <= entry.largest_host:
        yield FieldError(_CHIPS, f"given {chips}; allowed: 1 to {entry.largest_host} on {entry.key}")
