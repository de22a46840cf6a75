"""A job's goodput for programs: the status as it is, and what views derive from it."""

from __future__ import annotations

from typing import Any, Final

from drumline.api.meta import TRAINING_JOB
from drumline.cli.goodput_view import MS_PER_HOUR, JobView

_DIGITS: Final = 6


def raw(view: JobView) -> dict[str, Any]:
    """JSON-ready. `goodput` is status.goodput without its resume point, which is the operator's business."""
    goodput = view.goodput.to_json()
    goodput.pop("resume", None)
    return {
        "kind": TRAINING_JOB,
        "namespace": view.namespace,
        "name": view.name,
        "phase": view.status.phase,
        "accelerator": view.accelerator,
        "goodput": goodput,
        "derived": _derived(view),
        "attempts": [attempt.to_json() for attempt in view.attempts],
    }


def _derived(view: JobView) -> dict[str, Any]:
    return {
        "accelerators": view.chips,
        "sumOfStatesMs": view.accounted_ms,
        "laneTimeMs": view.goodput.elapsed_ms,
        "balanced": view.accounted_ms == view.goodput.elapsed_ms,
        "heldHours": round(view.goodput.held_ms / MS_PER_HOUR, _DIGITS),
        "badputMs": view.badput_ms,
        "states": [
            {
                "state": row.state,
                "ms": row.ms,
                "restartMs": row.restart_ms,
                "share": round(row.share, _DIGITS),
                "source": row.source,
            }
            for row in view.rows
        ],
        "ratios": {
            ratio.name: float(ratio.value) for ratio in view.goodput.ratios if _is_number(ratio.value)
        },
    }


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
