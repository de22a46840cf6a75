"""A node that is about to go: a checkpoint is asked for, and the gang moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.orders import OrderKind
from drumline.api.reasons import ConditionType
from drumline.api.status import OrderStatus, TrainingJobStatus
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.departures import Departure
from drumline.core.gang.ledger.pulse import Pulse
from drumline.core.gang.plan import Plan
from drumline.core.gang.types import Refusal
from drumline.core.training.decide import decide
from drumline.core.training.observation import Observation, Settings
from drumline.core.training.policies.admission import request_of
from drumline.core.training.view import View
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW
from tests.unit.core.training.policies.test_hang import CONTAINER, LAUNCHER

LATER = NOW + 400
GOES = Departure("node-2", "taint example.com/going")
ASKS = {"onRequest": {"signal": "SIGUSR2", "graceSeconds": 60}}


def running(*departing: Departure, **checkpoint: Any) -> Observation:
    template = {"spec": {"containers": [CONTAINER]}}
    spec = jobs.spec(checkpoint=checkpoint or ASKS, template=template)
    observation = jobs.running(jobs.job(spec, settings=LAUNCHER))
    return replace(observation, departing={d.node: d for d in departing or (GOES,)}, pulse=Pulse(41))


def after(observation: Observation, now: float = LATER) -> tuple[Plan, TrainingJobStatus, Observation]:
    plan = decide(observation, now)
    written = jobs.written(plan)
    status = TrainingJobStatus.model_validate(written) if written is not None else observation.status
    return plan, status, replace(observation, status=status)


def committed(observation: Observation, at: float, step: int = 42) -> Observation:
    return replace(observation, pulse=Pulse(43, committed=step, committed_at=at))


def reasons(plan: Plan) -> list[str]:
    return [e.reason for e in plan.events]


def test_a_checkpoint_is_asked_for_and_written_down() -> None:
    plan, status, _ = after(running())
    assert status.order is not None
    assert (status.order.number, status.order.kind, status.order.node) == (1, OrderKind.CHECKPOINT, "node-2")
    assert (plan.orders.number, plan.orders.kind, plan.orders.signal) == (1, OrderKind.CHECKPOINT, "SIGUSR2")
    assert reasons(plan) == ["CheckpointRequested"]
    assert "by SIGUSR2" in plan.events[0].message
    assert "after 60 s at the latest" in plan.events[0].message
    assert status.phase == "Running"


def test_the_gang_moves_once_a_checkpoint_is_durable() -> None:
    _, _, observation = after(committed(running(), LATER - 100))
    plan, status, _ = after(observation, LATER + 5)
    assert (reasons(plan), status.attempts[-1].finished_at) == ([], None), "that one is of before"
    plan, status, moved = after(committed(observation, LATER + 7), LATER + 8)
    (ended,) = status.attempts
    assert (ended.cause, ended.action, ended.node, ended.rank) == ("Maintenance", "ReplaceNode", "node-2", 2)
    assert "step 42 was safe 7.0 s after" in ended.message
    assert (status.restart_count, status.placement is not None) == (0, True)
    assert status.order.ended_at is not None
    assert len(plan.actions[0]) == 4, "all pods go"
    waits = replace(moved, pods={})
    plan, status, _ = after(waits, LATER + 60)
    assert "node-2" in plan.waiting.excluded
    assert not {"node-0", "node-1"} & plan.waiting.excluded
    assert plan.waiting.preferred_nodes[0] == "node-0"


def test_it_moves_without_a_checkpoint_when_the_grace_is_over() -> None:
    _, _, observation = after(running())
    assert after(observation, LATER + 59)[1].attempts[-1].finished_at is None
    _, status, _ = after(observation, LATER + 60)
    assert status.attempts[-1].cause == "Maintenance"
    assert "no checkpoint became durable within 60 s" in status.attempts[-1].message


@pytest.mark.parametrize(
    ("departure", "limit"),
    [
        (replace(GOES, notice=30.0), 30),
        (replace(GOES, at=LATER + 20), 20),
        (replace(GOES, at=LATER + 59), 59),
    ],
)
def test_the_grace_is_kept_within_what_the_node_has(departure: Departure, limit: int) -> None:
    plan, _, observation = after(running(departure))
    assert f"after {limit} s at the latest" in plan.events[0].message
    assert after(observation, LATER + limit - 1)[1].attempts[-1].finished_at is None
    assert after(observation, LATER + limit)[1].attempts[-1].cause == "Maintenance"


def test_a_scheduled_time_matters_when_it_comes_near() -> None:
    observation = running(replace(GOES, at=LATER + 100))
    plan = decide(observation, LATER)
    assert (jobs.written(plan), plan.requeue_after) == (None, 40)
    assert reasons(decide(observation, LATER + 40)) == ["CheckpointRequested"]
    assert jobs.written(decide(running(replace(GOES, at=LATER - 4000)), LATER)) is None


def test_without_a_signal_the_next_checkpoint_is_waited_for() -> None:
    plan, status, observation = after(running(intervalSeconds=600))
    assert (reasons(plan), status.order.kind) == (["NodeDeparting"], OrderKind.NONE)
    assert plan.orders.kind is OrderKind.NONE
    assert after(observation, LATER + 4000)[1].attempts[-1].finished_at is None
    _, status, _ = after(committed(observation, LATER + 300), LATER + 301)
    assert (status.attempts[-1].cause, status.attempts[-1].action) == ("Maintenance", "ReplaceNode")


def test_a_node_that_stays_after_all() -> None:
    _, _, observation = after(running())
    plan, status, _ = after(replace(observation, departing={}), LATER + 9)
    assert reasons(plan) == ["NodeStays"]
    assert (status.phase, status.order.ended_at is not None) == ("Running", True)
    plan, status, _ = after(replace(observation, status=status), LATER + 90)
    assert (reasons(plan), status.order.number) == (["CheckpointRequested"], 2)


def test_other_nodes_are_of_no_concern() -> None:
    observation = running(Departure("node-9", "label x"))
    assert jobs.written(decide(observation, LATER)) is None
    done = jobs.with_pod(running(), 2, jobs.succeeded)
    _, status, _ = after(done)
    assert (status.order, status.attempts[-1].finished_at) == (None, None)


def test_a_gang_that_is_not_up_yet_moves_at_once() -> None:
    observation = replace(jobs.begun(jobs.job(jobs.spec(checkpoint=ASKS))), departing={"node-2": GOES})
    _, status, _ = after(observation, NOW + 1)
    assert (status.attempts[-1].cause, status.order) == ("Maintenance", None)


def test_a_gang_that_waits_keeps_away_and_says_so() -> None:
    moved = after(committed(after(running())[2], LATER + 1), LATER + 2)[2]
    refusal = Refusal("InsufficientAccelerators", "needs 4 nodes; 3 free")
    waits = replace(moved, pods={}, admission=refusal)
    for at, kind in ((LATER + 60, ConditionType.RESTARTING), (LATER + 200, ConditionType.QUOTA_RESERVED)):
        _, status, _ = after(waits, at)
        text = next(c for c in status.conditions if c.type == kind).message
        assert "not used: node-2 as long as it has the taint example.com/going" in text
    back = View(replace(waits, departing={}), LATER + 200, status)
    assert "node-2" in request_of(back).if_ever_possible


def test_stacks_that_are_awaited_come_first() -> None:
    _, _, observation = after(running())
    order = observation.status.order.model_copy(update={"kind": OrderKind.STACKS, "node": None})
    status = observation.status.model_copy(update={"order": order})
    hangs = Pulse(41, hanging=True, progress_at=NOW, silent=400.0, limit=300.0, heard_at=LATER)
    observation = replace(observation, status=status, pulse=hangs)
    assert jobs.written(decide(observation, LATER + 5)) is None
    assert after(observation, LATER + 15)[1].attempts[-1].cause == "Hang"


def test_a_checkpoint_that_was_asked_for_already_will_do() -> None:
    _, _, observation = after(running())
    order = observation.status.order.model_copy(update={"node": None})
    status = observation.status.model_copy(update={"order": order})
    plan, status, observation = after(replace(observation, status=status), LATER + 5)
    assert reasons(plan) == ["NodeDeparting"]
    assert (status.order.number, status.order.node, status.order.at) == (1, "node-2", order.at)
    _, status, _ = after(committed(observation, LATER + 6), LATER + 7)
    assert status.attempts[-1].cause == "Maintenance"


def test_without_a_launcher_nobody_can_be_asked() -> None:
    plan, status, _ = after(replace(running(), settings=Settings()))
    assert (reasons(plan), status.order.kind) == (["NodeDeparting"], OrderKind.NONE)


@given(
    st.lists(
        st.tuples(st.sampled_from(["goes", "stays", "commit", "nothing"]), st.integers(0, 70)), max_size=10
    ),
    st.booleans(),
)
def test_it_moves_once_and_never_without_need(story: list[tuple[str, int]], asks: bool) -> None:
    """Each decision may be a successor's first."""
    observation = replace(running() if asks else running(intervalSeconds=600), departing={})
    now, since, safe_at = LATER, None, 0.0
    for what, seconds in story:
        now += seconds
        if what in ("goes", "stays"):
            observation = replace(observation, departing={"node-2": GOES} if what == "goes" else {})
            since = (now if since is None else since) if what == "goes" else None
        elif what == "commit":
            safe_at = now
            observation = committed(observation, safe_at)
        plan, status, observation = after(observation, now)
        ended = status.attempts[-1].finished_at is not None
        due = since is not None and (safe_at >= since or (asks and now >= since + 60))
        assert ended <= due, (what, plan.events)
        if ended:
            return
        assert (since is None) == (status.order is None or status.order.ended_at is not None)


