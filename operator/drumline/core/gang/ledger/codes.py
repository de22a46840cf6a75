"""States as small integers, so that an account is a list and a gang's lanes are bytes."""

from __future__ import annotations

from typing import Final

from drumline.api.goodput import NOT_HELD, RECOVERY, State
from drumline.api.report import SpanKind

STATES: Final = tuple(State)
CODE: Final = {state: i for i, state in enumerate(STATES)}
UP: Final = len(STATES)  # a lane that is up; in the timeline: up time that nothing has told of yet
PROVISIONAL: Final = UP + 1  # in the timeline only: steps that are not durable
FIRST: Final = UP + 2  # in the timeline only: a first step that is not split yet
PLACEMENT: Final = (
    -1
)  # of recoveries only: nodes are kept, their pods are gone, and the next attempt has not begun

BINDING: Final = CODE[State.BINDING]
QUEUED: Final = CODE[State.QUEUED]
DRAINING: Final = CODE[State.DRAINING]
COMPILE: Final = CODE[State.COMPILE]
HANG: Final = CODE[State.HANG]
CHECKPOINT_SAVE: Final = CODE[State.CHECKPOINT_SAVE]
CHECKPOINT_RESTORE: Final = CODE[State.CHECKPOINT_RESTORE]
DATA_STALL: Final = CODE[State.DATA_STALL]
EVAL: Final = CODE[State.EVAL]
STRAGGLER: Final = CODE[State.STRAGGLER]
PRODUCTIVE: Final = CODE[State.PRODUCTIVE]
LOST_PROGRESS: Final = CODE[State.LOST_PROGRESS]
IDLE_TAIL: Final = CODE[State.IDLE_TAIL]
SPARE: Final = CODE[State.SPARE]
UNKNOWN: Final = CODE[State.UNKNOWN]

RECOVERY_CODES: Final = frozenset(CODE[s] for s in RECOVERY)
NOT_HELD_CODES: Final = frozenset(CODE[s] for s in NOT_HELD)
PHASES: Final = {
    SpanKind.DEVICE_INIT: CODE[State.DEVICE_INIT],
    SpanKind.CHECKPOINT_RESTORE: CHECKPOINT_RESTORE,
    SpanKind.COMPILE: COMPILE,
    SpanKind.CHECKPOINT_SAVE: CHECKPOINT_SAVE,
    SpanKind.EVAL: EVAL,
    SpanKind.DATA_WAIT: DATA_STALL,
}


def label(code: int) -> str:
    """What the timeline, and a recovery, calls it."""
    if code == PLACEMENT:
        return "placement"
    return str(STATES[code]) if code < UP else "provisional"
