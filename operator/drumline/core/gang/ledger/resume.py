"""The ledger as a short text, to go on from after a restart of the operator."""

from __future__ import annotations

from drumline.core.gang.ledger.ledger import Ledger
from drumline.core.gang.ledger.settings import LedgerSettings


def to_resume(ledger: Ledger) -> str:
    """All of `ledger` but its settings: base64 of zlib of JSON, at most `MAX_RESUME` characters."""
    raise NotImplementedError


def from_resume(text: str, settings: LedgerSettings) -> Ledger:
    """The ledger that `to_resume` wrote down. Raises ValueError when `text` is nothing of the kind."""
    raise NotImplementedError
