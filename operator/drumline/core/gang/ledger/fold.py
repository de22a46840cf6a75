"""Events into a ledger, one way."""

from __future__ import annotations

from collections.abc import Iterable

from drumline.api.report import Report
from drumline.core.gang.ledger.events import Event
from drumline.core.gang.ledger.ledger import Ledger


def fold(ledger: Ledger, event: Event) -> Ledger:
    """The ledger after `event`; `ledger` itself stays as it is."""
    return fold_all(ledger, (event,))


def fold_all(ledger: Ledger, events: Iterable[Event]) -> Ledger:
    """The ledger after all of `events`, in their order. Cheaper than one at a time."""
    raise NotImplementedError


def is_stale(ledger: Ledger, report: Report) -> bool:
    """Whether `report` speaks of another attempt or epoch than the current one, so that folding ignores it."""
    raise NotImplementedError


def durable_ms(ledger: Ledger, report: Report) -> int:
    """Up to when on its own clock the sender of `report` is in `ledger`: `Receipt.durable_ms`, once `ledger` is
    written down. 0 for a reporter that it does not know.
    """
    raise NotImplementedError
