"""Budgets: counters never fall, what is kept is bounded, and a window forgets."""

from hypothesis import given
from hypothesis import strategies as st

from drumline.api.failure import MAX_RECENT, FailurePolicy
from drumline.api.reasons import Cause, Reason
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.failures import INFRASTRUCTURE
from drumline.core.training.budgets import count_restart, overspent, spent
from tests.unit.core.training.jobs import NOW

_CAUSES = sorted(set(Cause) - {Cause.GANG_TIMEOUT})
_BUDGETS = st.lists(
    st.fixed_dictionaries(
        {"cause": st.sampled_from(_CAUSES), "max_restarts": st.integers(0, MAX_RECENT - 1)},
        optional={"window_seconds": st.integers(1, 5000)},
    ),
    max_size=4,
    unique_by=lambda b: b["cause"],
)
_HISTORY = st.lists(st.tuples(st.sampled_from(_CAUSES), st.integers(0, 1000)), max_size=120)


@given(_BUDGETS, _HISTORY)
def test_counters_never_fall_and_are_bounded(budgets, history):
    policy = FailurePolicy(max_restarts=5, budgets=tuple(budgets))
    status, now = TrainingJobStatus(), NOW
    times: dict[Cause, list[int]] = {}
    for cause, seconds in history:
        now += seconds
        before = {r.cause: r.count for r in status.restarts}
        status = count_restart(status, cause, policy, now)
        times.setdefault(cause, []).append(int(now))
        after = {r.cause: r.count for r in status.restarts}
        assert after == {**before, cause.value: before.get(cause.value, 0) + 1}
        assert all(len(r.recent or ()) <= MAX_RECENT for r in status.restarts)
        assert status.restart_count == _counted(times, policy)
        assert (overspent(status, cause, policy, now) is not None) is _expected(times, cause, policy, now)
    assert [r.cause for r in status.restarts] == sorted(c.value for c in times)


def _counted(times, policy):
    own = {b.cause for b in policy.budgets}
    return sum(len(t) for c, t in times.items() if c not in INFRASTRUCTURE and c not in own)


def _expected(times, cause, policy, now):
    budget = policy.budget_of(cause)
    if budget is None:
        return cause not in INFRASTRUCTURE and _counted(times, policy) > policy.max_restarts
    window = budget.window_seconds
    counting = [t for t in times[cause] if window is None or t > now - window]
    return len(counting) > budget.max_restarts


def test_a_window_forgets():
    policy = FailurePolicy(budgets=({"cause": "NodeLost", "max_restarts": 1, "window_seconds": 100},))
    status = count_restart(TrainingJobStatus(), Cause.NODE_LOST, policy, NOW)
    status = count_restart(status, Cause.NODE_LOST, policy, NOW + 99)
    assert overspent(status, Cause.NODE_LOST, policy, NOW + 99)[0] is Reason.BUDGET_SPENT
    assert overspent(status, Cause.NODE_LOST, policy, NOW + 100) is None
    assert spent(status, Cause.NODE_LOST, 100, NOW + 100) == 1
    assert spent(status, Cause.NODE_LOST, None, NOW + 9999) == 2


def test_a_budget_of_its_own_takes_the_place_of_max_restarts():
    policy = FailurePolicy(max_restarts=0, budgets=({"cause": "OutOfMemory", "max_restarts": 2},))
    status = TrainingJobStatus()
    for _ in range(2):
        status = count_restart(status, Cause.OUT_OF_MEMORY, policy, NOW)
        assert overspent(status, Cause.OUT_OF_MEMORY, policy, NOW) is None
    status = count_restart(status, Cause.OUT_OF_MEMORY, policy, NOW)
    reason, text = overspent(status, Cause.OUT_OF_MEMORY, policy, NOW)
    assert reason is Reason.BUDGET_SPENT
    assert text == "2 restarts for OutOfMemory are allowed by spec.failurePolicy.budgets"
    assert status.restart_count == 0
