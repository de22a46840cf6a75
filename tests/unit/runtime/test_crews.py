"""What is kept of musters, when a job is looked at for them, and what launchers are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drumline.api.orders import Muster, Orders, ProcessState
from drumline.core.gang.crew import Process
from drumline.core.gang.plan import Plan
from drumline.core.training.observation import Settings
from drumline.runtime import crews as crews_module
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.crews import SHORT, Crews
from drumline.runtime.errors import Conflict
from drumline.runtime.executor import Outcome
from drumline.runtime.ingest.verdicts import Forbidden, Heard, MusterVerdict, Reporter, Stale, Told
from drumline.runtime.records import JobRecord
from drumline.runtime.workqueue import WorkQueue
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import CATALOG, NOW, UID

HELD, RUNNING, ENDED = ProcessState.HELD, ProcessState.RUNNING, ProcessState.ENDED
WORKERS = 4


class Desk:
    """Crews of one job whose first attempt runs."""

    def __init__(self) -> None:
        self.now = NOW
        clocks = Clocks(lambda: self.now, lambda: self.now)
        self.controller = Controller(None, WorkQueue(), Catalogue(CATALOG), Settings(), clocks)  # type: ignore[arg-type]
        self.world = self.controller.world
        self.observation: Any = jobs.running()
        self.show()
        self.woken: list[bool] = []
        self.told: list[Told] = []
        self.crews = Crews(self.world, self.wake, lambda: self.now)
        self.crews.outlet = self.told.append

    def wake(self, key: tuple[str, str], *, urgent: bool) -> None:
        assert key == ("ns", "job")
        self.woken.append(urgent)

    @property
    def record(self) -> JobRecord:
        o = self.observation
        return JobRecord(o.job, o.spec, o.errors, o.shape, o.roster, o.status, o.catalog)

    def show(self, **status: Any) -> None:
        changed = self.observation.status.model_copy(update=status)
        self.observation = replace(self.observation, status=changed)
        self.world.jobs.store.put(("ns", "job"), self.record)
        for pod in self.observation.pods.values():
            self.world.pods.store.put((pod.namespace, pod.name), pod)

    def end_attempt(self) -> None:
        last = self.observation.status.attempts[-1].model_copy(update={"finished_at": "2026-01-01T00:00:00Z"})
        self.show(attempts=(last,))

    def say(self, index: int = 0, **fields: Any) -> MusterVerdict:
        """The launcher of a pod says this, a second later; it does not say which worker it is."""
        self.now += 1.0
        pod = next(p for p in self.observation.pods.values() if p.uid == f"uid-1-{index}")
        job = {"namespace": "ns", "name": "job", "uid": UID}
        whole = {"version": 1, "job": job, "attempt": 1, "origin": f"one-{index}", "state": RUNNING, **fields}
        return self.crews.hear(Muster.model_validate(whole), Reporter("ns", pod.name, pod.uid))

    def all_say(self, **fields: Any) -> list[bool]:
        """Every launcher does; what came of it."""
        self.woken.clear()
        for index in range(WORKERS):
            assert self.say(index, **fields) == Heard()
        return self.woken

    def process(self, index: int = 0) -> Process:
        return self.crews.of(UID, 1)[index]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_process_is_known_by_its_pods_place(desk: Desk) -> None:
    assert desk.say(3, slice=0, worker=0, state=ENDED, exit_code=7, text="why") == Heard()
    assert desk.crews.of(UID, 1) == {3: Process(0, ENDED, "one-3", NOW + 1, 7, "why")}
    assert desk.crews.of(UID, 2) == desk.crews.of("other", 1) == {}


def test_who_is_not_heard(desk: Desk) -> None:
    other = {"namespace": "ns", "name": "job", "uid": "another"}
    assert isinstance(desk.say(job=other), Forbidden)
    assert isinstance(desk.say(job={**other, "name": "none"}), Forbidden)
    assert isinstance(desk.say(attempt=2), Forbidden)
    pod = next(p for p in desk.observation.pods.values() if p.uid == "uid-1-0")
    member = replace(pod.member, role="helper")
    desk.world.pods.store.put(("ns", pod.name), replace(pod, member=member))
    assert isinstance(desk.say(), Forbidden), "a helper has no launcher"
    desk.world.pods.store.put(("ns", pod.name), replace(pod, uid="another"))
    assert desk.say() == Forbidden(f"there is no pod {pod.name} of this uid", gone=True)
    assert desk.crews.of(UID, 1) == {}


def test_an_attempt_that_is_over_is_told_so(desk: Desk) -> None:
    desk.say()
    desk.crews.tell(UID, 1, Orders(epoch=1))
    desk.end_attempt()
    assert desk.say() == Stale("attempt 1 is over")
    desk.crews.follow(desk.record)
    assert desk.told[-1] == Told(UID, 1, None, over=True)
    assert desk.crews.of(UID, 1) == {}
    assert list(desk.crews.told()) == []


def test_a_status_that_is_late_ends_nothing(desk: Desk) -> None:
    desk.crews.tell(UID, 2, Orders())
    desk.crews.follow(desk.record)
    desk.end_attempt()
    desk.crews.follow(desk.record)
    assert desk.told == [Told(UID, 2, Orders())]
    assert desk.say() == Stale("attempt 1 is over")
    desk.crews.tell(UID, 1, Orders(epoch=9))
    assert desk.told == [Told(UID, 2, Orders())], "nothing is told to an attempt before"


def test_orders_are_told_when_they_change(desk: Desk) -> None:
    for orders in (Orders(), Orders(), Orders(epoch=1, go=False), Orders(epoch=1)):
        desk.crews.tell(UID, 1, orders)
    assert [t.orders for t in desk.told] == [Orders(), Orders(epoch=1, go=False), Orders(epoch=1)]
    assert list(desk.crews.told()) == [Told(UID, 1, Orders(epoch=1))]
    desk.crews.forget(UID)
    assert desk.told[-1].over


def test_a_job_is_looked_at_when_the_first_and_the_last_came_so_far(desk: Desk) -> None:
    assert desk.all_say(state=HELD) == [True, False, False, True]
    assert desk.all_say() == [True, False, False, True]
    assert desk.all_say() == [], "nothing new"
    assert desk.all_say(state=ENDED, exit_code=1) == [True, False, False, True]
    assert desk.all_say(state=HELD, epoch=1) == [True, False, False, True]
    assert desk.all_say(state=RUNNING, epoch=1) == [True, False, False, True]


def test_what_else_a_decision_needs(desk: Desk) -> None:
    desk.all_say()
    assert desk.all_say(text="more words") == []
    assert desk.all_say(seen=1, stacks="File x") == [False] * WORKERS
    assert desk.say(2, origin="two") == Heard()
    assert desk.woken[-1], "a launcher that began anew has lost its process"


def test_when_a_process_came_so_far(desk: Desk) -> None:
    desk.say(state=ENDED, exit_code=3)
    at = desk.process().at
    desk.say(state=ENDED, exit_code=3, text="late words", seen=4)
    assert (desk.process().at, desk.process().text, desk.process().seen) == (at, "late words", 4)
    desk.say(state=HELD, epoch=1)
    assert desk.process().at == at + 2


@pytest.mark.parametrize("late", [{"state": HELD}, {"state": RUNNING}, {"state": ENDED, "epoch": 0}])
def test_what_was_overtaken_on_its_way_is_left_out(desk: Desk, late: dict[str, Any]) -> None:
    desk.say(state=ENDED, epoch=1)
    desk.woken.clear()
    assert desk.say(**{"epoch": 1, **late}) == Heard()
    assert (desk.process().state, desk.process().epoch, desk.woken) == (ENDED, 1, [])
    desk.say(state=HELD, epoch=0, origin="two")
    assert (desk.process().state, desk.process().epoch) == (HELD, 0), "another life begins anew"


def test_words_have_an_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews_module, "MOST_TEXT", 10_000)
    stacks = "x" * 4000
    for index in range(WORKERS):
        desk.say(index, stacks=stacks)
    assert [len(desk.process(i).stacks) for i in range(WORKERS)] == [4000, 4000, SHORT, SHORT]
    desk.say(0, stacks="")
    desk.say(2, stacks=stacks, seen=1)
    assert len(desk.process(2).stacks) == 4000, "what is not kept any more makes room"
    desk.crews.forget(UID)
    assert desk.crews._text == 0


async def test_a_plan_that_was_applied_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Told] = []
    desk.controller.crews.outlet = told.append
    desk.world.keys[UID] = ("ns", "job")
    orders = Orders(epoch=1, go=False)
    status = {**desk.observation.status.to_json(), "epoch": 1}
    seen: list[Any] = []

    def decide(observation: Any) -> Plan:
        seen.append(observation.crew)
        return Plan(status=status, orders=orders)

    outcomes = [
        Outcome(failed="status", error=Conflict("changed meanwhile")),
        Outcome(resource_version="101"),
    ]

    async def apply(_owner: object, plan: Plan) -> Outcome:
        assert plan.orders == orders
        return outcomes.pop(0)

    monkeypatch.setattr(desk.controller, "_decide", decide)
    monkeypatch.setattr(desk.controller.executor, "apply", apply)
    desk.crews, crews = desk.controller.crews, desk.crews
    desk.say(2)
    await desk.controller.reconcile(("ns", "job"))
    assert told == [], "what it rests on is not written"
    await desk.controller.reconcile(("ns", "job"))
    assert told == [Told(UID, 1, orders)]
    assert [list(crew) for crew in seen] == [[2], [2]]
    desk.controller.job_gone(UID)
    assert told[-1] == Told(UID, 1, None, over=True)
    assert crews.of(UID, 1) == {}
