"""The ledger's figures at an instant: everything `status.goodput` is made of, before any ratio is taken.

Units: `*_ms` of lanes are accelerator-milliseconds (milliseconds of a lane times its weight); those of steps,
recovery and the timeline are wall milliseconds; `*_at` are Unix milliseconds of the operator's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drumline.api.goodput import Source, State, StepTimes, Straggler
from drumline.core.gang.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class RecentSteps:
    """The latest steps together (at most 64; first steps of an attempt left out, for they compile)."""

    count: int = 0
    wall_ms: int = 0
    tokens: int = 0
    flops: int = 0  # model FLOPs of all chips together, as reported; 0 = not reported


@dataclass(frozen=True, slots=True)
class AttemptFigures:
    """What the ledger knows of one attempt, for `AttemptStatus`."""

    attempt: int
    lost_steps: int | None  # run again because it ended; None = not known (yet)
    recovery: tuple[tuple[str, int], ...]  # (state or "total", wall ms); empty: no recovery, or not over yet


@dataclass(frozen=True, slots=True)
class Summary:
    """Raw figures. Σ totals + provisional_ms == elapsed_ms, exactly."""

    at: int
    started_at: int
    ended_at: int | None  # when the job was closed
    lanes: int
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


def summary(ledger: Ledger, at: int) -> Summary:
    """The figures at `at`, as if a `Ticked(at)` had been folded.

    Publish only figures of a ledger in which time up to `at` was folded: a later event may otherwise be
    accounted earlier than what was shown.
    """
    raise NotImplementedError
