"""Groups of several workers that belong into one scale-up domain, as a request says it.

The domain is one of the level marked as scale-up where hosts of the type share a link; else it is the host.
"""

from __future__ import annotations

from typing import TypedDict

from drumline.api.catalog import AcceleratorType
from drumline.core.gang.topology import HOST_LEVEL


class Together(TypedDict, total=False):
    """Fields of a GangRequest; none where no group is larger than a worker."""

    group_workers: int
    group_level: str
    group_required: bool


def together(chips: int, chips_per_worker: int, entry: AcceleratorType, *, required: bool) -> Together:
    """The fields for groups of so many consecutive chips."""
    if chips <= max(1, chips_per_worker):
        return {}
    return {
        "group_workers": chips // chips_per_worker,
        "group_level": "" if entry.scales_up_across_hosts else HOST_LEVEL,
        "group_required": required,
    }
