"""The ledger's figures at an instant: everything `status.goodput` is made of, before any ratio is taken.

Units: `*_ms` of lanes are accelerator-milliseconds (milliseconds of a lane times its weight); those of steps,
recovery and the timeline are wall milliseconds; `*_at` are Unix milliseconds of the operator's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from drumline.api.goodput import Source, State, StepTimes, Straggler
from drumline.core.gang.ledger.codes import (
    LOST_PROGRESS,
    NOT_HELD_CODES,
    PRODUCTIVE,
    SPARE,
    STATES,
    UNKNOWN,
    UP,
    label,
)
from drumline.core.gang.ledger.events import Ticked
from drumline.core.gang.ledger.fold import fold
from drumline.core.gang.ledger.ledger import Ledger, Record
from drumline.core.gang.ledger.silence import under_way
from drumline.core.gang.ledger.steps import Steps, mad_of, median_of

MAX_PHASES: Final = 16  # of `AttemptStatus.recovery`, the total among them


@dataclass(frozen=True, slots=True)
class RecentSteps:
    """The latest steps together (at most 64; first steps of an attempt left out, for they compile)."""

    count: int = 0
    wall_ms: int = 0
    tokens: int = 0
    flops: int = 0  # model FLOPs of all chips together, as reported; 0 = not reported


@dataclass(frozen=True, slots=True)
class AttemptFigures:
    """What the ledger knows of one epoch of an attempt, for `AttemptStatus`."""

    attempt: int
    lost_steps: int | None  # run again because it ended; None = not known (yet)
    recovery: tuple[tuple[str, int], ...]  # (state or "total", wall ms); empty: no recovery, or not over yet
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """Raw figures. Σ totals + provisional_ms == elapsed_ms, exactly."""

    at: int
    started_at: int
    ended_at: int | None  # when the job was closed
    lanes: int  # of spares, too
    weight: int  # accelerators of one lane
    source: Source
    attempt: int
    epoch: int
    current: str  # what most lanes do now: a State's value or "provisional"
    elapsed_ms: int
    held_ms: int  # never falls
    gang_ready_ms: int  # every lane ready, times all lanes; never falls
    provisional_ms: int  # done but not durable, and up time that nothing has told of yet
    totals: Mapping[State, int]  # settled time, non-zero states only; no entry ever falls
    restart: Mapping[State, int]  # the part of `totals` that restarts cost
    step: int  # latest, -1 = none
    committed_step: int  # latest covered by a durable checkpoint, -1 = none
    lost_steps: int
    tokens: int  # of settled productive steps
    flops: int  # of settled productive steps
    seen_tokens: int  # of all steps, lost ones and provisional ones too
    seen_flops: int
    seen_step_ms: int  # accelerator-ms within steps, whatever they were split into
    last_progress_at: int | None  # end of the latest step
    last_checkpoint_at: int | None
    checkpoint_saves: int
    checkpoint_restores: int
    commits: int  # checkpoints that became durable
    commit_gap_ms: int  # wall time between two commits of one attempt, on average; 0 = fewer than two
    failures: int  # attempts that ended by a failure
    hangs: int
    hanging_since: int | None  # a hang lasts, since the last progress
    step_times: StepTimes
    recent: RecentSteps
    stragglers: tuple[Straggler, ...]  # slowest first
    timeline: tuple[str, ...]  # as `GoodputStatus.timeline`
    attempts: tuple[AttemptFigures, ...]  # the latest ten at most, oldest first
    spares: int = 0  # lanes that stand by


def summary(ledger: Ledger, at: int) -> Summary:
    """The figures at `at`, as if a `Ticked(at)` had been folded.

    Publish only figures of a ledger in which time up to `at` was folded: a later event may otherwise be
    accounted earlier than what was shown.
    """
    if at > ledger.at:
        ledger = fold(ledger, Ticked(at))
    totals = ledger.totals
    return Summary(
        at=ledger.at,
        started_at=ledger.started_at,
        ended_at=_known(ledger.closed_at),
        lanes=len(ledger.lanes),
        weight=ledger.weight,
        source=_source(ledger),
        attempt=ledger.attempt,
        epoch=ledger.epoch,
        current=_current(ledger),
        elapsed_ms=ledger.elapsed_ms,
        held_ms=ledger.elapsed_ms - sum(totals[c] for c in NOT_HELD_CODES),
        gang_ready_ms=ledger.ready_ms,
        provisional_ms=ledger.provisional_ms(),
        totals=_by_state(totals),
        restart=_by_state(ledger.restart),
        step=ledger.step,
        committed_step=ledger.committed,
        lost_steps=ledger.lost_steps,
        tokens=ledger.tokens,
        flops=ledger.flops,
        seen_tokens=ledger.seen_tokens,
        seen_flops=ledger.seen_flops,
        seen_step_ms=ledger.seen_step_ms,
        last_progress_at=_known(ledger.progress_at),
        last_checkpoint_at=_known(ledger.checkpoint_at),
        checkpoint_saves=ledger.saves,
        checkpoint_restores=ledger.restores,
        commits=ledger.commits,
        commit_gap_ms=ledger.gap_ms // ledger.gaps if ledger.gaps else 0,
        failures=ledger.failures,
        hangs=ledger.hangs,
        hanging_since=ledger.frontier if ledger.hanging else None,
        step_times=_step_times(ledger.steps),
        recent=_recent(ledger.steps),
        stragglers=tuple(Straggler(lane=lane, median_ms=ms) for lane, ms in ledger.stragglers.items()),
        timeline=ledger.chart.texts(),
        attempts=tuple(_figures(*epoch, ledger.records[epoch]) for epoch in sorted(ledger.records)),
        spares=ledger.lanes.counts[SPARE],
    )


def _known(value: int) -> int | None:
    return value if value >= 0 else None


def _by_state(totals: list[int]) -> Mapping[State, int]:
    return {STATES[code]: ms for code, ms in enumerate(totals) if ms}


def _source(ledger: Ledger) -> Source:
    if ledger.reported:
        return Source.REPORTED
    guessed = ledger.totals[PRODUCTIVE] or ledger.totals[LOST_PROGRESS] or ledger.up.runs
    return Source.ESTIMATED if guessed else Source.OBSERVED


def _current(ledger: Ledger) -> str:
    code = ledger.lanes.most() if len(ledger.lanes) else UNKNOWN
    if code != UP:
        return label(code)
    if not ledger.running:
        return State.DRAINING
    if ledger.hanging:
        return State.HANG
    reporter = under_way(ledger)
    if reporter is not None:
        return label(reporter.open_code)
    return State.COMPILE if ledger.told and not ledger.stepped else label(UP)


def _step_times(steps: Steps) -> StepTimes:
    ordered = sorted(ms for ms, _, _ in steps.recent)
    return StepTimes(
        count=steps.count,
        sum_ms=steps.sum_ms,
        median_ms=median_of(ordered),
        mad_ms=mad_of(ordered),
        p90_ms=_rank(ordered, 90),
        p99_ms=_rank(ordered, 99),
        buckets=tuple(steps.histogram),
    )


def _rank(ordered: list[int], percent: int) -> int:
    """Percentile by nearest rank."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else 0


def _recent(steps: Steps) -> RecentSteps:
    if not steps.recent:
        return RecentSteps()
    wall, tokens, flops = map(sum, zip(*steps.recent, strict=True))
    return RecentSteps(len(steps.recent), wall, tokens, flops)


def _figures(attempt: int, epoch: int, record: Record) -> AttemptFigures:
    """Longest phase first. Of more than `AttemptStatus` holds the shortest are `unknown` together."""
    longest = sorted(record.recovery, key=lambda phase: -phase[1])
    phases: dict[str, int] = {}
    for i, (code, ms) in enumerate(longest):
        name = label(code) if i < MAX_PHASES - 2 else str(State.UNKNOWN)
        phases[name] = phases.get(name, 0) + ms
    if phases:
        phases["total"] = sum(phases.values())
    lost = record.lost_steps if record.lost_steps >= 0 else None
    return AttemptFigures(attempt, lost, tuple(phases.items()), epoch)
