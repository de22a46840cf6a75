"""What launchers are told, and in which jobs."""

from dataclasses import replace

import pytest

from drumline.api.orders import OrderKind, ProcessState
from drumline.api.status import OrderStatus
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.departures import Departure
from drumline.core.training.decide import decide
from drumline.core.training.observation import Settings
from tests.unit.core.training import crews, jobs
from tests.unit.core.training.crews import after, at_epoch, ended, saying
from tests.unit.core.training.jobs import NOW


def _told(observation, now=NOW + 60):
    return decide(observation, now).orders


def test_the_first_epoch_may_start_before_anybody_has_spoken():
    orders = _told(replace(crews.running(), crew={}))
    assert (orders.epoch, orders.go, orders.number) == (0, True, 0)


@pytest.mark.parametrize(
    "observation",
    [
        replace(crews.running(), settings=Settings()),
        crews.running(progress={"source": "report"}),
        replace(jobs.job(jobs.spec(template=crews.TEMPLATE)), settings=crews.SETTINGS),
    ],
)
def test_who_has_no_launcher_or_no_attempt_is_told_nothing(observation):
    assert _told(observation) is None


def test_jobs_that_are_recreated_have_launchers_too():
    orders = _told(crews.running(failurePolicy={"restartStrategy": "Recreate"}))
    assert (orders.epoch, orders.go) == (0, True)


@pytest.mark.parametrize(("kind", "signal"), [("Checkpoint", "SIGUSR2"), ("Stacks", "")])
def test_what_is_asked_once_keeps_its_number(kind, signal):
    request = {"onRequest": {"signal": "SIGUSR2"}}
    observation = crews.running(checkpoint=request)
    node = "node-1" if kind == "Checkpoint" else None
    order = OrderStatus(number=4, kind=OrderKind(kind), at=rfc3339_millis(NOW), node=node)
    status = observation.status.model_copy(update={"order": order})
    departing = {"node-1": Departure("node-1", "taint going")}
    orders = _told(replace(observation, status=status, departing=departing if node else {}), NOW + 1)
    assert (orders.number, orders.kind, orders.signal) == (4, OrderKind(kind), signal)


def test_launchers_of_an_attempt_that_is_over_are_ordered_nothing():
    rule = {"name": "anew", "action": "RestartGang", "onCause": ["ApplicationExit"]}
    policy = {"rules": [rule], "backoff": {"initialSeconds": 10}}
    plan, _ = after(saying(crews.running(failurePolicy=policy), r1=ended()), NOW + 61)
    assert plan.orders is None


@pytest.mark.parametrize("behind", range(4))
def test_no_go_while_one_is_of_an_earlier_epoch(behind):
    _, world = after(saying(crews.running(), r1=ended()), NOW + 61)
    for state in ProcessState:
        late = {f"r{behind}": crews.process(state, 0, code=3 * (state is ProcessState.ENDED))}
        for others in (ProcessState.HELD, ProcessState.RUNNING):
            assert not _told(saying(at_epoch(world, others), **late), NOW + 62).go
