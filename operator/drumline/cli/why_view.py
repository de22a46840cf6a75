"""What happened to a TrainingJob and what it will do next, from its spec and status. Pure: `now` is an argument."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from drumline.api.failure import FailurePolicy
from drumline.api.orders import OrderKind
from drumline.api.reasons import Cause, ConditionType
from drumline.api.status import AttemptStatus, Condition, OrderStatus, ProvisioningPhase, TrainingJobStatus
from drumline.core.gang.clock import unix
from drumline.core.gang.failures import INFRASTRUCTURE
from drumline.core.training import conditions
from drumline.core.training.accounts import LAST_WORDS
from drumline.core.training.budgets import spent
from drumline.core.training.provisioned import holds_quota

MAX_EVENTS: Final = 5
_ENDS: Final = (
    (ConditionType.FAILED, "nothing: the job has failed; mend what the message says and create it again"),
    (ConditionType.COMPLETE, "nothing: the job has succeeded"),
    (ConditionType.SUSPENDED, "nothing until spec.suspend is false"),
)
_WAITS: Final = (ConditionType.QUOTA_RESERVED, ConditionType.PODS_READY)


class NoStatusError(Exception):
    """The object says nothing that can be told; the message says why."""


@dataclass(frozen=True, slots=True)
class BudgetView:
    """How much of a budget is left now."""

    name: str  # maxRestarts, or a cause
    used: int
    allowed: int | None  # None = without end
    window_seconds: int | None = None

    @property
    def left(self) -> int | None:
        """Restarts that may still be."""
        return None if self.allowed is None else max(0, self.allowed - self.used)


@dataclass(frozen=True, slots=True)
class EventView:
    """An event of the job."""

    at: str
    type: str
    reason: str
    message: str
    count: int


@dataclass(frozen=True, slots=True)
class WhyView:
    """Everything that `why` shows of one job."""

    namespace: str
    name: str
    status: TrainingJobStatus
    verdict: Condition | None  # the condition that says how it stands
    next: str
    budgets: tuple[BudgetView, ...]
    events: tuple[EventView, ...]
    now: float


def why_of(job: Mapping[str, Any], events: Sequence[Mapping[str, Any]], now: float) -> WhyView:
    """The view of a raw job and its raw events at `now` (Unix seconds). NoStatusError without a status."""
    metadata = job.get("metadata") or {}
    namespace, name = metadata.get("namespace") or "default", metadata.get("name") or "?"
    if not job.get("status"):
        raise NoStatusError(
            f"{namespace}/{name} has no status: no operator has looked at it yet, or another controller runs it"
        )
    try:
        status = TrainingJobStatus.model_validate(job["status"])
        policy = FailurePolicy.model_validate((job.get("spec") or {}).get("failurePolicy") or {})
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise NoStatusError(f"{namespace}/{name} can't be read at {where}") from error
    return WhyView(
        namespace=namespace,
        name=name,
        status=status,
        verdict=_verdict(status),
        next=_next(status, now),
        budgets=tuple(_budgets(status, policy, now)),
        events=_latest(events),
        now=now,
    )


def last_lines(attempt: AttemptStatus) -> list[str]:
    """What the first failed container said last."""
    _, _, said = (attempt.message or "").partition(LAST_WORDS)
    return [line.rstrip() for line in (attempt.last_lines or said).splitlines() if line.strip()]


def summary(attempt: AttemptStatus) -> str:
    """The message without what the container said."""
    return (attempt.message or "").partition(LAST_WORDS)[0]


def ran_seconds(attempt: AttemptStatus, now: float) -> int:
    """From its admission to its end, or until now."""
    return max(0, round(unix(attempt.finished_at, now) - unix(attempt.started_at, now)))


def _verdict(status: TrainingJobStatus) -> Condition | None:
    for kind in (
        ConditionType.FAILED,
        ConditionType.COMPLETE,
        ConditionType.SUSPENDED,
        ConditionType.RESTARTING,
    ):
        if conditions.is_true(status, kind):
            return conditions.find(status, kind)
    waits = (conditions.find(status, kind) for kind in _WAITS)
    known = [c for c in waits if c is not None]
    return next((c for c in known if c.status != "True"), known[-1] if known else None)


def _next(status: TrainingJobStatus, now: float) -> str:
    """What the operator will do."""
    for kind, text in _ENDS:
        if conditions.is_true(status, kind):
            return text
    wait = unix(status.next_attempt_at) - now
    live = status.attempts and status.attempts[-1].finished_at is None and status.placement is not None
    if live:
        return _next_of_running(status, wait)
    attempt = f"attempt {status.attempt + 1}"
    if (asked := holds_quota(status)) is not None:
        there = asked.phase is ProvisioningPhase.PROVISIONED
        when = "the nodes are seen that it brought" if there else "it is provisioned"
        return f"ProvisioningRequest {asked.request} asks for its nodes since {asked.since}; {attempt} once {when}"
    if status.next_attempt_at is not None and wait > 0:
        return f"{attempt} at {status.next_attempt_at}, in {wait:.0f} s, {_where(status)}"
    text = f"{attempt} once all of its pods are admitted{_held_up(status)}"
    preempted = bool(status.attempts) and status.attempts[-1].cause == Cause.PREEMPTED
    place = f"; it stands in line as one that joined at {status.queued_at}"
    return f"{text}{place}" if preempted and status.queued_at is not None else text


def _held_up(status: TrainingJobStatus) -> str:
    """What admission last said of a gang that waits, as the end of a sentence; nothing where that is an earlier story."""
    known = conditions.find(status, ConditionType.QUOTA_RESERVED)
    if known is None or known.status != "False" or known.reason in {c.value for c in Cause}:
        return ""
    return f"; admission says: {known.message}"


def _where(status: TrainingJobStatus) -> str:
    if status.placement is None:
        return "once it has nodes"
    backend = status.placement.backend
    return f"when {backend} lets it in" if backend else "on the nodes it holds"


def _next_of_running(status: TrainingJobStatus, wait: float) -> str:
    last = status.attempts[-1]
    if last.epoch and last.ready_at is None:
        when = f"at {status.next_attempt_at}, in {wait:.0f} s, " if wait > 0 else ""
        return f"processes of {last.label} start in their pods {when}once all launchers hold"
    if status.order is not None and status.order.ended_at is None:
        return _asked(status.order)
    if status.resize is not None:
        slices, since = status.resize.slices, status.resize.since
        return f"it restarts with {slices} slices at its next durable checkpoint (due since {since})"
    if conditions.is_true(status, ConditionType.PODS_READY):
        return "nothing is due: it runs"
    return _next_of_starting(status)


def _next_of_starting(status: TrainingJobStatus) -> str:
    if status.stalled_since is not None:
        return f"a pod waits for what is missing since {status.stalled_since}; after a grace the attempt ends"
    backend = status.placement.backend if status.placement is not None else None
    if backend and status.admitted_at is None:
        return f"{backend} lets all of its pods in, or none"
    return "its pods are to be ready"


def _asked(order: OrderStatus) -> str:
    """What the launchers were asked to do once, and what follows."""
    if order.kind is OrderKind.STACKS:
        return (
            f"{order.message}; the launchers were asked for stacks at {order.at}, then the hang is acted upon"
        )
    return f"{order.message} (since {order.at})"


def _budgets(status: TrainingJobStatus, policy: FailurePolicy, now: float) -> Iterator[BudgetView]:
    yield BudgetView("maxRestarts", status.restart_count, policy.max_restarts)
    for budget in policy.budgets:
        used = spent(status, budget.cause, budget.window_seconds, now)
        yield BudgetView(budget.cause.value, used, budget.max_restarts, budget.window_seconds)
    own = {b.cause.value for b in policy.budgets}
    for row in status.restarts:
        if row.cause in INFRASTRUCTURE and row.cause not in own:
            yield BudgetView(Cause(row.cause).value, row.count, None)


def _latest(events: Sequence[Mapping[str, Any]]) -> tuple[EventView, ...]:
    found = [
        EventView(
            at=str(e.get("lastTimestamp") or e.get("eventTime") or e.get("firstTimestamp") or ""),
            type=str(e.get("type") or ""),
            reason=str(e.get("reason") or ""),
            message=str(e.get("message") or ""),
            count=int(e.get("count") or 1),
        )
        for e in events
    ]
    return tuple(sorted(found, key=lambda e: e.at)[-MAX_EVENTS:])
