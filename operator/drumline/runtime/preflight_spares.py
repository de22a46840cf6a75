"""A gang whose namespace has room for it, but not for all of its spares: with as many as there is room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from drumline.api.meta import LABEL_ROLE, ROLE_SPARE
from drumline.core.gang.quota import Manifest, Role
from drumline.core.gang.types import Refusal
from drumline.runtime.preflight import Cleared


def with_fewer_spares(
    cleared: Cleared, refusal: Callable[[Sequence[Role]], Refusal | None]
) -> Cleared | None:
    """The most spares with which `refusal` has nothing against the gang; None when it is not the spares' doing."""
    if not cleared.request.spares or refusal(_with(cleared, 0).roles) is not None:
        return None
    low, high = 0, cleared.request.spares  # it is refused with `high`, and not with `low`
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if refusal(_with(cleared, middle).roles) is not None else (middle, high)
    return _with(cleared, low)


def _with(cleared: Cleared, spares: int) -> Cleared:
    request = replace(cleared.request, spares=spares)
    roles = [
        (manifest, shape, spares * request.spare_size if _is_spare(manifest) else count)
        for manifest, shape, count in cleared.roles
    ]
    return Cleared(request, tuple(roles))


def _is_spare(manifest: Manifest) -> bool:
    return (manifest["metadata"].get("labels") or {}).get(LABEL_ROLE) == ROLE_SPARE
