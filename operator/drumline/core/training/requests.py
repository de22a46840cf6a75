"""What the launchers of the running attempt were asked to do once: `status.order`.

It is written down before it is told, so that whoever leads asks once. A request ends when it was carried out, or when
nobody needs it any more, and always with its attempt or epoch; the next one has the next number. One that was made at a
time yet to come was made by a clock that has been put back since: it counts from now, so that nobody waits for longer than
was said.
"""

from __future__ import annotations

from drumline.api.orders import OrderKind
from drumline.api.status import OrderStatus
from drumline.core.gang.clock import SKEW_SECONDS, rfc3339_millis, unix
from drumline.core.training.view import View

MAX_MESSAGE = 1024


def awaited(view: View) -> OrderStatus | None:
    """The request that is outstanding."""
    order = view.status.order
    return order if order is not None and order.ended_at is None else None


def dated(view: View) -> View:
    """The view in which what is outstanding was asked for by the clock as it is now."""
    order = awaited(view)
    if order is None or unix(order.at) - view.now <= SKEW_SECONDS:
        return view
    return view.with_status(order=order.model_copy(update={"at": rfc3339_millis(view.now)}))


def committed_after(view: View, asked: OrderStatus) -> str:
    """Which step became durable that was committed after the request, and how soon; "" = none did yet."""
    since, pulse = unix(asked.at), view.obs.pulse
    if pulse is None or pulse.committed_at < since:
        return ""
    return f"step {pulse.committed} was safe {pulse.committed_at - since:.1f} s after"


def seconds_left(view: View, asked: OrderStatus, limit: float) -> float:
    """Until a request that may take `limit` seconds is over; 0 or less when it is."""
    return unix(asked.at) + limit - view.now


def ask(
    view: View, kind: OrderKind, message: str, node: str | None = None, preempted_by: str | None = None
) -> View:
    """The view with another request, in place of the one before."""
    number = view.status.order.number + 1 if view.status.order is not None else 1
    asked = OrderStatus(
        number=number,
        kind=kind,
        at=rfc3339_millis(view.now),
        message=message[:MAX_MESSAGE],
        node=node,
        preempted_by=preempted_by,
    )
    return view.with_status(order=asked)


def settle(view: View) -> View:
    """The view in which nothing is outstanding."""
    return view.with_status(order=settled(view.status.order, view.now))


def settled(order: OrderStatus | None, now: float) -> OrderStatus | None:
    """The request as one that is over at `now` (Unix seconds)."""
    if order is None or order.ended_at is not None:
        return order
    return order.model_copy(update={"ended_at": rfc3339_millis(now)})
