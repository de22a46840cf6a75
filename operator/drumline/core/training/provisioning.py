"""When a gang asks for nodes that are not there, and how.

It asks once it was refused nodes for `afterSeconds`; a refusal for quota or power asks for none, as more nodes would not
help. Its queue's quota is taken first, so that no queue grows beyond its share.

`Unpinned`: it begins unpinned, and a cluster's autoscaler sees its pods. From then on one clock runs,
which no pod that is bound puts back: while any is still without a node at its end, the whole attempt ends, so that a
scale-up that comes late, or in part, leaves no part of a gang behind. Helpers that
wait for others have no part in that: they find their nodes when they come, however long it takes. A restart asks for
nodes as any gang does, those that it had first; it is pinned to what it gets.

`ProvisioningRequest`: no pod exists until the nodes do (policy `provisioning`); then it is placed as any other gang.
"""

from __future__ import annotations

from typing import Final

from drumline.api.provisioning import Provisioning, ProvisioningMode
from drumline.api.reasons import ConditionType, Reason
from drumline.core.gang.clock import unix
from drumline.core.gang.types import Refusal
from drumline.core.training import conditions
from drumline.core.training.provisioned import NEED, open_request
from drumline.core.training.view import View

WANT_OF_NODES: Final = frozenset(
    {
        Reason.INSUFFICIENT_ACCELERATORS,
        Reason.NO_FEASIBLE_NODE,
        Reason.TOPOLOGY_UNSATISFIABLE,
        Reason.HEAD_OF_QUEUE_RESERVED,
        Reason.PROVISIONING_UNAVAILABLE,
    }
)


def asked_for(view: View) -> Provisioning | None:
    """How the job asks for nodes; None where it never does."""
    wish = view.spec.scheduling.provisioning
    never = wish is None or wish.mode is ProvisioningMode.NEVER or view.obs.backend.foreign
    return None if never else wish


def asks_by_request(view: View) -> Provisioning | None:
    """How the job asks for nodes by a ProvisioningRequest; None where it does not."""
    wish = asked_for(view)
    return wish if wish is not None and wish.mode is ProvisioningMode.REQUEST else None


def begins_unpinned(view: View) -> bool:
    """Whether the gang, which waits, is now to have its quota without nodes: to begin, or to ask for them."""
    found = view.obs.provisioner
    able = found.served and found.listed and not found.denied
    return _due(view) and (asks_by_request(view) is None or able)


def for_want_of_api(view: View, answer: Refusal) -> Refusal:
    """The refusal of a gang that would ask for nodes, if the cluster knew the kind and let the operator ask by it."""
    if answer.reason not in WANT_OF_NODES or not _due(view) or begins_unpinned(view):
        return answer
    found, what = view.obs.provisioner, f"{NEED.kind} ({NEED.group}/{NEED.version})"
    if found.denied and found.served:
        why = (
            f"the operator has no right to {what}: the chart's value `provisioningRequests.enabled` gives it"
        )
    elif found.served:
        return answer
    else:
        why = f"the cluster does not serve {what}"
    text = f"{answer.message}; nodes can't be asked for, as {why}"
    return Refusal(Reason.PROVISIONING_UNAVAILABLE, text)


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


def _due(view: View) -> bool:
    """Whether the gang has been refused nodes for long enough.

    What was last said of it counts while there is no answer yet, else it would ask in turn for one and the other.
    """
    wish, since, answer = asked_for(view), view.status.refused_since, view.obs.admission
    if wish is None or since is None or view.status.placement is not None or open_request(view.status):
        return False
    known = conditions.find(view.status, ConditionType.QUOTA_RESERVED)
    said = answer.reason if isinstance(answer, Refusal) else known.reason if known is not None else ""
    return said in WANT_OF_NODES and unix(since) + wish.after_seconds <= view.now
