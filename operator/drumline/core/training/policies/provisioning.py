"""A gang that has its quota and no nodes waits for its ProvisioningRequest.

Until an autoscaler says that all nodes are provisioned nothing else is asked for: a gang that began on other nodes a
moment before these came would leave them to nobody. From then on it is placed by admission as any gang, with its place in
the queue, and its quota, which it has already. It is not held to the nodes that came: some classes count free ones of the
cluster in. Nor are they kept for it: until it fits, whoever fits may take them, also from behind it, unless a taint keeps
others out. Nodes may be seen later than the request says; the gang waits as long as the autoscaler books them.

    Failed, BookingExpired, CapacityRevoked, timeoutSeconds, a request that the API server refuses  → given up
    admission wants the quota for others                                                            → let go
"""

from __future__ import annotations

from typing import Final

from drumline.api.provisioning import Provisioning
from drumline.api.reasons import ConditionType, Reason
from drumline.api.status import ProvisioningPhase, ProvisioningStatus
from drumline.core.gang.clock import is_ahead, rfc3339_millis, unix
from drumline.core.training.fallback import which
from drumline.core.training.provisioned import (
    ACCEPTED,
    BOOKING_EXPIRED,
    BOOKING_SECONDS,
    CAPACITY_REVOKED,
    FAILED,
    PROVISIONED,
    Owned,
    holds_quota,
    until_fewer,
)
from drumline.core.training.provisioning import asks_by_request
from drumline.core.training.provisioning_steps import given_up, in_words, let_go, made_again, provisioned
from drumline.core.training.view import View

LOOK_SECONDS: Final = 5.0  # between looks for a request that was made and not seen


def provisioning(view: View) -> View:
    """Bring a request for nodes a step further."""
    asked = holds_quota(view.status)
    if asked is None:
        return view
    wish, policy = asks_by_request(view), provisioning.__name__
    if wish is None:
        return let_go(view, "another backend admits the job now", Reason.QUEUED, policy)
    if view.obs.evicted is not None:
        evicted = view.obs.evicted
        text = f"Preempted by {evicted.by}: {evicted.message}; it waited for nodes, which it asks for again"
        return let_go(view, text, Reason.PREEMPTED, policy)
    view, asked = _dated(view, asked)
    request = view.obs.provisioner.request(asked.request)
    why = _over(view, asked, request, wish)
    if why:
        return given_up(view, asked, why, policy)
    if asked.phase is ProvisioningPhase.REQUESTED and request is not None and request.holds(PROVISIONED):
        return provisioned(view, asked).again_in(0.0).done(policy)
    view = view.again_in(_left(view, asked, wish)).again_in(until_fewer(view.status, view.now) or None)
    return view if asked.phase is ProvisioningPhase.PROVISIONED else _waits(view, asked, request, wish)


def _dated(view: View, asked: ProvisioningStatus) -> tuple[View, ProvisioningStatus]:
    """The phase as one that began by the clock as it is now: one that has been put back makes no wait longer."""
    if not is_ahead(asked.since, view.now):
        return view, asked
    asked = asked.model_copy(update={"since": rfc3339_millis(view.now)})
    return view.with_status(provisioning=asked), asked


def _left(view: View, asked: ProvisioningStatus, wish: Provisioning) -> float:
    """Seconds until the phase has lasted too long."""
    waits = asked.phase is ProvisioningPhase.REQUESTED
    return unix(asked.since) + (wish.timeout_seconds if waits else BOOKING_SECONDS) - view.now


def _over(view: View, asked: ProvisioningStatus, request: Owned | None, wish: Provisioning) -> str:
    """Why nothing comes of the request any more; "" while something may."""
    if view.obs.blocked:
        return f"the API server refuses it: {view.obs.blocked}"
    for kind in (FAILED, CAPACITY_REVOKED, BOOKING_EXPIRED):
        if request is not None and (said := request.holds(kind)) is not None:
            return f"{kind}: {said.text}"
    if _left(view, asked, wish) > 0:
        return ""
    if asked.phase is ProvisioningPhase.PROVISIONED:
        return f"the gang found no place on its nodes within {BOOKING_SECONDS:.0f} s"
    return f"not provisioned within {wish.timeout_seconds} s{_progress(view, request)}"


def _waits(view: View, asked: ProvisioningStatus, request: Owned | None, wish: Provisioning) -> View:
    if request is None and view.obs.provisioner.served:
        view = made_again(view, asked, wish).again_in(LOOK_SECONDS)
    text = f"{in_words(asked)} waits for its nodes{_progress(view, request)}{which(view)}"
    view = view.condition(ConditionType.QUOTA_RESERVED, True, Reason.NODES_REQUESTED, text)
    return view.done(provisioning.__name__)


def _progress(view: View, request: Owned | None) -> str:
    """What the autoscaler says, as the end of a sentence."""
    if not view.obs.provisioner.served:
        return "; the cluster does not serve the kind any more"
    if request is None:
        return "; it is not seen yet"
    said = request.text(PROVISIONED) or request.text(ACCEPTED) or "no autoscaler has accepted it"
    return f": {said}"