def test_stacks_that_nobody_waits_for_any_more_do_not_hold_it_up() -> None:
    order = OrderStatus(number=1, kind=OrderKind.STACKS, at=rfc3339_millis(LATER - 31))
    observation = running()
    observation = replace(
        observation, status=observation.status.model_copy(update={"order": order}), pulse=None
    )
    plan, status, _ = after(observation)
    assert reasons(plan) == ["CheckpointRequested"]
    assert status.order is not None
    assert (status.order.number, status.order.node) == (2, "node-2")


def test_stacks_and_a_checkpoint_that_is_only_waited_for_do_not_take_turns() -> None:
    """Nothing is heard of the gang, so the stacks stay outstanding: nothing else is asked in their stead."""
    order = OrderStatus(number=1, kind=OrderKind.STACKS, at=rfc3339_millis(LATER - 31))
    observation = running(intervalSeconds=600)
    unheard = Pulse(41, hanging=True, progress_at=NOW, silent=400.0, limit=300.0, heard_at=LATER - 100)
    status = observation.status.model_copy(update={"order": order})
    observation = replace(observation, status=status, pulse=unheard)
    plan = decide(observation, LATER)
    assert (jobs.written(plan), plan.events, plan.requeue_after) == (None, (), 5.0)
    moved = replace(observation, pulse=replace(unheard, committed=42, committed_at=LATER - 1))
    assert after(moved)[1].attempts[-1].cause == "Maintenance"


def test_a_clock_that_is_put_back_does_not_lengthen_the_wait():
    _, first, observation = after(running())
    _, status, observation = after(observation, LATER - 4000)
    assert (status.order.number, status.order.at) == (1, rfc3339_millis(LATER - 4000))
    assert after(observation, LATER - 3941)[1].attempts[-1].finished_at is None
    assert after(observation, LATER - 3940)[1].attempts[-1].cause == "Maintenance"
    _, status, _ = after(committed(observation, LATER - 3990), LATER - 3989)
    assert "was safe 10.0 s after" in (status.attempts[-1].message or "")
    _, status, _ = after(after(running())[2], LATER - 20)
    assert status.order == first.order, "clocks of healthy machines differ as much"
