"""A job's status and lanes, told to its ledger; and the ledger's figures, told to the status.

What happened to attempts is read off the status, so that a ledger which lags behind it (the operator was away,
an answer was lost) is told what it missed; a ledger told twice of the same end or beginning does not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from types import MappingProxyType
from typing import Any, Final

from drumline.api.failure import FailureAction
from drumline.api.goodput import NOT_HELD, GoodputStatus, State
from drumline.api.progress import ProgressSource
from drumline.api.reasons import Cause, ConditionType
from drumline.api.status import AttemptStatus, PhaseTime, TrainingJobStatus
from drumline.api.training import TrainingJobSpec
from drumline.core.gang.clock import unix
from drumline.core.gang.ledger.events import (
    AttemptBegan,
    AttemptEnded,
    Closed,
    Event,
    LanesChanged,
    LanesResized,
)
from drumline.core.gang.ledger.ledger import Ledger, begin
from drumline.core.gang.ledger.settings import LedgerSettings
from drumline.core.gang.ledger.summary import AttemptFigures
from drumline.core.training import conditions
from drumline.core.training.attempts import KEPT_WHOLE
from drumline.core.training.elastic import fitted
from drumline.core.training.lanes import NOTHING_SEEN, Milestone, Seen, lane_changes, look, millis
from drumline.core.training.lanes_spares import spare_histories, spare_lanes
from drumline.core.training.observation import Observation
from drumline.core.training.progress_condition import ProgressReported

MAX_EXIT: Final = 1000  # characters
LAST_WORDS: Final = "; it said: "
NO_EXITS: Final[Mapping[str, str]] = MappingProxyType({})

# An attempt with one of these causes gave its nodes back: what follows is a wait, not a recovery.
_NOT_FAILURES: Final = frozenset({Cause.GANG_TIMEOUT.value})


@dataclass(frozen=True, slots=True)
class KnownLanes:
    """What a ledger was last told of its lanes, and from what."""

    lanes: tuple[Milestone, ...] = ()
    seen: Seen = NOTHING_SEEN

    @property
    def held(self) -> bool:
        """Whether any lane holds accelerators."""
        return any(state not in NOT_HELD for _, state in self.lanes)


NO_LANES: Final = KnownLanes()


def settings_of(spec: TrainingJobSpec) -> LedgerSettings:
    """The rules of attribution that a spec asks for."""
    interval = spec.checkpoint.interval_seconds if spec.checkpoint is not None else None
    return LedgerSettings(
        checkpoint_interval_ms=interval * 1000 if interval is not None else None,
        expects_reports=spec.progress.source is not ProgressSource.NONE,
        hang_floor_ms=spec.failure_policy.hang.floor_seconds * 1000,
        hang_factor=spec.failure_policy.hang.factor,
    )


def new_ledger(obs: Observation) -> Ledger:
    """The ledger of a job that nobody has accounted for yet. ValueError without a valid spec."""
    if obs.spec is None or obs.shape is None:
        raise ValueError("a job without a valid spec has no ledger")
    weight = max(1, obs.shape.chips_per_worker)
    return begin(millis(obs.job.created_at), obs.shape.workers, weight, settings_of(obs.spec))


def lane_news(
    obs: Observation, after: TrainingJobStatus, known: KnownLanes, floor: int, now: float
) -> tuple[tuple[LanesChanged, ...], KnownLanes]:
    """What lanes did, see `lane_changes`, and what is known of them now; nothing for a job without a valid spec.

    `after` is the status as it will be. One that ends the job frees its nodes, which is no change of lanes any
    more: they are then told as of the status before it.
    """
    if obs.spec is None or obs.roster is None:
        return (), known
    status = obs.status if conditions.is_finished(after) else after
    histories, seen = look(fitted(obs, status), status, now, known.seen)
    spares = spare_histories(obs, status, known.lanes[len(histories) :], now)
    changes = lane_changes(known.lanes, [*histories, *spares], floor)
    return changes.events, KnownLanes(changes.lanes, seen)


def resize_news(
    obs: Observation, after: TrainingJobStatus, lanes: int, now: float
) -> tuple[LanesResized, ...]:
    """That the gang has another number of lanes than the `lanes` of its ledger, from its attempt's begin on.

    Lanes that come with an attempt wait for their pods; without one they are as all the others.
    """
    status = obs.status if conditions.is_finished(after) else after
    size = fitted(obs, status).roster
    if obs.spec is None or size is None:
        return ()
    count = size.workers + spare_lanes(obs, status)
    if count == lanes:
        return ()
    held = status.placement is not None and bool(status.attempts)
    lost = bool(obs.spec.spares) and count < lanes  # spares may go at any time
    at = min(now, unix(status.attempts[-1].started_at, now)) if held and not lost else now
    state = State.BINDING if held else State.SUSPENDED if obs.spec.suspend else State.QUEUED
    return (LanesResized(millis(at), count, state),)


def attempt_events(
    status: TrainingJobStatus, ledger: Ledger, ended: tuple[int, int], now: float
) -> list[Event]:
    """What `ledger` has not heard of attempts and their epochs. `ended`: the last one whose end it was told of."""
    events: list[Event] = []
    earlier: list[AttemptStatus] = []
    known = ledger.attempt, ledger.epoch
    for attempt in status.attempts:
        which = attempt.attempt, attempt.epoch
        if which > known:
            began = millis(unix(attempt.started_at, now))
            events.append(AttemptBegan(began, *which, restart=_follows_failure(earlier)))
        if attempt.finished_at is not None and which >= known and which > ended:
            over = millis(unix(attempt.finished_at, now))
            events.append(AttemptEnded(over, which[0], failed=has_failed(attempt), epoch=which[1]))
        earlier.append(attempt)
    return events


def last_ended(status: TrainingJobStatus) -> tuple[int, int]:
    """The last attempt, and epoch of it, that has ended; (0, 0) when none has."""
    return max(((a.attempt, a.epoch) for a in status.attempts if a.finished_at), default=(0, 0))


def closing(status: TrainingJobStatus, now: float) -> list[Event]:
    """The end of the job, when `status` says that it is over."""
    if not conditions.is_finished(status):
        return []
    success = conditions.is_true(status, ConditionType.COMPLETE)
    return [Closed(millis(unix(status.completion_time, now)), success)]


def in_time(events: Iterable[Event]) -> list[Event]:
    """Events in the order of their times; of the same instant in the order given."""
    return sorted(events, key=lambda e: e.at)


def has_failed(attempt: AttemptStatus) -> bool:
    """Whether an attempt ended by a failure; not by a suspension, a success or a requeue."""
    return attempt.cause is not None and attempt.cause not in _NOT_FAILURES


def _follows_failure(earlier: Sequence[AttemptStatus]) -> bool:
    return latest_failure(earlier) is not None


def latest_failure(earlier: Sequence[AttemptStatus]) -> AttemptStatus | None:
    """The failed attempt that the next one after `earlier` is begun for; None when it follows no failure.

    Attempts that timed out on their way are part of the recovery they were begun for.
    """
    latest = next((a for a in reversed(earlier) if a.cause not in _NOT_FAILURES), None)
    return latest if latest is not None and has_failed(latest) else None


def told(
    status: TrainingJobStatus,
    goodput: GoodputStatus,
    figures: Sequence[AttemptFigures],
    reported: ProgressReported | None,
    exits: Mapping[str, str],
    now: float,
) -> TrainingJobStatus:
    """A status with the ledger's figures in it, the attempts' among them, and how steps are known.

    `exits`: by pod, how its process ended, in its own words. Those of the pod that failed first say why; others were
    ended for it.
    """
    known = {(f.attempt, f.epoch): f for f in figures}
    older = max(0, len(status.attempts) - KEPT_WHOLE)  # their messages were cut, last words and all
    attempts = tuple(
        _with_exit(_with_figures(a, known.get((a.attempt, a.epoch))), said.get(a.pod or "", ""))
        for said, a in zip(chain(repeat(NO_EXITS, older), repeat(exits)), status.attempts, strict=False)
    )
    status = status.model_copy(update={"attempts": attempts, "goodput": goodput})
    if reported is None:
        return status
    kind = ConditionType.PROGRESS_REPORTED
    return conditions.set_condition(status, kind, reported.value, reported.reason, reported.message, now)


def _with_figures(attempt: AttemptStatus, figures: AttemptFigures | None) -> AttemptStatus:
    """What the ledger does not know (any more) leaves standing what was written."""
    found: dict[str, Any] = {}
    if figures is not None and figures.lost_steps is not None:
        found["lost_steps"] = figures.lost_steps
    if figures is not None and figures.recovery:
        found["recovery"] = tuple(PhaseTime(phase=p, ms=ms) for p, ms in figures.recovery)
    return attempt.model_copy(update=found) if found else attempt


def _with_exit(attempt: AttemptStatus, text: str) -> AttemptStatus:
    """Of a failure its last words are kept, once."""
    said = attempt.message or ""
    words = text.strip()[-MAX_EXIT:]
    # after a restart in place the pod lived on, and may speak of a later end
    in_place = attempt.action == FailureAction.RESTART_IN_PLACE
    if not words or not has_failed(attempt) or LAST_WORDS in said or in_place:
        return attempt
    return attempt.model_copy(update={"message": f"{said}{LAST_WORDS}{words}"})
