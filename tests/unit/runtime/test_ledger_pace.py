"""When the keeper writes a status for its figures alone."""

from __future__ import annotations

import pytest

from drumline.core.gang.plan import Plan
from drumline.runtime import ledger_keeper
from drumline.runtime.ledger_keeper import HELD_SECONDS
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW
from tests.unit.runtime.test_ledger_keeper import running

__all__ = ["running"]


def test_moments_are_spread_over_most_of_a_period() -> None:
    early = [ledger_keeper._early(f"uid-{i}") for i in range(1000)]
    assert all(0 <= part < 0.8 for part in early)
    assert all(70 < sum(a <= part < a + 0.1 for part in early) < 180 for a in (0.0, 0.2, 0.4, 0.6, 0.7))


def test_after_a_status_that_was_due_anyway_a_job_has_its_own_moment(running, monkeypatch) -> None:
    monkeypatch.setattr(ledger_keeper, "_early", lambda _uid: 0.4)
    running.change(lambda p: jobs.failed(p, at=NOW), 1)
    assert running.look(1).intent is not None
    plan = running.look(0.6 * HELD_SECONDS - 1, plan=Plan())
    assert (plan.status, plan.requeue_after) == (None, pytest.approx(1))
    assert running.look(1, plan=Plan()).status is not None
    plan = running.look(HELD_SECONDS - 1, plan=Plan())
    assert (plan.status, plan.requeue_after) == (None, pytest.approx(1)), "from then on every period"
    assert running.look(1, plan=Plan()).status is not None
