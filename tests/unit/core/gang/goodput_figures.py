"""A ledger's figures for tests: consistent, from a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drumline.api.goodput import NOT_HELD, Source, State, StepTimes
from drumline.core.gang.ledger.summary import RecentSteps, Summary

STARTED = 1_763_600_400_000  # 2025-11-20T01:00:00Z
UP = frozenset(
    {
        State.DEVICE_INIT,
        State.CHECKPOINT_RESTORE,
        State.COMPILE,
        State.HANG,
        State.CHECKPOINT_SAVE,
        State.DATA_STALL,
        State.EVAL,
        State.STRAGGLER,
        State.PRODUCTIVE,
        State.LOST_PROGRESS,
        State.UNKNOWN,
    }
)


def figures(totals: Mapping[State, int] | None = None, provisional: int = 0, **more: Any) -> Summary:
    """Figures in which elapsed, held and ready time follow from the states; anything may be changed."""
    totals = totals or {}
    elapsed = sum(totals.values()) + provisional
    defaults: dict[str, Any] = {
        "at": STARTED + 3_600_000,
        "started_at": STARTED,
        "ended_at": None,
        "lanes": 4,
        "weight": 8,
        "source": Source.REPORTED,
        "attempt": 1,
        "epoch": 0,
        "current": "productive",
        "elapsed_ms": elapsed,
        "held_ms": elapsed - sum(ms for state, ms in totals.items() if state in NOT_HELD),
        "gang_ready_ms": provisional + sum(ms for state, ms in totals.items() if state in UP),
        "provisional_ms": provisional,
        "totals": totals,
        "restart": {},
        "step": -1,
        "committed_step": -1,
        "lost_steps": 0,
        "tokens": 0,
        "flops": 0,
        "seen_tokens": 0,
        "seen_flops": 0,
        "seen_step_ms": 0,
        "last_progress_at": None,
        "last_checkpoint_at": None,
        "checkpoint_saves": 0,
        "checkpoint_restores": 0,
        "commits": 0,
        "commit_gap_ms": 0,
        "failures": 0,
        "hangs": 0,
        "hanging_since": None,
        "step_times": StepTimes(),
        "recent": RecentSteps(),
        "stragglers": (),
        "timeline": (),
        "attempts": (),
    }
    return Summary(**{**defaults, **more})
