"""Which accelerator a group asks for, where its role may run on several.

Variants are ordered by the catalogue's price of a group for what it takes of the load (price per chip-hour × chips
÷ capacity); those without a price come last, in the order of the spec. A group asks for the cheapest first, and
while it has no place it goes on to the next one every `TURN_SECONDS`, round and round. A variant that already has its
`maxReplicas` groups is left out.
"""

from __future__ import annotations

from math import inf
from typing import Final

from drumline.api.catalog import Catalog
from drumline.api.inference import InferenceRoleSpec, InferenceServiceSpec
from drumline.api.inference_status import GroupStatus
from drumline.core.inference.render import group_shape
from drumline.core.inference.view import View, is_going

TURN_SECONDS: Final = 30.0


def by_cost(spec: InferenceServiceSpec, role: InferenceRoleSpec, catalog: Catalog) -> tuple[int, ...]:
    """The variants of a role, cheapest first; 0 is the role's own accelerator."""
    every = range(len(role.variants) + 1)
    return tuple(sorted(every, key=lambda variant: (cost(spec, role, catalog, variant), variant)))


def cost(spec: InferenceServiceSpec, role: InferenceRoleSpec, catalog: Catalog, variant: int) -> float:
    """US dollars an hour for the load of one group on the role's own accelerator; infinite without a price."""
    chosen = role.variants[variant - 1] if variant else None
    accelerator = chosen.accelerator if chosen is not None else role.accelerator
    price = catalog[accelerator.type].price
    if price is None:
        return inf
    chips = group_shape(spec, role.name, catalog, variant).chips
    return price.usd_per_chip_hour * chips / (chosen.capacity if chosen is not None else 1.0)


def turn(view: View, role: InferenceRoleSpec, group: GroupStatus, waited: float) -> int:
    """The variant whose turn it is for a group that has waited so many seconds."""
    spec = view.spec_of(group) or view.spec
    open_ = [v for v in by_cost(spec, role, view.obs.catalog) if not _full(view, role, group, v)]
    return open_[int(max(0.0, waited) // TURN_SECONDS) % len(open_)] if open_ else group.variant


def of_next_group(view: View, role: InferenceRoleSpec) -> int:
    """The variant that one group more would ask for first."""
    group = GroupStatus(id=view.role(role.name).next_group, revision=view.status.update_revision or "")
    return turn(view, role, group, 0.0)


def next_turn(waited: float) -> float:
    """Seconds until it is another variant's turn."""
    return TURN_SECONDS - max(0.0, waited) % TURN_SECONDS


def _full(view: View, role: InferenceRoleSpec, group: GroupStatus, variant: int) -> bool:
    """Whether the others on the variant, and those before it that ask for it, are as many as may be."""
    most = role.variants[variant - 1].max_replicas if variant else None
    others = (g for g in view.groups(role.name) if g.id != group.id and not is_going(g))
    return most is not None and most <= sum(
        1 for g in others if g.variant == variant and (g.nodes or g.id < group.id)
    )
