"""How many pods and chips a group of a role has on one of its accelerators."""

from __future__ import annotations

from drumline.api.catalog import Catalog, VendorKind
from drumline.api.inference import InferenceRoleSpec
from drumline.api.training import Accelerator


def counts_of(role: InferenceRoleSpec, accelerator: Accelerator, catalog: Catalog) -> tuple[int, int] | None:
    """Chips of a pod, pods of a group; None where type, topology or chips, refused elsewhere, leave them open."""
    entry = catalog.get(accelerator.type)
    if entry is None:
        return None
    wanted, topology = accelerator.chips_per_worker, accelerator.topology
    if not entry.is_tpu:
        chips = 0 if entry.kind is VendorKind.CPU else wanted or entry.chips_per_host
        return chips, role.group_size or 1
    if topology is None or not entry.allows(topology) or wanted not in (None, *entry.worker_sizes(topology)):
        return None
    return wanted or entry.chips_per_worker(topology), entry.hosts(topology, wanted)
