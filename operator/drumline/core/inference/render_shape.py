"""The size of a group: how many pods and chips a role's accelerator, or one of its variants, asks for.

On TPU the pods of a group follow from the topology. Elsewhere the user counts them; a pod has a whole host's
chips unless told otherwise. On CPU there are pods and no chips.
"""

from __future__ import annotations

from dataclasses import dataclass

from drumline.api.catalog import AcceleratorType, Catalog, VendorKind
from drumline.api.inference import InferenceRoleSpec, InferenceServiceSpec
from drumline.api.training import Accelerator


@dataclass(frozen=True, slots=True)
class GroupShape:
    """Counts of one group. `chips_per_worker` is the count of `resource` that a pod requests."""

    size: int  # pods
    chips_per_worker: int
    resource: str  # extended resource; empty on CPU
    accelerator: str  # key of the catalogue
    chips: int  # of the whole group
    topology: str | None = None  # on TPU


def role_of(spec: InferenceServiceSpec, role: str) -> InferenceRoleSpec:
    """The role of that name. KeyError when there is none."""
    for found in spec.roles:
        if found.name == role:
            return found
    raise KeyError(f"no role {role!r}")


def accelerator_of(role: InferenceRoleSpec, variant: int = 0) -> Accelerator:
    """What a group of the variant computes on; 0 is the role's own. IndexError when there is no such variant."""
    return role.accelerator if variant == 0 else role.variants[variant - 1].accelerator


def group_shape(spec: InferenceServiceSpec, role: str, catalog: Catalog, variant: int = 0) -> GroupShape:
    """The shape of a valid role's groups.

    KeyError for an unknown role or accelerator, IndexError for an unknown variant, ValueError for an impossible
    topology.
    """
    found = role_of(spec, role)
    accelerator = accelerator_of(found, variant)
    entry = catalog[accelerator.type]
    chips, size = _host_shape(found, accelerator, entry)
    return GroupShape(size, chips, entry.resource, entry.key, size * chips, accelerator.topology)


def _host_shape(role: InferenceRoleSpec, accelerator: Accelerator, entry: AcceleratorType) -> tuple[int, int]:
    """Chips of a pod, pods of a group."""
    wanted = accelerator.chips_per_worker
    if entry.is_tpu:
        topology = accelerator.topology or ""
        chips = wanted or entry.chips_per_worker(topology)
        return chips, entry.hosts(topology, chips)
    chips = 0 if entry.kind is VendorKind.CPU else wanted or entry.chips_per_host
    return chips, role.group_size or 1
