"""Booking: the only places where totals, records and the timeline's labels change.

Functions here change the ledger they are given, which is a copy that `fold` made.
"""

from __future__ import annotations

from drumline.api.status import MAX_ATTEMPTS
from drumline.core.gang.ledger.amount import NOTHING, Amount
from drumline.core.gang.ledger.buckets import Work
from drumline.core.gang.ledger.chart import ALL
from drumline.core.gang.ledger.codes import (
    BINDING,
    DRAINING,
    LOST_PROGRESS,
    PLACEMENT,
    PRODUCTIVE,
    PROVISIONAL,
    RECOVERY_CODES,
    UNKNOWN,
    UP,
)
from drumline.core.gang.ledger.ledger import Ledger, Phases, Record
from drumline.core.gang.ledger.steps import Piece


def book(ledger: Ledger, code: int, ms: int, *, restart: bool) -> None:
    """`ms` of lanes are settled as `code`. `restart`: after a failure, on the way back."""
    ledger.totals[code] += ms
    if restart and code in RECOVERY_CODES:
        ledger.restart[code] += ms


def restarting(ledger: Ledger) -> bool:
    """Whether what a report tells of now is the price of a restart."""
    return ledger.recovering if ledger.running else ledger.was_recovering


def advance(ledger: Ledger, to: int) -> None:
    """Time passes: what lanes do has a state at once, what those that are up do waits for reports."""
    if ledger.closed_at >= 0 or to <= ledger.at:
        return
    lanes, passed, weight = ledger.lanes, to - ledger.at, ledger.weight
    for code, count in enumerate(lanes.counts[:UP]):
        if count:
            book(ledger, code, count * weight * passed, restart=ledger.recovering)
    ledger.elapsed_ms += len(lanes) * weight * passed
    most = lanes.most() if len(lanes) else UNKNOWN
    if ledger.running:
        if lanes.up:
            shown = passed if most == UP else 0
            ledger.up.add(ledger.at, to, Amount(lanes.up * weight * passed, passed, shown))
            if lanes.ready():
                ledger.ready_ms += len(lanes) * weight * passed
        ledger.chart.append(most, passed, ledger.attempt)
    else:
        # processes of an attempt that is over, until they are gone
        over = DRAINING if ledger.attempt else UNKNOWN
        book(ledger, over, lanes.up * weight * passed, restart=ledger.recovering)
        ledger.chart.append(over if most == UP else most, passed, ledger.attempt)
    _recovery_passes(ledger, passed)
    if passed > ledger.settings.late_ms:
        ledger.awake_at = to
    ledger.at = to


def _recovery_passes(ledger: Ledger, passed: int) -> None:
    lanes = ledger.lanes
    if ledger.phases is None or (ledger.running and lanes.up):
        return
    code = DRAINING if lanes.up else lanes.latest()
    if code == BINDING and not ledger.running:
        code = PLACEMENT
    if code != UP:
        spend(ledger.phases, code, passed)


def spend(phases: Phases, code: int, wall: int) -> None:
    """A recovery took `wall` more in that state."""
    if wall:
        phases[code] = phases.get(code, 0) + wall


def take(ledger: Ledger, until: int) -> Amount:
    """Up time before `until` that nothing has told of; it must be booked then."""
    if until <= ledger.frontier:
        return NOTHING
    ledger.frontier = until
    return ledger.up.take(until)


def attribute(ledger: Ledger, code: int, amount: Amount) -> None:
    """Up time was spent in that state."""
    if not amount.wall:
        return
    book(ledger, code, amount.ms, restart=restarting(ledger))
    ledger.chart.relabel(UP, amount.shown, code)
    if ledger.running and ledger.phases is not None:
        spend(ledger.phases, code, amount.wall)


def productive(ledger: Ledger, work: Work) -> None:
    """Provisional steps are durable."""
    ledger.totals[PRODUCTIVE] += work.ms
    ledger.tokens += work.tokens
    ledger.flops += work.flops
    _chart_settled(ledger, work, PRODUCTIVE)


def lose(ledger: Ledger, work: Work) -> None:
    """Provisional steps are gone."""
    ledger.totals[LOST_PROGRESS] += work.ms
    _chart_settled(ledger, work, LOST_PROGRESS)


def _chart_settled(ledger: Ledger, work: Work, code: int) -> None:
    # merged entries may show more than there is: nothing stays provisional that is not
    shown = ALL if ledger.buckets.empty else work.shown
    ledger.chart.relabel(PROVISIONAL, shown, code)


def settle(ledger: Ledger, step: int) -> Work:
    """Steps up to `step` are durable. What they amount to."""
    work = ledger.buckets.settle(step)
    productive(ledger, work)
    return work


def see(ledger: Ledger, piece: Piece) -> None:
    """Steps were made, whatever becomes of them."""
    ledger.steps.tally(piece)
    ledger.saves += piece.save > 0
    ledger.seen_tokens += piece.tokens
    ledger.seen_flops += piece.flops
    ledger.step, ledger.step_attempt, ledger.step_epoch = piece.step, ledger.attempt, ledger.epoch
    ledger.progress_at = max(ledger.progress_at, piece.end)


def record_lost(ledger: Ledger, steps: int) -> None:
    """So many steps of the epoch that made the latest step are run again."""
    ledger.lost_steps += steps
    if not ledger.step_attempt:
        return
    made = ledger.step_attempt, ledger.step_epoch
    old = ledger.records.get(made, Record())
    _record(ledger, made, old._replace(lost_steps=max(old.lost_steps, 0) + steps))


def record_recovery(ledger: Ledger, phases: Phases) -> None:
    """The running epoch has recovered."""
    running = ledger.attempt, ledger.epoch
    old = ledger.records.get(running, Record())
    _record(ledger, running, old._replace(recovery=tuple(sorted(phases.items()))))


def _record(ledger: Ledger, epoch: tuple[int, int], record: Record) -> None:
    ledger.records[epoch] = record
    while len(ledger.records) > MAX_ATTEMPTS:
        del ledger.records[min(ledger.records)]
