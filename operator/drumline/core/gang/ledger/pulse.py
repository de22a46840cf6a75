"""What a ledger says of a running gang's steps and checkpoints at one moment, for decisions."""

from __future__ import annotations

from dataclasses import dataclass

from drumline.core.gang.ledger.events import Ticked
from drumline.core.gang.ledger.fold import fold
from drumline.core.gang.ledger.ledger import Ledger
from drumline.core.gang.ledger.silence import silence_ms, under_way


@dataclass(frozen=True, slots=True)
class Pulse:
    """Of the running attempt and epoch. Times are Unix seconds of the operator's clock, durations seconds."""

    step: int = -1  # the latest; -1 = none is known
    hanging: bool = False  # no step ended for longer than one may take, and no phase is under way
    progress_at: float = 0.0  # the end of what was last told of
    silent: float = 0.0  # for so long, of the time that the gang was up, nothing was
    limit: float = 0.0  # beyond which that is a hang
    due: float | None = (
        None  # in so many seconds it is one, if nothing is told; None = by time alone it never is
    )
    heard_at: float = 0.0  # when anything was last heard of the gang, whatever it said; 0 = never
    committed: int = -1  # step of the latest durable checkpoint
    committed_at: float = 0.0  # when this epoch's latest became durable; 0 = none did


def pulse_of(ledger: Ledger, at: int, heard_at: float) -> Pulse | None:
    """The pulse at `at` (Unix ms), as if a `Ticked(at)` had been folded; None while no attempt is under way."""
    if not ledger.running:
        return None
    if ledger.stepped and at > ledger.at:
        ledger = fold(ledger, Ticked(at))
    silent, limit = ledger.up.total().wall, silence_ms(ledger)
    return Pulse(
        step=ledger.step,
        hanging=ledger.hanging,
        progress_at=ledger.frontier / 1000,
        silent=silent / 1000,
        limit=limit / 1000,
        due=_due(ledger, silent, limit),
        heard_at=heard_at,
        committed=ledger.committed,
        committed_at=max(0, ledger.epoch_commit_at) / 1000,
    )


def _due(ledger: Ledger, silent: int, limit: int) -> float | None:
    if ledger.hanging or not (ledger.stepped and ledger.lanes.up) or under_way(ledger) is not None:
        return None
    awake = ledger.settings.late_ms - (ledger.at - ledger.awake_at)
    return max(limit + 1 - silent, awake) / 1000
