"""A status that stays small, whatever happened to its job: LIMIT bytes of JSON.

The ledger's resume point takes what room the rest leaves, MAX_RESUME at most and LEAST in any case: with less room it
is written with less detail, never with another total (`resume`). Should the rest be larger than that leaves, what
people could also read elsewhere goes, the oldest first: how long the ways back of older attempts took, what was said of
them, then the ends of long messages, and at last which nodes were slow then, but for FEW.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from drumline.api.goodput import MAX_RESUME
from drumline.api.status import AttemptStatus, TrainingJobStatus
from drumline.core.training.attempts import KEPT_WHOLE

LIMIT: Final = 32 * 1024
LEAST: Final = 8 * 1024  # characters for the resume point
FEW: Final = 2
CUT: Final = 128  # characters of a message, once there is no room for more


def within_limit(status: TrainingJobStatus, resume: Callable[[int], str]) -> TrainingJobStatus:
    """The status with its resume point, which `resume` gives in as many characters at most as it is told."""
    for lighter in (_without_old_ways, _without_old_words, _cut_short, _few_slow_nodes):
        if size(status) <= LIMIT - LEAST:
            break
        status = lighter(status)
    if status.goodput is None:
        return status
    room = max(LEAST, min(MAX_RESUME, LIMIT - size(status)))
    return status.model_copy(update={"goodput": status.goodput.model_copy(update={"resume": resume(room)})})


def size(status: TrainingJobStatus) -> int:
    """Bytes of its JSON."""
    return len(json.dumps(status.to_json(), separators=(",", ":"), ensure_ascii=False).encode())


def _without_old_ways(status: TrainingJobStatus) -> TrainingJobStatus:
    return _older(status, lambda a: a.model_copy(update={"recovery": ()}))


def _without_old_words(status: TrainingJobStatus) -> TrainingJobStatus:
    return _older(status, lambda a: a.model_copy(update={"message": None, "last_lines": None}))


def _older(status: TrainingJobStatus, change: Callable[[AttemptStatus], AttemptStatus]) -> TrainingJobStatus:
    older, latest = status.attempts[:-KEPT_WHOLE], status.attempts[-KEPT_WHOLE:]
    return status.model_copy(update={"attempts": (*map(change, older), *latest)})


def _few_slow_nodes(status: TrainingJobStatus) -> TrainingJobStatus:
    return _older(status, lambda a: a.model_copy(update={"slow_nodes": a.slow_nodes[:FEW]}))


def _cut_short(status: TrainingJobStatus) -> TrainingJobStatus:
    """The beginning of what was said, and the end of what containers said."""
    attempts = tuple(
        a.model_copy(
            update={
                "message": (a.message or "")[:CUT] or None,
                "last_lines": (a.last_lines or "")[-CUT:] or None,
            }
        )
        for a in status.attempts
    )
    conditions = tuple(c.model_copy(update={"message": c.message[:CUT]}) for c in status.conditions)
    return status.model_copy(update={"attempts": attempts, "conditions": conditions})
