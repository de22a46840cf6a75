"""The steps of a request for nodes as the status, the conditions and the events tell them.

The request's number is written down before it exists, and what it holds of a queue's quota with it: whoever leads then
makes that very request, or finds it there. It is given up in the same way: first the status says so, then it is deleted
(policy `requests`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from drumline.api.candidates import choices, following
from drumline.api.provisioning import Provisioning
from drumline.api.reasons import ConditionType, Reason
from drumline.api.status import ProvisioningPhase, ProvisioningStatus
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.types import Granted
from drumline.core.training.elastic_admission import at_size
from drumline.core.training.fallback import which
from drumline.core.training.provisioned import ended
from drumline.core.training.provisioning_render import rendered_request, request_name
from drumline.core.training.view import View

BASE_SECONDS: Final = 60.0
MAX_SECONDS: Final = 3600.0


def requested(view: View, granted: Granted, wish: Provisioning, policy: str) -> View:
    """The view of a gang that has its quota, and asks for nodes; `view` is at the size that was granted."""
    before = view.status.provisioning
    number = before.number + 1 if before is not None else 1
    asked = ProvisioningStatus(
        request=request_name(view.obs.job.name, number),
        number=number,
        class_name=wish.class_name or "",
        phase=ProvisioningPhase.REQUESTED,
        since=rfc3339_millis(view.now),
        slices=view.shape.slices,
        chips=view.shape.chips,
    )
    view = view.with_status(provisioning=asked, queue=granted.queue or None)
    text = f"{in_words(asked)} asks for the nodes of {view.shape.slices} slices{which(view)}"
    view = view.condition(ConditionType.QUOTA_RESERVED, True, Reason.NODES_REQUESTED, text)
    view = view.clear(ConditionType.ADMITTED, Reason.NODES_REQUESTED, text)
    view = view.event("Normal", Reason.NODES_REQUESTED, text)
    templates, request = rendered_request(view, asked.request, wish)
    return replace(view, intent=view.status, asks=True).act(*templates).act(request).done(policy)


def made_again(view: View, asked: ProvisioningStatus, wish: Provisioning) -> View:
    """The view in which what there should be of the request is created, in the order in which it is needed."""
    templates, request = rendered_request(at_size(view, asked.slices), asked.request, wish)
    return view.act(*templates).act(request)


def provisioned(view: View, asked: ProvisioningStatus) -> View:
    """The view of a gang whose nodes are there, by the request's word."""
    text = f"{in_words(asked)} is provisioned; the gang is placed as soon as its nodes are seen"
    told = {"phase": ProvisioningPhase.PROVISIONED, "since": rfc3339_millis(view.now), "message": None}
    view = view.with_status(provisioning=asked.model_copy(update=told))
    view = view.condition(ConditionType.QUOTA_RESERVED, True, Reason.NODES_PROVISIONED, text)
    return view.event("Normal", Reason.NODES_PROVISIONED, text)


def given_up(view: View, asked: ProvisioningStatus, why: str, policy: str) -> View:
    """The view of a gang to which no nodes came: it asks for the next accelerator, or again after a delay."""
    text, delay = f"{in_words(asked)}: {why}", _delay(view)
    known = ended(view.status, view.now, failed=True, message=text)
    until = rfc3339_millis(view.now + delay) if delay else None
    view = view.with_status(
        provisioning=known, requeues=view.status.requeues + 1, next_attempt_at=until, stalled_since=None
    )
    text += f"; next try in {delay:.0f} s" if delay else "; another accelerator is tried"
    view = view.condition(ConditionType.QUOTA_RESERVED, False, Reason.PROVISIONING_FAILED, text)
    return view.event("Warning", Reason.PROVISIONING_FAILED, text).again_in(delay).done(policy)


def let_go(view: View, why: str, reason: Reason, policy: str) -> View:
    """The view of a gang that may not have its quota any more, though its request did not fail."""
    view = view.with_status(provisioning=ended(view.status, view.now, message=why))
    view = view.condition(ConditionType.QUOTA_RESERVED, False, reason, why)
    return view.event("Normal", reason, why).again_in(0.0).done(policy)


def in_words(asked: ProvisioningStatus) -> str:
    """What a request is called in a sentence."""
    return f"ProvisioningRequest {asked.request} of class {asked.class_name}"


def _delay(view: View) -> float:
    """Seconds until nodes are asked for again: none before another accelerator that was not asked for in this round."""
    if choices(view.spec) > 1 and following(view.spec, view.status.candidate or 0):
        return 0.0
    return float(min(MAX_SECONDS, BASE_SECONDS * 2.0 ** min(view.status.requeues, 10)))
