"""Which quota a pod counts in, as the pod itself says: in an annotation that it is created with.

Who knows the pod's gang counts the gang, by its owner's status. A leader that took over from another may know a pod whose
owner is gone, or whose owner's spec does not hold any more: it counts the pods. The annotation is no part of what a pod is
rendered from, so that no attempt begins again for it. Who may write to pods may write it: of what a template says of it
nothing is left, and a pod counts for no more than it asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from drumline.api.meta import ANNOTATION_QUOTA
from drumline.core.gang.types import Charge, Pod

Manifest = Mapping[str, Any]
MOST = 1024  # chips of one pod: more than a host has


def charged(pod: Manifest, charge: Charge | None) -> Manifest:
    """The pod that says what it counts for; None = nothing, whatever its template says."""
    annotations = pod["metadata"].get("annotations") or {}
    if charge is None or not charge.queue or charge.chips <= 0:
        if ANNOTATION_QUOTA not in annotations:
            return pod
        annotations = {name: text for name, text in annotations.items() if name != ANNOTATION_QUOTA}
    else:
        annotations = {**annotations, ANNOTATION_QUOTA: _text(charge)}
    return {**pod, "metadata": {**pod["metadata"], "annotations": annotations}}


def charge_of(annotations: Mapping[str, str] | None) -> Charge | None:
    """What these annotations of a pod of ours say; None = nothing, or nothing that can be read."""
    text = annotations.get(ANNOTATION_QUOTA) if annotations else None
    return _parsed(text) if text else None


def covered(charge: Charge | None, requests: Iterable[tuple[str, int]], *, claims: bool) -> Charge | None:
    """The charge, for no more than the pod's requests of extended resources; `claims`: devices come by claims."""
    if charge is None:
        return None
    asked = sum(count for name, count in requests if "/" in name)
    chips = min(charge.chips, MOST if claims else min(asked, MOST))
    return replace(charge, chips=chips) if chips else None


def added_up(pods: Iterable[Pod]) -> Charge | None:
    """What pods of one gang count for together, those that have ended left out; None = nothing."""
    alive = (p.member.charge for p in pods if p.member is not None and not p.terminal)
    found = [charge for charge in alive if charge is not None]
    if not found:
        return None
    return Charge(found[0].queue, found[0].accelerator, sum(charge.chips for charge in found))


def _text(charge: Charge) -> str:
    return f"{charge.queue}/{charge.accelerator}/{charge.chips}"


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Charge | None:
    queue, _, rest = text.partition("/")
    accelerator, _, chips = rest.partition("/")
    if not queue or not accelerator or not chips.isdecimal() or len(chips) > 6:
        return None
    return Charge(queue, accelerator, int(chips))
