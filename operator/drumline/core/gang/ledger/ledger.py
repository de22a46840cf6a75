"""The ledger of one job. Fold events into it with `fold.fold`; read it with `summary.summary`."""

from __future__ import annotations

from drumline.core.gang.ledger.settings import LedgerSettings


class Ledger:
    """A value: folding gives a new one. Its parts are the ledger's own business."""

    settings: LedgerSettings
    at: int  # up to when it accounts, Unix ms; never goes back
    attempt: int
    epoch: int


def begin(at: int, lanes: int, weight: int, settings: LedgerSettings) -> Ledger:
    """A job that was created at `at` (Unix ms), its lanes queued. `weight`: accelerators of a lane, ≥ 1."""
    raise NotImplementedError
