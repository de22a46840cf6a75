"""What a step span does: time to states, the rest to a bucket; and from which step a segment went on.

The first step of a segment is held back together with the unreported time before it. When NORMAL further steps
are known, or the segment ends, what it took beyond their median (else that of an earlier segment, else 0) was
compiling; the rest is a step like others.

A step number that was counted already is told of by another reporter, if that one has not told of it before:
it only adds time, to the latest step. Told again by the same one, training went back: what lies between is
lost, what lies before has proven durable, as at a restart.
"""

from __future__ import annotations

from typing import Final

from drumline.core.gang.ledger.account import (
    attribute,
    book,
    lose,
    productive,
    record_lost,
    record_recovery,
    restarting,
    see,
    settle,
    spend,
    take,
)
from drumline.core.gang.ledger.amount import Amount, clamped, shares
from drumline.core.gang.ledger.buckets import Work
from drumline.core.gang.ledger.codes import (
    CHECKPOINT_SAVE,
    COMPILE,
    DATA_STALL,
    EVAL,
    FIRST,
    HANG,
    PRODUCTIVE,
    PROVISIONAL,
    UP,
)
from drumline.core.gang.ledger.ledger import First, Ledger
from drumline.core.gang.ledger.silence import gap, hung, limit_ms
from drumline.core.gang.ledger.steps import PARTS, Piece

NORMAL: Final = 3
FIRST_PARTS: Final = (COMPILE, CHECKPOINT_SAVE, DATA_STALL, EVAL)


def fold_step(ledger: Ledger, piece: Piece, told_before: int) -> None:
    """Steps ended. `told_before`: the latest step that the same reporter told of earlier, -1 = none."""
    if not ledger.stepped:
        go_on_from(ledger, piece.step - piece.steps, known=False)
        _hold_first(ledger, piece)
    elif piece.step <= ledger.step and (piece.again or piece.step > told_before):
        _echo(ledger, piece)
    else:
        if piece.step <= told_before:
            settle_first(ledger)
            ledger.resumed = False
            go_on_from(ledger, piece.step - piece.steps, known=False)
        ahead = piece.step - ledger.step
        _plain(ledger, piece if piece.steps <= ahead else piece.latter(ahead))


def go_on_from(ledger: Ledger, step: int, *, known: bool) -> None:
    """The segment goes on from `step`. `known`: the reporter said so; else its first step shows it."""
    if ledger.resumed:
        return
    ledger.resumed = True
    kept = settle(ledger, step)
    lose(ledger, ledger.buckets.drop())
    if ledger.step >= 0:
        record_lost(ledger, max(0, ledger.step - step))
    if step < ledger.committed or known or kept.ms:
        ledger.committed = step
    ledger.step = step


def _hold_first(ledger: Ledger, piece: Piece) -> None:
    ledger.stepped = True
    amount = take(ledger, piece.end)
    ledger.chart.relabel(UP, amount.shown, FIRST)
    phases = None
    restart = restarting(ledger)
    if ledger.running:
        if ledger.phases is not None:
            phases = tuple(ledger.phases.items())
        ledger.phases, ledger.recovering = None, False
    ledger.first = First(piece, amount, restart, phases)
    see(ledger, piece)


def settle_first(ledger: Ledger) -> None:
    """Split the first step with what is known now of normal ones."""
    first, ledger.first = ledger.first, None
    if first is None:
        return
    piece, amount = first.piece, first.amount
    apart = piece.save + piece.stall + piece.eval
    beyond = amount.wall - apart - piece.steps * ledger.steps.median()
    cuts = clamped((beyond, piece.save, piece.stall, piece.eval), amount.wall)
    *parts, rest = shares(amount, cuts, amount.wall)
    for code, part in zip(FIRST_PARTS, parts, strict=True):
        book(ledger, code, part.ms, restart=first.restart)
        ledger.chart.relabel(FIRST, part.shown, code)
    ledger.chart.relabel(FIRST, rest.shown, PROVISIONAL)
    ledger.seen_step_ms += amount.ms - parts[0].ms
    _keep(ledger, piece, rest)
    if first.phases is not None:
        phases = dict(first.phases)
        for code, part in zip((*FIRST_PARTS, PRODUCTIVE), (*parts, rest), strict=True):
            spend(phases, code, part.wall)
        record_recovery(ledger, phases)


def _keep(ledger: Ledger, piece: Piece, rest: Amount) -> None:
    work = Work(rest.ms, rest.shown, piece.tokens, piece.flops)
    ledger.buckets.add(piece.step - piece.steps, piece.step, work)
    if ledger.committed > piece.step - piece.steps:
        settle(ledger, ledger.committed)


def _echo(ledger: Ledger, piece: Piece) -> None:
    gap(ledger, piece.start, piece.silence)
    amount = take(ledger, piece.end)
    if ledger.first:
        ledger.chart.relabel(UP, amount.shown, FIRST)
        ledger.first = ledger.first._replace(amount=ledger.first.amount.plus(amount))
        return
    ledger.chart.relabel(UP, amount.shown, PROVISIONAL)
    ledger.seen_step_ms += amount.ms
    work = Work(amount.ms, amount.shown)
    if ledger.buckets.buckets:
        ledger.buckets.top_up(work)
    else:
        productive(ledger, work)


def _plain(ledger: Ledger, piece: Piece) -> None:
    gap(ledger, piece.start, piece.silence)
    hang_ms = limit_ms(ledger)
    left = max(0, piece.end - max(piece.start, ledger.frontier))
    amount = take(ledger, piece.end)
    cuts = ledger.steps.split(piece, hang_ms, left, ledger.settings)
    rest = _without_parts(ledger, amount, cuts, left)
    ledger.hanging = False
    ledger.seen_step_ms += amount.ms
    see(ledger, piece)
    ledger.steps.add(piece)
    _keep(ledger, piece, rest)
    if ledger.first and ledger.steps.segment >= NORMAL:
        settle_first(ledger)


def _without_parts(ledger: Ledger, amount: Amount, cuts: list[int], left: int) -> Amount:
    """Settle the parts of a step. The timeline shows all of it as what most of it was."""
    longest = max(cuts)
    if not longest:
        ledger.chart.relabel(UP, amount.shown, PROVISIONAL)
        return amount
    *parts, rest = shares(amount, cuts, left)
    for code, part in zip(PARTS, parts, strict=True):
        book(ledger, code, part.ms, restart=False)
    if parts[PARTS.index(HANG)].ms:
        hung(ledger)
    if longest > left - sum(cuts):
        ledger.chart.relabel(UP, amount.shown, PARTS[cuts.index(longest)])
        return rest._replace(shown=0)
    ledger.chart.relabel(UP, amount.shown, PROVISIONAL)
    return rest._replace(shown=amount.shown)


def fold_phase(ledger: Ledger, code: int, piece: Piece) -> None:
    """A phase ended."""
    gap(ledger, piece.start, piece.silence)
    attribute(ledger, code, take(ledger, piece.end))
    ledger.hanging = False
