"""The lanes of spares, which stand by from an attempt's begin for as long as they are held.

They follow the workers' lanes. A spare's lane is in state `spare` whatever its pod does: its accelerators are held, and
nothing of what it does is work.
"""

from __future__ import annotations

from collections.abc import Sequence

from drumline.api.goodput import State
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.clock import unix
from drumline.core.training.lanes import History, Milestone, millis
from drumline.core.training.observation import Observation
from drumline.core.training.spares import standing_by


def spare_lanes(obs: Observation, status: TrainingJobStatus) -> int:
    """How many lanes spares have under `status`, which may be one that is still to be written."""
    return sum(len(places) for places in standing_by(obs, status).values())


def spare_histories(
    obs: Observation, status: TrainingJobStatus, before: Sequence[Milestone], now: float
) -> list[History | None]:
    """The milestones of the spares' lanes; None for one that was in state `spare` `before`."""
    started = unix(status.attempts[-1].started_at, now) if status.attempts else now
    since = millis(min(now, started))
    return [
        None if lane < len(before) and before[lane][1] is State.SPARE else ((since, State.SPARE),)
        for lane in range(spare_lanes(obs, status))
    ]
