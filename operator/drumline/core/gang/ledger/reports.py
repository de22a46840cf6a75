"""A report: who speaks, what of it is new, in order of time."""

from __future__ import annotations

from collections.abc import Mapping

from drumline.api.goodput import MAX_STRAGGLERS
from drumline.api.report import Commit, Report, Span, SpanKind
from drumline.core.gang.ledger.account import settle
from drumline.core.gang.ledger.attempts import new_segment
from drumline.core.gang.ledger.codes import CHECKPOINT_RESTORE, CHECKPOINT_SAVE, PHASES
from drumline.core.gang.ledger.events import Compared, Reported
from drumline.core.gang.ledger.ledger import Ledger
from drumline.core.gang.ledger.reporters import IN_PROCESS, MAX_REPORTERS, Reporter, find
from drumline.core.gang.ledger.stepping import fold_phase, fold_step, go_on_from
from drumline.core.gang.ledger.steps import median_of, spread_of


def is_stale(ledger: Ledger, report: Report) -> bool:
    """Whether `report` speaks of another attempt or epoch than the current one, so that folding ignores it."""
    return (report.attempt, report.epoch) != (ledger.attempt, ledger.epoch)


def durable_ms(ledger: Ledger, report: Report) -> int:
    """What the sender of `report` need not say again once `ledger` is written down: `Receipt.durable_ms`.

    Milliseconds of its own clock; 0 for a reporter that the ledger does not know.
    """
    at = -1 if is_stale(ledger, report) else find(ledger.reporters, report)
    return ledger.reporters[at].position if at >= 0 else 0


def reported(ledger: Ledger, event: Reported) -> None:
    """Fold a report."""
    report = event.report
    if is_stale(ledger, report):
        return
    ledger.reported = ledger.told = True
    reporter = _reporter(ledger, report)
    if reporter is None or reporter.replaced:
        return
    if reporter.hear(report, event.at, ledger.settings.late_ms):
        if report.slow:
            _compare(ledger, report.slow)
        if report.resumed_step is not None:
            go_on_from(ledger, report.resumed_step, known=True)
    commits = iter(report.commits)
    commit = next(commits, None)
    for span in report.spans:
        while commit and commit.at_ms < span.start_ms + span.duration_ms:
            _commit(ledger, reporter, commit)
            commit = next(commits, None)
        _span(ledger, reporter, span)
    while commit:
        _commit(ledger, reporter, commit)
        commit = next(commits, None)


def _reporter(ledger: Ledger, report: Report) -> Reporter | None:
    """The ledger's own copy of the reporter, which may be changed."""
    known, at = ledger.reporters, find(ledger.reporters, report)
    if at >= 0:
        known[at] = known[at].copy()
        return known[at]
    before = [i for i, r in enumerate(known) if r.is_of(report) and not r.replaced]
    for i in before:
        known[i] = known[i].copy()
        known[i].replaced = True
    if len(known) >= MAX_REPORTERS:
        oldest = next((i for i, r in enumerate(known) if r.replaced), -1)
        if oldest < 0:
            return None
        del known[oldest]
    if before and report.source in IN_PROCESS:
        new_segment(ledger)
    known.append(Reporter(report.slice, report.worker, str(report.source), report.origin))
    return known[-1]


def _span(ledger: Ledger, reporter: Reporter, span: Span) -> None:
    told_before = reporter.step
    piece = reporter.new_of(span, ledger.at)
    if piece is None:
        return
    if span.kind is SpanKind.STEP:
        fold_step(ledger, piece, told_before)
        return
    code = PHASES[span.kind]
    ledger.saves += code == CHECKPOINT_SAVE
    ledger.restores += code == CHECKPOINT_RESTORE
    fold_phase(ledger, code, piece)


def _commit(ledger: Ledger, reporter: Reporter, commit: Commit) -> None:
    if not reporter.commit_is_new(commit) or commit.step <= ledger.committed:
        return
    at = min(reporter.anchor + commit.at_ms, ledger.at)
    ledger.committed = commit.step
    settle(ledger, commit.step)
    ledger.commits += 1
    if ledger.epoch_commit_at >= 0:
        ledger.gap_ms += max(0, at - ledger.epoch_commit_at)
        ledger.gaps += 1
    ledger.epoch_commit_at = at
    ledger.checkpoint_at = max(ledger.checkpoint_at, at)


def _compare(ledger: Ledger, medians: dict[str, int]) -> None:
    """Keep the slow ones of these workers, and of those that others told of."""
    ordered = sorted(medians.values())
    limit = median_of(ordered) + ledger.settings.straggler_factor * spread_of(ordered)
    slow = {lane: ms for lane, ms in ledger.stragglers.items() if lane not in medians}
    slow.update((lane[:32], ms) for lane, ms in medians.items() if ms > limit)
    _keep_slowest(ledger, slow)


def compared(ledger: Ledger, event: Compared) -> None:
    """All workers were compared by what each told of itself: that takes the place of what was known."""
    if (event.attempt, event.epoch) == (ledger.attempt, ledger.epoch):
        _keep_slowest(ledger, event.slow)


def _keep_slowest(ledger: Ledger, slow: Mapping[str, int]) -> None:
    slowest = sorted(slow.items(), key=lambda item: (-item[1], item[0]))
    ledger.stragglers = dict(slowest[:MAX_STRAGGLERS])
