"""How many kinds of asks are counted at a time.

Whoever may write a claim template may write one that nobody has had before, and each kind of ask costs a look at all
devices and a count on every node. So a namespace has so many in use at a time, and so has the cluster. Gangs that have
their nodes are counted whatever they ask for: what they hold is theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from drumline.api.reasons import Reason
from drumline.core.gang.device_asks import KnownAsk
from drumline.core.gang.types import Refusal

MAX_OF_NAMESPACE: Final = 16
MAX_ASKS: Final = 64


def too_many(asked: Collection[str], known: Mapping[str, KnownAsk], namespace: str) -> Refusal | None:
    """Why asks of these names, by a gang of this namespace, would be more than are counted; None if they are not."""
    fresh = sum(name not in known or not known[name].users for name in asked)
    if not fresh:
        return None
    own = sum(1 for each in known.values() if each.used[namespace])
    every = sum(1 for each in known.values() if each.users)
    if own + fresh > MAX_OF_NAMESPACE:
        return _refusal(fresh, f"namespace {namespace} has {own}", f"{MAX_OF_NAMESPACE} of a namespace")
    if every + fresh > MAX_ASKS:
        return _refusal(fresh, f"the cluster has {every}", f"{MAX_ASKS} of all namespaces")
    return None


def _refusal(fresh: int, used: str, most: str) -> Refusal:
    text = (
        f"the pods ask for devices in {fresh} new way(s) (class, selectors, tolerations), {used} in use, and gang "
        f"placement counts {most} at a time: let jobs ask with the same selectors, or wait until one that asks "
        "otherwise has ended"
    )
    return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)
