"""How often a job may fail: one budget for the program, and one for each cause that the policy names.

A restart is counted under its cause for good. Against `maxRestarts` count those whose cause speaks of the program
and has no budget of its own. A budget with a window looks at the restarts of the last seconds only: their times are
kept in the status, at most `MAX_RECENT` of them, which is more than such a budget may allow.
"""

from __future__ import annotations

from drumline.api.failure import MAX_RECENT, FailurePolicy
from drumline.api.reasons import Cause, Reason
from drumline.api.status import JobRestartCount, TrainingJobStatus
from drumline.core.gang.failures import INFRASTRUCTURE


def count_restart(
    status: TrainingJobStatus, cause: Cause, policy: FailurePolicy, now: float
) -> TrainingJobStatus:
    """The status with one more restart of that cause at `now` (Unix seconds)."""
    counts = {r.cause: r for r in status.restarts}
    known = counts.get(cause.value) or JobRestartCount(cause=cause.value, count=0)
    budget = policy.budget_of(cause)
    recent: tuple[int, ...] | None = None
    if budget is not None and budget.window_seconds is not None:
        recent = (*(known.recent or ()), int(now))[-MAX_RECENT:]
    counts[cause.value] = JobRestartCount(cause=cause.value, count=known.count + 1, recent=recent)
    rows = tuple(counts[c] for c in sorted(counts))
    return status.model_copy(
        update={"restarts": rows, "restart_count": status.restart_count + spends(cause, policy)}
    )


def spends(cause: Cause, policy: FailurePolicy) -> bool:
    """Whether a restart for that cause counts against `maxRestarts`."""
    return cause not in INFRASTRUCTURE and policy.budget_of(cause) is None


def overspent(
    status: TrainingJobStatus, cause: Cause, policy: FailurePolicy, now: float
) -> tuple[Reason, str] | None:
    """Which budget the latest restart, which is counted already, went beyond; None when it may be."""
    budget = policy.budget_of(cause)
    if budget is None:
        if status.restart_count <= policy.max_restarts or not spends(cause, policy):
            return None
        text = f"{policy.max_restarts} restarts are allowed by spec.failurePolicy.maxRestarts"
        return Reason.MAX_RESTARTS, text
    used = spent(status, cause, budget.window_seconds, now)
    if used <= budget.max_restarts:
        return None
    window = f" within {budget.window_seconds} s" if budget.window_seconds is not None else ""
    text = (
        f"{budget.max_restarts} restarts for {cause.value}{window} are allowed by spec.failurePolicy.budgets"
    )
    return Reason.BUDGET_SPENT, text


def spent(status: TrainingJobStatus, cause: Cause, window: int | None, now: float) -> int:
    """Restarts for a cause: all of the job's, or those of the last `window` seconds."""
    known = next((r for r in status.restarts if r.cause == cause.value), None)
    if known is None:
        return 0
    return known.count if window is None else sum(1 for at in known.recent or () if at > now - window)
