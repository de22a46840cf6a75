"""The life of attempts in the status: begin, end, back off.

The delay before attempt n+1 is ``initial · 2^(k-1)`` seconds, at most ``max``, where k counts the latest
attempts, or epochs of them, in a row that failed before they had run stably, which is for ``resetAfterSeconds`` since all of their pods
were ready: a gang that did starts over with the initial delay. The formula is that of Kubernetes' Jobs (10 s doubling to 10 min by default). Only the last
attempts are kept: when each of them failed early, so did those before them, as far as anybody knows.
"""

from __future__ import annotations

from dataclasses import replace

from drumline.api.failure import JobBackoff
from drumline.api.orders import ProcessState
from drumline.api.reasons import ConditionType, Reason
from drumline.api.status import AttemptStatus, TrainingJobStatus
from drumline.core.gang.clock import SKEW_SECONDS, rfc3339_millis, unix
from drumline.core.training.provisioned import ended
from drumline.core.training.requests import settled
from drumline.core.training.view import View, deletions

KEPT_ATTEMPTS = 10
KEPT_WHOLE = 4  # of these, the latest; of those before them less is said, so that the status stays small
SHORT = 128  # characters, to which their texts are cut
MAX_DOUBLINGS = 20  # 2^20 s are more than any maxSeconds


def begun(status: TrainingJobStatus, now: float) -> TrainingJobStatus:
    """The status with the next attempt in it."""
    number = status.attempt + 1
    record = AttemptStatus(attempt=number, started_at=rfc3339_millis(now))
    return status.model_copy(
        update={
            "attempt": number,
            "epoch": 0,
            "order": None,
            "attempts": _kept((*status.attempts, record)),
            "succeeded": None,
            "created_helpers": (),
            "stalled_since": None,
            "queued_at": None,
            "joined_at": status.queued_at or status.joined_at,
            "next_attempt_at": None,
            "start_time": status.start_time or rfc3339_millis(now),
            "admitted_at": status.admitted_at or rfc3339_millis(now),
        }
    )


def begun_in_place(status: TrainingJobStatus, now: float) -> TrainingJobStatus:
    """The status with the next epoch of the attempt in it; the one before has ended in `status`."""
    epoch, last = status.epoch + 1, status.attempts[-1]
    record = AttemptStatus(
        attempt=status.attempt,
        epoch=epoch,
        started_at=rfc3339_millis(now),
        slices=last.slices,
        wanted_slices=last.wanted_slices,
    )
    return status.model_copy(update={"epoch": epoch, "attempts": _kept((*status.attempts, record))})


def _kept(attempts: tuple[AttemptStatus, ...]) -> tuple[AttemptStatus, ...]:
    """The attempts that are kept, the older ones with the beginning of what was said, and the end of their logs."""
    older, latest = attempts[-KEPT_ATTEMPTS:-KEPT_WHOLE], attempts[-KEPT_WHOLE:]
    return (*map(_shortened, older), *latest)


def _shortened(attempt: AttemptStatus) -> AttemptStatus:
    message, lines = attempt.message or "", attempt.last_lines or ""
    if len(message) <= SHORT and len(lines) <= SHORT:
        return attempt
    return attempt.model_copy(
        update={"message": message[:SHORT] or None, "last_lines": lines[-SHORT:] or None}
    )


def finished(status: TrainingJobStatus, now: float, **details: object) -> TrainingJobStatus:
    """The status with the running attempt ended; unchanged when none runs."""
    if not status.attempts or status.attempts[-1].finished_at is not None:
        return status
    last = status.attempts[-1].model_copy(update={"finished_at": rfc3339_millis(now), **details})
    order = settled(status.order, now)
    return status.model_copy(update={"attempts": (*status.attempts[:-1], last), "order": order})


def released(status: TrainingJobStatus, now: float) -> TrainingJobStatus:
    """The status with no placement: its nodes are free for others, and asked for no more. Admitted time is added up."""
    seconds = status.admitted_seconds
    if status.admitted_at is not None:
        seconds += max(0, round(now - unix(status.admitted_at, now)))
    return status.model_copy(
        update={
            "placement": None,
            "provisioning": ended(status, now),
            "slices": None,
            "resize": None,
            "admitted_at": None,
            "joined_at": None,
            "admitted_seconds": seconds,
        }
    )


def admitted_for(status: TrainingJobStatus, now: float) -> float:
    """Seconds of admitted time so far."""
    running = max(0.0, now - unix(status.admitted_at, now)) if status.admitted_at else 0.0
    return status.admitted_seconds + running


def restart_delay(status: TrainingJobStatus, backoff: JobBackoff) -> float:
    """Seconds to wait before the next attempt; the failed one is already ended in `status`."""
    doublings = min(MAX_DOUBLINGS, max(0, _failures_in_a_row(status, backoff) - 1))
    return float(min(backoff.max_seconds, backoff.initial_seconds * 2**doublings))


def backoff_left(status: TrainingJobStatus, now: float) -> float:
    """Seconds until the next attempt may begin; 0 or less when it may.

    The delay counts from the end of the last attempt. An end that is yet to come was written by a clock that has
    been put back since, or that of a replica that was wrong: nobody waits until that clock's time has come.
    """
    ended = next((unix(a.finished_at) for a in reversed(status.attempts) if a.finished_at), 0.0)
    return 0.0 if ended - now > SKEW_SECONDS else unix(status.next_attempt_at) - now


def ran_stably(attempt: AttemptStatus, backoff: JobBackoff, until: float) -> bool:
    """Whether an attempt that ended, or goes on, at `until` (Unix seconds) had run well for long enough."""
    return attempt.ready_at is not None and until - unix(attempt.ready_at) >= backoff.reset_after_seconds


def _failures_in_a_row(status: TrainingJobStatus, backoff: JobBackoff) -> int:
    failures = 0
    for attempt in reversed(status.attempts):
        stable = ran_stably(attempt, backoff, unix(attempt.finished_at))
        if attempt.cause is None or (failures and stable):
            return failures
        failures += 1
        if stable:
            return failures
    return max(failures, status.attempt)


def fail(view: View, reason: Reason, message: str, policy: str) -> View:
    """End the job as Failed: pods that still run are deleted, those that ended stay for their logs.

    The first failed pod, if its process has ended behind its launcher, is left to end as the process did.
    """
    status = released(finished(view.status, view.now, message=message[:512]), view.now)
    view = replace(view, status=status, status_first=True, intent=None, prepare=(), actions=())
    view = view.with_status(completion_time=rfc3339_millis(view.now), queued_at=None, next_attempt_at=None)
    view = view.condition(ConditionType.FAILED, True, reason, message)
    for kind in (ConditionType.QUOTA_RESERVED, ConditionType.ADMITTED, ConditionType.PODS_READY):
        view = view.clear(kind, reason, message)
    view = view.clear(ConditionType.RESTARTING, reason, message)
    view = view.event("Warning", reason, message)
    kept = over_in_pod(view)
    running = [p for p in view.obs.pods.values() if not p.terminal and p.name != kept]
    return view.act(*deletions(running)).done(policy)


def over_in_pod(view: View) -> str:
    """Name of the pod that failed first, if it lives on only because its launcher waits with a process that has ended."""
    last = view.status.attempts[-1] if view.status.attempts else None
    process = view.obs.crew.get(last.rank) if last is not None and last.rank is not None else None
    waits = process is not None and process.state is ProcessState.ENDED
    return last.pod or "" if last is not None and waits else ""
