"""When a gang asks for nodes that are not there: it begins unpinned, and a cluster's autoscaler sees its pods.

It asks once it was refused nodes for `afterSeconds`; a refusal for quota or power asks for none, as more nodes would not
help. Its queue's quota is taken when it begins, so that no queue grows beyond its share. From then on one clock runs,
which no pod that is bound puts back: while any is still without a node at its end, the whole attempt ends, so that a
scale-up that comes late, or in part, leaves no part of a gang behind. Only pods that are created later, of helpers that
wait for others, put it back. A restart asks for nodes as any gang does, those that it had first; it is pinned to what it
gets.
"""

from __future__ import annotations

from typing import Final

from drumline.api.provisioning import Provisioning, ProvisioningMode
from drumline.api.reasons import ConditionType, Reason
from drumline.core.gang.clock import unix
from drumline.core.gang.types import Refusal
from drumline.core.training import conditions
from drumline.core.training.view import View

WANT_OF_NODES: Final = frozenset(
    {
        Reason.INSUFFICIENT_ACCELERATORS,
        Reason.NO_FEASIBLE_NODE,
        Reason.TOPOLOGY_UNSATISFIABLE,
        Reason.HEAD_OF_QUEUE_RESERVED,
    }
)


def asked_for(view: View) -> Provisioning | None:
    """How the job asks for nodes; None where it never does."""
    wish = view.spec.scheduling.provisioning
    never = wish is None or wish.mode is ProvisioningMode.NEVER or view.obs.backend.foreign
    return None if never else wish


def begins_unpinned(view: View) -> bool:
    """Whether the gang, which waits, is now to begin without nodes.

    What was last said of it counts while there is no answer yet, else it would ask in turn for one and the other.
    """
    wish, since, answer = asked_for(view), view.status.refused_since, view.obs.admission
    if wish is None or since is None or view.status.placement is not None:
        return False
    known = conditions.find(view.status, ConditionType.QUOTA_RESERVED)
    said = answer.reason if isinstance(answer, Refusal) else known.reason if known is not None else ""
    return said in WANT_OF_NODES and unix(since) + wish.after_seconds <= view.now


def until_asking(view: View) -> float | None:
    """Seconds until the gang asks for nodes; None when it does already, or never does."""
    wish, since = asked_for(view), view.status.refused_since
    if wish is None or since is None or view.status.placement is not None:
        return None
    wait = unix(since) + wish.after_seconds - view.now
    return wait if wait > 0 else None


def patience(view: View) -> float | None:
    """Seconds that pods of the running attempt may wait for nodes; None for one that began with nodes."""
    placement, wish = view.obs.placement, asked_for(view)
    if wish is None or placement is None or not placement.unpinned:
        return None
    return float(wish.timeout_seconds)
