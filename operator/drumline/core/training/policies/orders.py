"""What the launchers of the running attempt are told: the epoch, whether it may start, and what is asked of them.

The first epoch may start at any time: its pods are new, so there is nothing to wait for. A later one may start when
every worker's launcher holds at it, which no launcher says before its process of the epoch before has ended, and the
delay is over. A launcher that runs at it already shows that this was so: so a successor goes on where the leader
before it stopped.
Launchers of an attempt that is over are told so by the runtime.
"""

from __future__ import annotations

from dataclasses import replace

from drumline.api.orders import OrderKind, Orders
from drumline.core.training.attempts import backoff_left
from drumline.core.training.epochs import AT_BARRIER, grace_seconds, not_in
from drumline.core.training.progress_render import launches
from drumline.core.training.rendering import reporting
from drumline.core.training.view import View


def orders(view: View) -> View:
    """Say what launchers shall do, if the job has any."""
    if not view.live or not launches(view.spec, reporting(view.obs.settings)):
        return view
    go, wait = _go(view)
    told = Orders(epoch=view.status.epoch, go=go, grace_seconds=grace_seconds(view.spec))
    return replace(view, orders=_with_request(view, told)).again_in(wait)


def _go(view: View) -> tuple[bool, float | None]:
    """Whether processes of the epoch may start, and in how many seconds they may if nothing else is in the way."""
    if not view.status.epoch:
        return True, None
    wait = backoff_left(view.status, view.now)
    if wait > 0:
        return False, wait
    return not not_in(view, AT_BARRIER), None


def _with_request(view: View, told: Orders) -> Orders:
    """The orders with what is to be done once."""
    asked = view.status.order
    if asked is None or asked.ended_at is not None:
        return told
    request = view.spec.checkpoint.on_request if view.spec.checkpoint is not None else None
    signal = request.signal if request is not None and asked.kind is OrderKind.CHECKPOINT else ""
    return told.model_copy(update={"number": asked.number, "kind": asked.kind, "signal": signal})
