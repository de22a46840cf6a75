"""An elastic gang that runs with another number of slices than it should makes way for one that has it.

It should have as many as are wanted, or as there is room for. The running attempt ends

- when a checkpoint has become durable since the other size was due, so that no step is lost; where the job says how,
  one is asked for; or
- where no checkpoint is known at all, when it has run for `regrowSeconds` with all pods ready.

Room that came free counts only once the attempt has run that long in any case, so that nodes that come and go do not
restart a gang over and over, and twice as long after each resize in a row that came to nothing; a change of `spec.slices` counts at once. The size that is due, and since when, stand in
`status.resize`, for a successor.

It is no failure: it costs no budget and no backoff, and the ledger takes what follows for a beginning.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, takewhile
from typing import Final

from drumline.api.elastic import Elastic
from drumline.api.orders import OrderKind
from drumline.api.reasons import ConditionType, Reason
from drumline.api.status import AttemptStatus, OrderStatus, ResizeStatus
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.training.attempts import finished
from drumline.core.training.departing import request
from drumline.core.training.elastic import wanted
from drumline.core.training.requests import ask, awaited, settle
from drumline.core.training.view import View

LOOK_SECONDS: Final = 15.0  # between looks for room, and for a checkpoint that nothing else told of
FRESH_SECONDS: Final = 30.0  # a checkpoint that is older is not worth restarting from: the next one is
MAX_DOUBLINGS: Final = 6
ACTION: Final = "Resize"  # of an attempt that ended so


def resize(view: View) -> View:
    """End the running attempt when the next one is to have another number of slices, at the right moment."""
    elastic, ready_at = view.spec.elastic, _ready_at(view)
    if elastic is None or ready_at is None or not view.live:
        return _nothing_due(view)
    if view.obs.evicted is not None:
        return view  # its nodes are another's soon
    target = _target(view)
    if target == view.shape.slices:
        return _nothing_due(view).again_in(LOOK_SECONDS if wanted(view.obs) > target else None)
    view = _requested(_due(view, target), _earliest(view, elastic))
    wait = _wait(view, _earliest(view, elastic), _settled(view, elastic))
    return view.again_in(wait) if wait > 0 else _ended(view, target)


def _entries(view: View) -> list[AttemptStatus]:
    """Those of the running attempt, the latest first: an epoch of it has one of its own."""
    return [a for a in reversed(view.status.attempts) if a.attempt == view.status.attempt]


def _ready_at(view: View) -> str | None:
    """When its pods were first all ready."""
    return next((a.ready_at for a in _entries(view) if a.ready_at is not None), None)


def _asked_for(view: View) -> bool:
    """Whether `spec.slices` has changed since the attempt began."""
    known = next((a.wanted_slices for a in _entries(view) if a.wanted_slices is not None), None)
    return known is not None and known != wanted(view.obs)


def _target(view: View) -> int:
    """Slices that the gang should have now."""
    now, wish = view.shape.slices, wanted(view.obs)
    return wish if wish <= now else min(wish, max(now, view.obs.room))


def _nothing_due(view: View) -> View:
    if _asked(view) is not None:
        view = settle(view)
    return view if view.status.resize is None else view.with_status(resize=None)


def _due(view: View, target: int) -> View:
    """The view with the resize on record. More room, or less, than at first does not begin the wait again."""
    known, now = view.status.resize, view.shape.slices
    if known is not None and known.slices == target:
        return view
    same_way = known is not None and (known.slices > now) == (target > now)
    since = known.since if known is not None and same_way else rfc3339_millis(view.now)
    view = view.with_status(resize=ResizeStatus(slices=target, since=since))
    text = f"{target} slices instead of {now}: the gang restarts at its next durable checkpoint"
    return view if same_way else view.event("Normal", Reason.RESIZE_PENDING, text)


def _since(view: View) -> float:
    """Since when a resize is due."""
    return unix(view.status.resize.since) if view.status.resize is not None else view.now


def _settled(view: View, elastic: Elastic) -> float:
    """When the attempt has run for long enough; each resize in a row that came to nothing doubles the time."""
    pairs = pairwise(reversed(view.status.attempts))
    in_vain = takewhile(lambda p: p[1].action == ACTION and p[1].slices == p[0].slices, pairs)
    doublings = min(MAX_DOUBLINGS, sum(1 for _ in in_vain))
    return unix(_ready_at(view)) + elastic.regrow_seconds * 2.0**doublings


def _earliest(view: View, elastic: Elastic) -> float:
    """From when on a checkpoint is one to restart from."""
    settled = _settled(view, elastic)
    return _since(view) if _asked_for(view) else max(_since(view), settled)


def _asked(view: View) -> OrderStatus | None:
    """The checkpoint that was asked for on this account and is awaited."""
    order = awaited(view)
    return order if order is not None and _is_ours(order) else None


def _is_ours(order: OrderStatus) -> bool:
    """Whether a request is for a resize: others are for a node that is about to go, or for stacks."""
    return order.kind is OrderKind.CHECKPOINT and order.node is None and order.preempted_by is None


def _requested(view: View, earliest: float) -> View:
    """Ask for a checkpoint where the job says how: once for each resize, and for as long as it may take."""
    how, order, asked = request(view), view.status.order, _asked(view)
    if how is None or view.now < earliest:
        return view
    if asked is not None:
        left = unix(asked.at) + how.grace_seconds - view.now
        return settle(view) if left <= 0 else view.again_in(left)
    known = order is not None and _is_ours(order) and unix(order.at) >= _since(view)
    hangs = view.obs.pulse is not None and view.obs.pulse.hanging  # it would make none
    if known or hangs or awaited(view) is not None:
        return view
    text = f"a checkpoint is asked for by {how.signal.value}: the gang restarts with another number of slices"
    return ask(view, OrderKind.CHECKPOINT, text).event("Normal", Reason.CHECKPOINT_REQUESTED, text)


def _wait(view: View, earliest: float, settled: float) -> float:
    """Seconds until the attempt may end, or to the next look; 0 = now. `settled`: when it has run for long enough."""
    saved = view.obs.checkpoint_at
    if saved is not None and saved > earliest and view.now - saved <= FRESH_SECONDS:
        return 0.0
    if saved is None and _asked(view) is None:
        return max(0.0, settled - view.now)
    return LOOK_SECONDS


def _ended(view: View, target: int) -> View:
    known = view.obs.checkpoint_at is not None
    where = "after a durable checkpoint" if known else "no checkpoint is known"
    text = f"resized from {view.shape.slices} to {target} slices, {where}"
    status = finished(view.status, view.now, message=text, action=ACTION)
    view = settle(replace(view, status=status, status_first=True))
    view = view.with_status(resize=None, next_attempt_at=None, stalled_since=None)
    view = view.condition(ConditionType.RESTARTING, True, Reason.RESIZED, text)
    view = view.condition(ConditionType.PODS_READY, False, Reason.RESIZED, text)
    return view.event("Normal", Reason.RESIZED, text)
