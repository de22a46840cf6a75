"""Hangs: no phase under way and no progress for longer than any step should take.

The limit is max(floor, factor · median step), and beyond it as many steps as the reporter tells of at once: of a
program that prints every hundredth step ninety-nine are silent. While a hang lasts it is shown, counted once, and its time is not
settled: it begins at the last progress, which is the frontier. It is settled when progress resumes or the
attempt ends. It is not noticed within `late_ms` of a leap in time, by which an operator that was away, or a
clock that was set, shows: reports may still be on their way. Before a segment's first step nothing is a hang, since nothing says how long compiling may take.
"""

from __future__ import annotations

from drumline.core.gang.ledger.account import attribute, take
from drumline.core.gang.ledger.codes import COMPILE, HANG, UNKNOWN
from drumline.core.gang.ledger.ledger import Ledger
from drumline.core.gang.ledger.reporters import Reporter


def limit_ms(ledger: Ledger) -> int:
    """How long a step may take, wall ms."""
    normal = ledger.steps.median()
    if not normal and ledger.first:
        normal = ledger.first.piece.duration
    return max(ledger.settings.hang_floor_ms, ledger.settings.hang_factor * normal)


def silence_ms(ledger: Ledger) -> int:
    """How long nothing may be told of, wall ms, before it is a hang."""
    row = max((r.row for r in ledger.reporters if not r.replaced), default=1)
    return limit_ms(ledger) + (row - 1) * ledger.steps.median()


def under_way(ledger: Ledger) -> Reporter | None:
    """Whose phase is under way, if anyone's is."""
    return next((r for r in ledger.reporters if r.open_code >= 0 and not r.replaced), None)


def watch(ledger: Ledger) -> None:
    """Notice that a hang lasts, or that it was a phase after all."""
    if ledger.hanging:
        ledger.hanging = under_way(ledger) is None
    elif ledger.running and ledger.stepped and ledger.lanes.up:
        awake = ledger.at - ledger.awake_at >= ledger.settings.late_ms
        silent = ledger.up.total().wall > silence_ms(ledger)
        if awake and silent and under_way(ledger) is None:
            ledger.hanging = True
            ledger.hangs += 1


def hung(ledger: Ledger) -> None:
    """Time was settled as a hang. It counts unless it was noticed while it lasted."""
    if not ledger.hanging:
        ledger.hangs += 1
    ledger.hanging = False


def gap(ledger: Ledger, until: int, silence: int) -> None:
    """Nothing tells of up time before `until`. `silence`: so long the reporter's own clock shows nothing.

    Where that is short, the operator's clock was set, and it was no hang.
    """
    amount = take(ledger, until)
    if not ledger.stepped:
        attribute(ledger, COMPILE, amount)
    elif min(amount.wall, silence) > limit_ms(ledger):
        hung(ledger)
        attribute(ledger, HANG, amount)
    else:
        attribute(ledger, UNKNOWN, amount)
