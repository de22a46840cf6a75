"""A node of the gang is about to go: have a checkpoint saved, then move before it takes its pods with it.

Where the job says how, the program is asked for a checkpoint. The attempt ends, with cause Maintenance, as soon as a
checkpoint is durable that was committed after the request; else when its grace is over or the node goes. Where the job
does not say how, nothing is asked, and the gang moves after the next checkpoint that it makes by itself; if none comes
it is left where it is, since moving it would cost as much as losing the node. A gang that is not up yet moves at once.

The node itself is kept out by its own sign (`departing`), for as long as that stands. Should the sign be taken away, the
gang stays.
"""

from __future__ import annotations

from typing import Final

from drumline.api.orders import OrderKind
from drumline.api.progress import OnRequest
from drumline.api.reasons import Cause, Reason
from drumline.api.status import OrderStatus
from drumline.core.gang.clock import unix
from drumline.core.gang.departures import Departure
from drumline.core.training.departing import departing, next_look
from drumline.core.training.departing import request as asked_how
from drumline.core.training.recovery import Ended, end_attempt
from drumline.core.training.requests import ask, awaited, committed_after, dated, seconds_left, settle
from drumline.core.training.view import View
from drumline.core.training.whereabouts import nodes_of

LOOK_SECONDS: Final = 5.0  # between looks for a checkpoint; reports of one come at once as a rule
STACKS_SECONDS: Final = 30.0  # that stacks may take which are awaited: a hang is dealt with first


def departure(view: View) -> View:
    """Ask for a checkpoint when a node is about to go, and end the attempt when it is there or can't be waited for."""
    if not view.live or view.obs.placement is None:
        return view
    view = dated(view)
    asked, nodes = awaited(view), _nodes(view)
    going = _going(view, nodes, asked)
    if going is None:
        stays = asked is not None and asked.node is not None
        return (_stays(view) if stays else view).again_in(next_look(view, nodes))
    if view.status.attempts[-1].ready_at is None:
        return _move(view, going, "before all of its pods were ready")
    if asked is None:
        return _ask(view, going)
    if asked.kind is OrderKind.STACKS:
        return _after_stacks(view, going, asked)
    return _wait(*_taken_over(view, going, asked))


def _nodes(view: View) -> frozenset[str]:
    """Of the gang's pods that have not succeeded, spares left out; none where no node of the cluster is about to go."""
    if not view.obs.departing:
        return frozenset()
    done = view.succeeded()
    return frozenset(
        node for i, node in enumerate(nodes_of(view.obs)[: view.roster.size]) if node and i not in done
    )


def _going(view: View, nodes: frozenset[str], asked: OrderStatus | None) -> Departure | None:
    """The node that goes first; the one that was asked about while it still goes."""
    found = {name: d for name, d in departing(view).items() if name in nodes} if nodes else {}
    if asked is not None and asked.node in found:
        return found[asked.node]
    return min(found.values(), key=lambda d: (d.at or view.now + (d.notice or 0.0), d.node), default=None)


def _ask(view: View, going: Departure) -> View:
    text, request = f"node {going.node} is about to go ({going.why})", asked_how(view)
    if request is None:
        text = f"{text}; the gang moves after its next checkpoint, if one comes in time"
        view = view.event("Normal", Reason.NODE_DEPARTING, text)
        return ask(view, OrderKind.NONE, text, going.node).again_in(LOOK_SECONDS)
    limit = _limit(view, request, going, view.now)
    text = (
        f"{text}; a checkpoint is asked for by {request.signal.value}, and the gang moves once it is durable, "
        f"after {limit:.0f} s at the latest"
    )
    view = view.event("Normal", Reason.CHECKPOINT_REQUESTED, text)
    return ask(view, OrderKind.CHECKPOINT, text, going.node).again_in(min(limit, LOOK_SECONDS))


def _after_stacks(view: View, going: Departure, asked: OrderStatus) -> View:
    """A hang is dealt with first, if that does not take for ever: it may be that nothing of the gang is heard."""
    left = seconds_left(view, asked, STACKS_SECONDS)
    if left > 0:
        return view.again_in(left)
    return _ask(view, going) if asked_how(view) is not None else _wait(view, going, asked)


def _taken_over(view: View, going: Departure, asked: OrderStatus) -> tuple[View, Departure, OrderStatus]:
    """A checkpoint that was asked for on another account will do for this one."""
    if asked.node is not None:
        return view, going, asked
    text = f"node {going.node} is about to go ({going.why}); the gang moves once the checkpoint that was asked for is durable"
    asked = asked.model_copy(update={"node": going.node, "message": text})
    return view.with_status(order=asked).event("Normal", Reason.NODE_DEPARTING, text), going, asked


def _limit(view: View, request: OnRequest, going: Departure, since: float) -> float:
    """Seconds that a checkpoint asked for at `since` may take."""
    limits = [float(request.grace_seconds)]
    limits += [going.notice] if going.notice is not None else []
    limits += [max(0.0, going.at - since)] if going.at else []
    return min(limits)


def _wait(view: View, going: Departure, asked: OrderStatus) -> View:
    if safe := committed_after(view, asked):
        return _move(view, going, f"{safe} that was known")
    request = asked_how(view)
    if request is None:
        return view.again_in(LOOK_SECONDS)
    limit = _limit(view, request, going, unix(asked.at))
    left = seconds_left(view, asked, limit)
    if left > 0:
        return view.again_in(min(left, LOOK_SECONDS))
    return _move(view, going, f"no checkpoint became durable within {limit:.0f} s")


def _stays(view: View) -> View:
    order = view.status.order
    node = order.node if order is not None else None
    text = f"node {node} is not about to go any more: the gang stays"
    if order is not None and order.preempted_by is not None:  # it leaves all the same
        return view.with_status(order=order.model_copy(update={"node": None}))
    return settle(view).event("Normal", Reason.NODE_STAYS, text)


def _move(view: View, going: Departure, how: str) -> View:
    done = view.succeeded()
    index = next(i for i, node in enumerate(nodes_of(view.obs)) if node == going.node and i not in done)
    text = f"{Cause.MAINTENANCE.value}: node {going.node} is about to go ({going.why}); {how}"
    pod = view.current().get(index)
    ended = Ended(Cause.MAINTENANCE, index, text, pod, lost_node=going.node, leaves=True)
    return end_attempt(settle(view), ended, departure.__name__)
