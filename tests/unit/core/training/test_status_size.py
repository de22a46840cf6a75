"""The largest status there can be is still small, and none loses anything for nothing."""

from __future__ import annotations

from random import Random

from drumline.api.goodput import MAX_RESUME, MAX_STRAGGLERS, GoodputStatus, State, StateTime, Straggler
from drumline.api.status import (
    AttemptStatus,
    Condition,
    DetectionTime,
    ExcludedNode,
    OrderStatus,
    PhaseTime,
    PlacementStatus,
    TrainingJobStatus,
)
from drumline.core.gang.clock import rfc3339, rfc3339_millis
from drumline.core.gang.ledger.resume import from_resume, to_resume
from drumline.core.gang.ledger.summary import MAX_PHASES, summary
from drumline.core.training import bitmap
from drumline.core.training.attempts import KEPT_ATTEMPTS, begun, finished
from drumline.core.training.exclusions import MAX_EXCLUDED, MAX_SLOW
from drumline.core.training.status_size import LEAST, LIMIT, size, within_limit
from tests.unit.core.gang.ledger.test_properties import _busy
from tests.unit.core.training.jobs import NOW

AT = rfc3339_millis(NOW)
NODE = "gke-training-cluster-a3-megagpu-pool-1a2b3c4d-"


def _attempts() -> TrainingJobStatus:
    """Ten failed attempts of which as much is known as can be."""
    details = {
        "cause": "ApplicationExit",
        "pod": "a-job-with-a-long-name-10-123-7",
        "rank": 9999,
        "node": f"{NODE}0000",
        "message": "m" * 1600,
        "last_lines": "é" * 512,
        "slow_nodes": tuple(f"{NODE}{n:04}" for n in range(MAX_SLOW)),
        "detection": DetectionTime(ms=1_234_567, source="estimated"),
        "recovery": (PhaseTime(phase="checkpoint_restore", ms=1_234_567),) * MAX_PHASES,
    }
    status = TrainingJobStatus()
    for _ in range(20):
        status = finished(begun(status, NOW), NOW, **details)
    return status


def _worst() -> TrainingJobStatus:
    kinds = (
        "Suspended",
        "QuotaReserved",
        "Admitted",
        "PodsReady",
        "Restarting",
        "ProgressReported",
        "Failed",
    )
    excluded = (
        ExcludedNode(name=f"{NODE}{n:04}", until=AT, cause="ApplicationExit") for n in range(MAX_EXCLUDED)
    )
    goodput = GoodputStatus(
        at=AT,
        started_at=AT,
        states=tuple(StateTime(state=s.value, ms=10**14, restart_ms=10**14) for s in State),
        stragglers=tuple(Straggler(lane=f"99-{n}", median_ms=10**9, since=AT) for n in range(MAX_STRAGGLERS)),
        timeline=_busy_figures.timeline,
    )
    return _attempts().model_copy(
        update={
            "conditions": tuple(
                Condition(
                    type=k, status="False", reason="Restarting", message="c" * 1024, last_transition_time=AT
                )
                for k in kinds
            ),
            "excluded_nodes": tuple(excluded),
            "succeeded": bitmap.encode(frozenset(Random(1).sample(range(10_000), 5_000))),
            "order": OrderStatus(number=1, kind="Stacks", at=AT, message="o" * 256, node=NODE),
            "placement": PlacementStatus(revision="r" * 63, hash="h" * 16, pods=10_000, chunks=40),
            "goodput": goodput,
        }
    )


_busy_ledger = _busy(10_000).ledger
_busy_figures = summary(_busy_ledger, _busy_ledger.at)


def test_the_largest_status_is_within_the_limit_and_keeps_the_account() -> None:
    worst = _worst()
    assert size(worst) > LIMIT - LEAST
    status = within_limit(worst, lambda room: to_resume(_busy_ledger, room))
    assert size(status) <= LIMIT
    assert [a.attempt for a in status.attempts] == [a.attempt for a in worst.attempts]
    assert status.attempts[0].slow_nodes, "they still count"
    assert status.attempts[-1].recovery == worst.attempts[-1].recovery
    assert status.goodput is not None
    again = from_resume(status.goodput.resume, _busy_ledger.settings)
    assert summary(again, again.at).totals == _busy_figures.totals


def test_a_large_ledger_alone_loses_nothing() -> None:
    goodput = GoodputStatus(at=AT, started_at=AT)
    status = TrainingJobStatus(goodput=goodput)
    rooms: list[int] = []
    full = within_limit(status, lambda room: rooms.append(room) or to_resume(_busy_ledger, room))  # type: ignore[func-returns-value]
    assert rooms == [MAX_RESUME]
    assert full.goodput is not None
    assert full.goodput.resume == to_resume(_busy_ledger)


def test_without_an_account_a_status_is_cut_too() -> None:
    worst = _worst().model_copy(update={"goodput": None})
    assert size(within_limit(worst, lambda room: "")) <= LIMIT


def test_a_status_of_usual_size_is_left_alone() -> None:
    attempt = AttemptStatus(attempt=1, started_at=rfc3339(NOW), message="m" * 500)
    status = TrainingJobStatus(attempt=1, attempts=(attempt,))
    assert within_limit(status, lambda room: "") == status
    assert len(_attempts().attempts) == KEPT_ATTEMPTS
