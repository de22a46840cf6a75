"""Attempts begin and end, and the job does.

When an attempt ends, its last report may still be on its way. So up time that nothing has told of is settled
only when `late_ms` have passed, a new attempt begins or the job is over; a hang that was noticed is settled at
once, and so is everything where no reports are to come. What is left then was

- the phase that was under way; else
- a hang, if it is longer than one must be; else
- before the first step compiling; else
- in a job that succeeded unknown; else
- steps that nothing told of, the last of them unfinished. They are provisional until it shows from which step
  training goes on: those before that one have proven durable, the rest is lost.

A job that never had a report is estimated: it did work all the time it was up, of which a failure lost the last
half of a checkpoint interval, or all of the attempt's where that is not known.
"""

from __future__ import annotations

from drumline.core.gang.ledger.account import attribute, lose, record_recovery, settle, take
from drumline.core.gang.ledger.amount import Amount
from drumline.core.gang.ledger.buckets import Tail, Work
from drumline.core.gang.ledger.chart import ALL
from drumline.core.gang.ledger.codes import (
    COMPILE,
    HANG,
    LOST_PROGRESS,
    PRODUCTIVE,
    PROVISIONAL,
    UNKNOWN,
    UP,
)
from drumline.core.gang.ledger.events import AttemptBegan, AttemptEnded, Closed
from drumline.core.gang.ledger.ledger import Ledger
from drumline.core.gang.ledger.silence import gap, hung, silence_ms, under_way
from drumline.core.gang.ledger.stepping import settle_first


def began(ledger: Ledger, event: AttemptBegan) -> None:
    """Another attempt, or epoch of it."""
    if (event.attempt, event.epoch) <= (ledger.attempt, ledger.epoch):
        return
    if ledger.running:
        _end(ledger, failed=event.restart)
    finish(ledger, success=False)
    ledger.attempt, ledger.epoch, ledger.running = event.attempt, event.epoch, True
    ledger.reporters, ledger.told, ledger.epoch_commit_at = [], False, -1
    ledger.stragglers = {}
    ledger.recovering = event.restart
    if not event.restart:
        ledger.phases = None
    elif ledger.phases is None:
        ledger.phases = {}
    new_segment(ledger)


def new_segment(ledger: Ledger) -> None:
    """Other processes run from now on."""
    settle_first(ledger)
    ledger.steps.new_segment()
    ledger.stepped = ledger.resumed = ledger.hanging = False


def ended(ledger: Ledger, event: AttemptEnded) -> None:
    """The attempt is over."""
    if not ledger.running or (event.attempt, event.epoch) != (ledger.attempt, ledger.epoch):
        return
    _end(ledger, failed=event.failed)
    hopeless = event.failed and not ledger.reported and not ledger.settings.expects_reports
    if ledger.hanging or hopeless:
        finish(ledger, success=False)


def _end(ledger: Ledger, *, failed: bool) -> None:
    recovered(ledger)
    ledger.running, ledger.ended_at, ledger.was_recovering = False, ledger.at, ledger.recovering
    if failed:
        ledger.failures += 1
        ledger.recovering, ledger.phases = True, {}


def recovered(ledger: Ledger) -> None:
    """Where nothing is reported, a recovery is over as soon as the gang is up."""
    if ledger.reported or ledger.phases is None or not ledger.up.runs:
        return
    record_recovery(ledger, ledger.phases)
    ledger.phases, ledger.recovering = None, False


def pass_on(ledger: Ledger) -> None:
    """Do what time alone brings about."""
    if 0 <= ledger.ended_at <= ledger.at - ledger.settings.late_ms:
        finish(ledger, success=False)
    if ledger.running and not ledger.settings.expects_reports:
        recovered(ledger)


def finish(ledger: Ledger, *, success: bool) -> None:
    """Account for all that an ended attempt left. Nothing, if that was done before."""
    if ledger.ended_at < 0:
        return
    settle_first(ledger)
    if ledger.reported:
        _tail(ledger, success=success)
    else:
        _estimate(ledger, success=success)
    ledger.ended_at, ledger.hanging = -1, False
    ledger.chart.relabel(UP, ALL, UNKNOWN)  # merged entries may show more than there was
    ledger.frontier = ledger.at


def _tail(ledger: Ledger, *, success: bool) -> None:
    reporter = under_way(ledger)
    if reporter is not None:
        gap(ledger, min(reporter.anchor + reporter.open_start, ledger.at), 0)
        attribute(ledger, reporter.open_code, take(ledger, ledger.at))
        return
    amount = take(ledger, ledger.at)
    if ledger.stepped and amount.wall > silence_ms(ledger):
        hung(ledger)
        attribute(ledger, HANG, amount)
    elif ledger.told and ledger.stepped and not success:
        _hold(ledger, amount)
    else:
        attribute(ledger, COMPILE if ledger.told and not ledger.stepped else UNKNOWN, amount)


def _hold(ledger: Ledger, amount: Amount) -> None:
    if amount.wall:
        ledger.chart.relabel(UP, amount.shown, PROVISIONAL)
        work = Work(amount.ms, amount.shown)
        ledger.buckets.hold(Tail(ledger.step, ledger.steps.usual(), amount.wall, work))


def _estimate(ledger: Ledger, *, success: bool) -> None:
    wall, interval = ledger.up.total().wall, ledger.settings.checkpoint_interval_ms
    lost = 0 if success else wall if interval is None else min(wall, interval // 2)
    done = ledger.up.take_wall(wall - lost) if wall > lost else Amount()
    attribute(ledger, PRODUCTIVE, done)
    attribute(ledger, LOST_PROGRESS, take(ledger, ledger.at))


def closed(ledger: Ledger, event: Closed) -> None:
    """The job is over; nothing changes after this."""
    if ledger.running:
        _end(ledger, failed=not event.success)
    finish(ledger, success=event.success)
    if event.success and ledger.buckets.buckets:
        settle(ledger, ledger.buckets.buckets[-1].hi)
    lose(ledger, ledger.buckets.drop())
    ledger.closed_at = ledger.at
