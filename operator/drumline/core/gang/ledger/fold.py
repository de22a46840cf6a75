"""Events into a ledger, one way."""

from __future__ import annotations

from collections.abc import Iterable

from drumline.core.gang.ledger import attempts
from drumline.core.gang.ledger.account import advance
from drumline.core.gang.ledger.events import (
    AttemptBegan,
    AttemptEnded,
    Closed,
    Compared,
    Event,
    LanesChanged,
    LanesResized,
    Reported,
)
from drumline.core.gang.ledger.ledger import Ledger
from drumline.core.gang.ledger.reports import compared, durable_ms, is_stale, reported
from drumline.core.gang.ledger.silence import watch

__all__ = ["durable_ms", "fold", "fold_all", "is_stale"]


def fold(ledger: Ledger, event: Event) -> Ledger:
    """The ledger after `event`; `ledger` itself stays as it is."""
    return fold_all(ledger, (event,))


def fold_all(ledger: Ledger, events: Iterable[Event]) -> Ledger:
    """The ledger after all of `events`, in their order. Cheaper than one at a time."""
    if ledger.closed_at >= 0:
        return ledger
    after = ledger.copy()
    for event in events:
        if after.closed_at >= 0:
            break
        advance(after, event.at)
        attempts.pass_on(after)
        _happen(after, event)
        watch(after)
    return after


def _happen(ledger: Ledger, event: Event) -> None:
    match event:
        case LanesChanged():
            ledger.lanes.set(event.states)
        case LanesResized():
            ledger.lanes.resize(event.lanes, event.state)
        case AttemptBegan():
            attempts.began(ledger, event)
        case AttemptEnded():
            attempts.ended(ledger, event)
        case Reported():
            reported(ledger, event)
        case Compared():
            compared(ledger, event)
        case Closed():
            attempts.closed(ledger, event)
        case _:
            pass  # time passed, and that was all
