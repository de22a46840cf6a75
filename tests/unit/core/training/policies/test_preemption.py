"""Admission wants a gang to leave: a checkpoint is asked for, then its nodes are given back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.orders import OrderKind, ProcessState
from drumline.api.reasons import ConditionType
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.departures import Departure
from drumline.core.gang.ledger.pulse import Pulse
from drumline.core.gang.plan import Plan
from drumline.core.gang.queues import Eviction
from drumline.core.training.decide import decide
from drumline.core.training.observation import Observation, Settings
from drumline.core.training.policies.admission import request_of
from drumline.core.training.view import View
from tests.unit.core.training import crews, elastic_jobs, jobs
from tests.unit.core.training.jobs import NOW
from tests.unit.core.training.policies.test_hang import CONTAINER, LAUNCHER

LATER = NOW + 400
EVICTED = Eviction("ns/urgent", "it is of queue b, whose cohort's quota queue a borrows")
ASKS = {"onRequest": {"signal": "SIGUSR2", "graceSeconds": 60}}
GOES = Departure("node-2", "taint example.com/going")


def running(evicted: Eviction | None = EVICTED, **spec: Any) -> Observation:
    template = {"spec": {"containers": [CONTAINER]}}
    job = jobs.job(jobs.spec(**{"checkpoint": ASKS, "template": template, **spec}), settings=LAUNCHER)
    return replace(jobs.running(job), evicted=evicted, pulse=Pulse(41))


def after(observation: Observation, now: float = LATER) -> tuple[Plan, TrainingJobStatus, Observation]:
    plan = decide(observation, now)
    written = jobs.written(plan)
    status = TrainingJobStatus.model_validate(written) if written is not None else observation.status
    return plan, status, replace(observation, status=status)


def committed(observation: Observation, at: float, step: int = 42) -> Observation:
    return replace(observation, pulse=Pulse(43, committed=step, committed_at=at))


def reasons(plan: Plan) -> list[str]:
    return [e.reason for e in plan.events]


def test_a_checkpoint_is_asked_for_and_it_is_said_for_whom() -> None:
    plan, status, _ = after(running())
    assert status.order is not None
    assert (status.order.number, status.order.kind) == (1, OrderKind.CHECKPOINT)
    assert status.order.preempted_by == "ns/urgent"
    assert plan.orders is not None
    assert (plan.orders.number, plan.orders.kind, plan.orders.signal) == (1, OrderKind.CHECKPOINT, "SIGUSR2")
    assert reasons(plan) == ["CheckpointRequested"]
    assert "Preempted by ns/urgent: it is of queue b, whose" in plan.events[0].message
    assert "after 60 s at the latest" in plan.events[0].message
    assert (status.phase, plan.requeue_after) == ("Running", 5.0)


def test_the_gang_leaves_once_a_checkpoint_is_durable() -> None:
    _, _, observation = after(committed(running(), LATER - 100))
    plan, status, _ = after(observation, LATER + 5)
    assert (reasons(plan), status.attempts[-1].finished_at) == ([], None), "that one is of before"
    plan, status, _ = after(committed(observation, LATER + 7), LATER + 8)
    (ended,) = status.attempts
    assert (ended.cause, ended.action, ended.node, ended.rank) == ("Preempted", "Requeue", None, None)
    assert "by ns/urgent: it is of" in (ended.message or "")
    assert "step 42 was safe 7.0 s after" in (ended.message or "")
    assert (status.placement, status.admitted_at, status.phase) == (None, None, "Queued")
    assert jobs.reason(status, ConditionType.QUOTA_RESERVED) == ("False", "Preempted")
    assert jobs.reason(status, ConditionType.ADMITTED) == ("False", "Preempted")
    assert reasons(plan) == ["Preempted"]
    assert len(plan.actions[0]) == 4, "all pods go"


def test_no_worker_of_a_gang_that_left_counts_as_ready() -> None:
    _, status, observation = after(committed(running(), LATER - 100))
    assert status.workers.ready == 4
    _, status, _ = after(committed(observation, LATER + 4), LATER + 5)
    assert (status.phase, status.workers.ready, status.workers.desired) == ("Queued", 0, 4)


def test_it_costs_no_restart_and_no_delay_and_no_place() -> None:
    policy = {"maxRestarts": 0, "backoff": {"initialSeconds": 10}}
    _, _, observation = after(running(failurePolicy=policy))
    _, status, observation = after(committed(observation, LATER + 7), LATER + 8)
    assert (status.restart_count, status.next_attempt_at) == (0, None)
    assert [(r.cause, r.count) for r in status.restarts] == [("Preempted", 1)]
    assert unix(status.queued_at) == NOW - 5, "when the job was created"
    waits = replace(observation, evicted=None, pods={})
    plan, status, _ = after(waits, LATER + 9)
    assert plan.waiting is not None
    assert plan.waiting.queued_at == NOW - 5
    assert not plan.waiting.excluded
    again = jobs.begun(replace(waits, status=status), LATER + 500)
    assert (again.status.attempt, again.status.queued_at) == (2, None)
    again = replace(again, evicted=EVICTED)
    _, status, _ = after(again, LATER + 900)
    assert unix(status.queued_at) == NOW - 5, "however often"


def test_who_came_back_to_the_queue_for_another_reason_has_the_place_of_then() -> None:
    begun = running(evicted=None)
    status = begun.status.model_copy(
        update={"placement": None, "queued_at": rfc3339_millis(NOW + 50), "joined_at": None}
    )
    again = jobs.begun(replace(begun, status=status, pods={}, placement=None), NOW + 60)
    _, status, _ = after(replace(again, evicted=EVICTED), LATER)
    assert unix(status.queued_at) == NOW + 50


def test_it_leaves_without_a_checkpoint_when_the_grace_is_over() -> None:
    _, _, observation = after(running())
    assert after(observation, LATER + 59)[1].attempts[-1].finished_at is None
    _, status, _ = after(observation, LATER + 60)
    assert status.attempts[-1].cause == "Preempted"
    assert "no checkpoint became durable within 60 s" in (status.attempts[-1].message or "")


@pytest.mark.parametrize(
    ("observation", "why"),
    [
        (replace(running(), settings=Settings()), "no launcher"),
        (running(checkpoint={"intervalSeconds": 600}), "no checkpoint.onRequest"),
        (replace(running(), pulse=Pulse(41, hanging=True, heard_at=LATER)), "it hangs"),
        (replace(jobs.begun(jobs.job(jobs.spec(checkpoint=ASKS))), evicted=EVICTED), "before all"),
    ],
    ids=["no launcher", "no request", "hangs", "not up"],
)
def test_where_nobody_can_be_asked_it_leaves_at_once(observation: Observation, why: str) -> None:
    plan, status, _ = after(observation)
    assert (status.attempts[-1].cause, reasons(plan)) == ("Preempted", ["Preempted"])
    assert why in (status.attempts[-1].message or "")


def test_a_gang_between_two_attempts_gives_its_nodes_back() -> None:
    observation = jobs.with_pod(running(), 1, jobs.failed)
    plan, status, _ = after(observation)
    assert (status.attempts[-1].cause, status.attempts[-1].action) == ("ApplicationExit", "RestartGang")
    assert (status.placement, unix(status.queued_at)) == (None, NOW - 5)
    assert reasons(plan) == ["GangRestarting", "Preempted"]
    assert status.next_attempt_at is not None, "the failure has its delay"
    held = after(replace(observation, evicted=None))[2]
    assert held.status.placement is not None
    _, status, _ = after(replace(held, evicted=EVICTED, pods={}), LATER + 1)
    assert (status.placement, status.restart_count) == (None, 1)


def test_an_epoch_begins_in_one_decision_and_ends_in_the_next() -> None:
    gang = crews.saying(crews.running(checkpoint=ASKS), r2=crews.process(ProcessState.ENDED, code=7))
    _, status, observation = after(replace(gang, evicted=EVICTED))
    assert [(a.epoch, a.cause) for a in status.attempts] == [(0, "ApplicationExit"), (1, None)]
    _, status, _ = after(observation, LATER + 1)
    assert [(a.epoch, a.cause) for a in status.attempts][1:] == [(1, "Preempted")]
    assert "before all of its pods were ready" in (status.attempts[-1].message or "")
    assert status.placement is None


def test_who_is_needed_no_more_stays() -> None:
    _, _, observation = after(running())
    plan, status, _ = after(replace(observation, evicted=None), LATER + 9)
    assert reasons(plan) == ["PreemptionWithdrawn"]
    assert "ns/urgent" in plan.events[0].message
    assert status.order is not None
    assert (status.phase, status.order.ended_at is not None) == ("Running", True)
    plan, status, _ = after(replace(observation, status=status), LATER + 90)
    assert status.order is not None
    assert (reasons(plan), status.order.number) == (["CheckpointRequested"], 2)


def test_a_successor_waits_until_it_knows_who_has_to_leave() -> None:
    _, status, observation = after(running())
    successor = replace(observation, evicted=None, crew_since=LATER + 9)
    plan, kept, _ = after(successor, LATER + 10)
    assert (plan.events, kept.order, plan.requeue_after) == ((), status.order, 59)
    _, kept, named = after(replace(successor, evicted=EVICTED), LATER + 30)
    assert kept.order == status.order
    assert after(named, LATER + 60)[1].attempts[-1].cause == "Preempted", "the grace is not begun anew"
    assert reasons(after(successor, LATER + 69)[0]) == ["PreemptionWithdrawn"]


def test_another_one_for_whom_it_leaves_does_not_begin_the_wait_again() -> None:
    _, status, observation = after(running())
    assert status.order is not None
    other = Eviction("ns/other", "it has a higher priority")
    _, changed, observation = after(replace(observation, evicted=other), LATER + 30)
    assert changed.order is not None
    assert (changed.order.number, changed.order.at) == (1, status.order.at)
    assert changed.order.preempted_by == "ns/other"
    _, status, _ = after(observation, LATER + 60)
    assert "by ns/other: it has a" in (status.attempts[-1].message or "")


def test_a_node_that_goes_meanwhile_changes_nothing_for_the_one_that_waits() -> None:
    _, _, observation = after(running())
    both = replace(observation, departing={"node-2": GOES})
    _, status, observation = after(both, LATER + 5)
    assert status.order is not None
    assert (status.order.node, status.order.preempted_by) == ("node-2", "ns/urgent")
    plan, status, _ = after(committed(observation, LATER + 6), LATER + 7)
    assert (status.attempts[-1].cause, status.placement) == ("Maintenance", None)
    assert reasons(plan)[-1] == "Preempted"
    _, status, _ = after(replace(observation, departing={}), LATER + 8)
    assert status.order is not None
    assert (status.order.node, status.order.ended_at) == (None, None)
    assert status.order.preempted_by == "ns/urgent"
    _, status, _ = after(replace(observation, evicted=None), LATER + 8)
    assert status.order is not None
    assert (status.order.node, status.order.preempted_by) == ("node-2", None)


def test_a_gang_that_leaves_is_not_resized_as_well() -> None:
    elastic = replace(elastic_jobs.running(4, checkpoint=ASKS), settings=LAUNCHER, wanted=2)
    _, due, _ = after(elastic)
    assert due.resize is not None
    assert due.order is not None
    _, status, observation = after(replace(elastic, evicted=EVICTED))
    assert status.order is not None
    assert (status.resize, status.order.preempted_by) == (None, "ns/urgent")
    saved = replace(committed(observation, LATER + 1), checkpoint_at=LATER + 1)
    _, status, _ = after(saved, LATER + 2)
    assert (status.attempts[-1].cause, status.placement) == ("Preempted", None)
    both = replace(elastic, evicted=EVICTED, status=due)
    _, status, _ = after(both, LATER + 3)
    assert status.order is not None
    assert (status.order.number, status.order.preempted_by) == (1, "ns/urgent")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"onCause": ["Preempted"], "action": "Fail"}, "FailedByRule"),
        ({"onCause": ["Preempted"], "action": "RestartGang"}, "Preempted"),
        ({"onRoles": ["workers"], "action": "Fail"}, "Preempted"),
    ],
)
def test_rules_matter_only_if_they_name_the_cause(rule: dict[str, Any], reason: str) -> None:
    policy = {"rules": [{"name": "mine", **rule}]}
    plan, status, _ = after(replace(running(failurePolicy=policy), settings=Settings()))
    assert (reasons(plan), status.placement) == ([reason], None)


def test_a_budget_of_its_own_says_how_often() -> None:
    policy = {"budgets": [{"cause": "Preempted", "maxRestarts": 0}]}
    plan, status, _ = after(replace(running(failurePolicy=policy), settings=Settings()))
    assert (reasons(plan), status.phase) == (["RestartBudgetExceeded"], "Failed")


def test_the_request_of_a_preempted_job_is_as_old_as_its_place() -> None:
    left = after(replace(running(), settings=Settings()))[2]
    assert request_of(View(left, LATER + 1000, left.status)).queued_at == NOW - 5


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(["evicted", "kept", "commit", "nothing"]), st.integers(0, 70)), max_size=8
    )
)
def test_it_leaves_once_and_never_without_need(story: list[tuple[str, int]]) -> None:
    """Each decision may be a successor's first."""
    observation = running(evicted=None)
    now, since, safe_at = LATER, None, 0.0
    for what, seconds in story:
        now += seconds
        if what in ("evicted", "kept"):
            observation = replace(observation, evicted=EVICTED if what == "evicted" else None)
            since = (now if since is None else since) if what == "evicted" else None
        elif what == "commit":
            safe_at = now
            observation = committed(observation, safe_at)
        plan, status, observation = after(observation, now)
        ended = status.attempts[-1].finished_at is not None
        due = since is not None and (safe_at >= since or now >= since + 60)
        assert ended == (due and "Preempted" in reasons(plan)), (what, plan.events)
        assert ended or since is None or now < since + 60
        if ended:
            return
        assert (since is None) == (status.order is None or status.order.ended_at is not None)


def test_a_clock_that_is_put_back_does_not_lengthen_the_wait() -> None:
    _, first, observation = after(running())
    _, status, observation = after(observation, LATER - 4000)
    assert status.order is not None
    assert (status.order.number, status.order.at) == (1, rfc3339_millis(LATER - 4000))
    assert after(observation, LATER - 3941)[1].attempts[-1].finished_at is None
    assert after(observation, LATER - 3940)[1].attempts[-1].cause == "Preempted"
    _, status, _ = after(committed(observation, LATER - 3990), LATER - 3989)
    assert "was safe 10.0 s after" in (status.attempts[-1].message or "")
    _, status, _ = after(after(running())[2], LATER - 20)
    assert status.order == first.order, "clocks of healthy machines differ as much"
