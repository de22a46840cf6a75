"""A gang that makes no steps any more: what is asked, what is said, and what is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.orders import OrderKind, ProcessState
from drumline.api.reasons import ConditionType
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.crew import Process
from drumline.core.gang.departures import Departure
from drumline.core.gang.ledger.pulse import Pulse
from drumline.core.gang.plan import Plan
from drumline.core.training.decide import decide
from drumline.core.training.observation import Observation, Settings
from tests.unit.core.gang.test_stacks import READS, REDUCES
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

LATER = NOW + 400
SILENT = Pulse(41, hanging=True, progress_at=NOW + 50, silent=350.0, limit=300.0, heard_at=LATER - 5)
WELL = replace(SILENT, hanging=False, silent=1.0, due=299.0)
LAUNCHER = Settings(report_url="https://x", launcher_image="img")
CONTAINER = {"name": "train", "image": "img", "command": ["python3", "train.py"]}


def running(pulse: Pulse | None = SILENT, *, launcher: bool = True, **policy: Any) -> Observation:
    spec = jobs.spec(
        template={"spec": {"containers": [CONTAINER]}},
        failurePolicy={"backoff": {"initialSeconds": 10}, **policy},
    )
    settings = LAUNCHER if launcher else Settings()
    return replace(jobs.running(jobs.job(spec, settings=settings)), pulse=pulse)


def after(observation: Observation, now: float = LATER) -> tuple[Plan, TrainingJobStatus, Observation]:
    plan = decide(observation, now)
    written = jobs.written(plan)
    status = TrainingJobStatus.model_validate(written) if written is not None else observation.status
    return plan, status, replace(observation, status=status)


def asked(**more: Any) -> Observation:
    return after(running(**more))[2]


def answering(observation: Observation, answers: dict[int, str], number: int = 1) -> Observation:
    crew = {
        i: Process(0, ProcessState.RUNNING, f"o{i}", NOW, seen=number, stacks=text)
        for i, text in answers.items()
    }
    return replace(observation, crew=crew)


def reasons(plan: Plan) -> list[str]:
    return [e.reason for e in plan.events]


def test_stacks_are_asked_for_first_and_written_down() -> None:
    plan, status, _ = after(running())
    assert status.order is not None
    assert (status.order.number, status.order.kind, status.order.ended_at) == (1, OrderKind.STACKS, None)
    assert "no step has ended for 350 s, since step 41" in status.order.message
    assert (plan.orders.number, plan.orders.kind) == (1, OrderKind.STACKS)
    assert reasons(plan) == []
    assert plan.requeue_after == 15
    assert status.phase == "Running"


def test_when_all_have_answered_the_one_that_is_elsewhere_is_blamed() -> None:
    observation = answering(asked(), {0: REDUCES, 1: REDUCES, 2: REDUCES, 3: READS})
    plan, status, _ = after(observation, LATER + 1)
    assert reasons(plan) == ["HangDetected", "GangRestarting"]
    where = "ranks 0-2 in train.py:57 allreduce; rank 3 in data.py:12 read"
    assert where in plan.events[0].message
    assert plan.events[0].type == "Warning"
    (ended,) = status.attempts
    assert (ended.cause, ended.rank, ended.node, ended.pod) == ("Hang", 3, "node-3", "job-1-1-1")
    assert where in ended.message
    assert ended.last_lines == "socket.py:706 readinto\ndata.py:12 read"
    assert (ended.action, status.restart_count) == ("RestartGang", 1)
    assert status.order.ended_at is not None


def test_it_waits_for_answers_and_not_for_ever() -> None:
    observation = answering(asked(), {0: REDUCES, 1: REDUCES, 2: REDUCES})
    plan, status, _ = after(observation, LATER + 5)
    assert (plan.requeue_after, status.attempts[-1].finished_at) == (10, None)
    plan, status, _ = after(observation, LATER + 15)
    assert "rank 3 does not answer" in plan.events[0].message
    assert (status.attempts[-1].cause, status.attempts[-1].rank) == ("Hang", 3)


def test_a_successor_gives_launchers_their_time_again() -> None:
    observation = replace(answering(asked(), {2: READS}), crew_since=LATER + 20)
    assert decide(observation, LATER + 21).requeue_after == 14
    assert after(observation, LATER + 35)[1].attempts[-1].cause == "Hang"


def test_an_old_answer_is_none() -> None:
    observation = answering(asked(), dict.fromkeys(range(4), READS), number=0)
    assert decide(observation, LATER + 1).requeue_after == 14


def test_where_nobody_is_elsewhere_nobody_is_blamed() -> None:
    plan, status, _ = after(answering(asked(), dict.fromkeys(range(4), READS)), LATER + 1)
    (ended,) = status.attempts
    assert (ended.cause, ended.rank, ended.node, ended.pod) == ("Hang", None, None, None)
    assert status.excluded_nodes == ()
    assert "ranks 0-3 in data.py:12 read" in plan.events[0].message


def test_without_a_launcher_it_is_ended_at_once() -> None:
    plan, status, _ = after(running(launcher=False))
    assert reasons(plan) == ["HangDetected", "GangRestarting"]
    assert "no launcher runs" in status.attempts[-1].message
    assert (status.attempts[-1].cause, status.attempts[-1].rank) == ("Hang", None)


@pytest.mark.parametrize("launcher", [True, False])
def test_silence_of_which_nothing_gets_through_is_no_proof(launcher: bool) -> None:
    observation = after(running(replace(SILENT, heard_at=LATER - 61), launcher=launcher))[2]
    plan, status, _ = after(observation, LATER + 20)
    assert (reasons(plan), status.attempts[-1].finished_at) == ([], None)
    assert plan.requeue_after == 15
    heard = replace(observation, pulse=replace(SILENT, heard_at=LATER + 30))
    assert after(heard, LATER + 35)[1].attempts[-1].cause == "Hang"


def test_when_steps_go_on_nothing_is_done() -> None:
    plan, status, observation = after(replace(asked(), pulse=WELL), LATER + 2)
    assert reasons(plan) == ["HangOver"]
    assert (status.phase, status.order.ended_at) == ("Running", rfc3339_millis(LATER + 2))
    assert plan.orders.kind is OrderKind.NONE
    again, status, _ = after(replace(observation, pulse=replace(SILENT, progress_at=LATER + 2)), LATER + 400)
    assert (status.order.number, again.orders.number) == (2, 2)


@pytest.mark.parametrize("launcher", [True, False])
def test_a_hang_may_only_be_reported(launcher: bool) -> None:
    observation = running(launcher=launcher, hang={"action": "Report"})
    if launcher:
        observation = answering(after(observation)[2], dict.fromkeys(range(4), READS))
    plan, status, observation = after(observation, LATER + 1)
    assert (reasons(plan), status.phase) == (["HangDetected"], "Running")
    assert status.attempts[-1].finished_at is None
    assert jobs.written(decide(observation, LATER + 60)) is None, "it is told once"
    goes_on = replace(observation, pulse=replace(WELL, progress_at=LATER + 70))
    assert reasons(after(goes_on, LATER + 71)[0]) == []


def test_it_may_be_left_alone() -> None:
    observation = running(hang={"action": "Ignore"})
    assert jobs.written(decide(observation, LATER)) is None
    assert jobs.written(decide(running(None), LATER)) is None


def test_a_gang_of_which_a_rank_is_done_does_not_hang() -> None:
    observation = jobs.with_pod(running(), 2, jobs.succeeded)
    _, status, _ = after(observation)
    assert (status.order, status.attempts[-1].finished_at) == (None, None)


def test_it_looks_again_when_a_hang_is_due() -> None:
    assert decide(running(replace(WELL, due=17.0)), LATER).requeue_after == 17


def test_each_hang_in_a_row_has_to_last_twice_as_long() -> None:
    observation = running()
    for _ in range(5):
        last = observation.status.attempts[-1].model_copy(update={"cause": "Hang", "finished_at": "x"})
        live = last.model_copy(update={"attempt": last.attempt + 1, "cause": None, "finished_at": None})
        status = observation.status.model_copy(
            update={"attempts": (*observation.status.attempts[:-1], last, live)}
        )
        observation = replace(observation, status=status)
        hangs = len(status.attempts) - 1
        limit = 300.0 * 2 ** min(hangs, 3)
        waits = replace(observation, pulse=replace(SILENT, silent=limit - 7.0))
        assert decide(waits, LATER).requeue_after == 7.0
        ends = replace(observation, pulse=replace(SILENT, silent=limit + 1.0))
        assert after(ends)[1].order is not None


def test_rules_and_budgets_say_what_follows() -> None:
    rule = {"rules": [{"name": "give-up", "action": "Fail", "onCause": ["Hang"]}]}
    observation = answering(asked(**rule), dict.fromkeys(range(4), READS))
    _, status, _ = after(observation, LATER + 1)
    assert jobs.reason(status, ConditionType.FAILED) == ("True", "FailedByRule")
    budget = {"budgets": [{"cause": "Hang", "maxRestarts": 0}]}
    observation = answering(asked(**budget), dict.fromkeys(range(4), READS))
    _, status, _ = after(observation, LATER + 1)
    assert jobs.reason(status, ConditionType.FAILED) == ("True", "RestartBudgetExceeded")


def test_a_checkpoint_that_is_asked_for_comes_first() -> None:
    observation = asked()
    order = observation.status.order.model_copy(update={"kind": OrderKind.CHECKPOINT, "node": "node-0"})
    observation = replace(observation, status=observation.status.model_copy(update={"order": order}))
    stays = decide(observation, LATER + 60)  # the node is not about to go, so the request ends first
    assert reasons(stays) == ["NodeStays"]


def test_a_new_attempt_is_asked_for_nothing() -> None:
    _, status, observation = after(answering(asked(), dict.fromkeys(range(4), READS)), LATER + 1)
    again = jobs.begun_again(replace(observation, pods={}, pulse=None, crew={}), LATER + 60)
    assert again.status.attempt == 2
    assert again.status.order is None
    assert status.order is not None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["answer", "steps", "silence", "wait", "restart"]),
            st.integers(0, 3),
            st.sampled_from([0.0, 1.0, 14.0, 16.0]),
        ),
        max_size=12,
    )
)
def test_whatever_happens_it_is_told_once_and_asked_once(story: list[tuple[str, int, float]]) -> None:
    """The operator has no memory: each decision may be a successor's first. Launchers' answers are levels."""
    observation, now, events, progress_at = running(), LATER, [], NOW + 50
    answers: dict[int, str] = {}
    for what, rank, seconds in story:
        now += seconds + 0.01
        number = observation.status.order.number if observation.status.order is not None else 0
        if what == "answer" and number:
            answers[rank] = READS if rank else REDUCES
        elif what == "restart":
            answers = {}
        progress_at = now if what == "steps" else progress_at
        pulse = replace(WELL if what == "steps" else SILENT, heard_at=now, progress_at=progress_at)
        observation = answering(replace(observation, pulse=pulse), answers, number)
        plan, status, observation = after(observation, now)
        events += reasons(plan)
        if status.attempts[-1].finished_at is not None:
            break
        order = status.order
        assert order is None or plan.requeue_after is not None
    assert events.count("HangDetected") == (observation.status.attempts[-1].cause == "Hang")
    assert events.count("HangOver") <= (observation.status.order.number if observation.status.order else 0)


def test_stacks_are_not_awaited_any_more_once_a_rank_is_done() -> None:
    _, status, _ = after(jobs.with_pod(asked(), 0, jobs.succeeded), LATER + 1)
    assert status.order is not None
    assert status.order.ended_at is not None


def test_a_gang_that_hangs_makes_no_checkpoint_to_move_after() -> None:
    """A node is about to go, and nobody can be asked for a checkpoint: the hang is still one."""
    goes = {"node-2": Departure("node-2", "taint example.com/going")}
    plan, status, observation = after(replace(running(WELL), departing=goes))
    assert status.order is not None
    assert status.order.kind is OrderKind.NONE
    plan, status, observation = after(replace(observation, pulse=SILENT), LATER + 1)
    assert (plan.orders.kind, plan.orders.number) == (OrderKind.STACKS, 2)
    answers = answering(observation, {0: REDUCES, 1: REDUCES, 2: REDUCES, 3: READS}, number=2)
    plan, status, _ = after(answers, LATER + 2)
    assert reasons(plan) == ["HangDetected", "GangRestarting"]
    assert status.attempts[-1].cause == "Hang"


def test_an_epoch_that_begins_is_not_judged_by_the_silence_before_it() -> None:
    observation = running(restartStrategy="InPlace", maxRestarts=9)
    crew = {i: Process(0, ProcessState.RUNNING, f"o{i}", NOW) for i in range(4)}
    crew[1] = Process(0, ProcessState.ENDED, "o1", LATER - 1, exit_code=3)
    plan, status, _ = after(replace(observation, crew=crew))
    assert (status.epoch, reasons(plan)) == (1, ["RestartingInPlace"])
    assert status.order is None
