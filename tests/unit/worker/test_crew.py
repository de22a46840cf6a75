"""What is asked and told, with a channel that answers from a list and a clock that a test turns."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from drumline.api.orders import Muster
from drumline.api.orders import Orders as ApiOrders
from drumline.runtime.ingest.polls import MAX_MUSTER_BYTES
from drumline.worker import crew as crew_module
from drumline.worker.crew import Crew, Orders, crew_of, orders_of, orders_url
from drumline.worker.identity import Identity, identity
from drumline.worker.transport import Answer

from .conftest import ENVIRONMENT


class Line:
    """Keeps requests. Answers are given in turn: an answer, or what is done before None is."""

    def __init__(self) -> None:
        self.waiting = 0
        self.sent: list[dict[str, Any]] = []
        self.answers: list[Answer | Callable[[], None]] = []
        self.closed = 0

    def post(self, body: bytes) -> None:
        self.sent.append(json.loads(body))
        self.waiting += 1

    def receive(self, _seconds: float, _wake: int) -> Answer | None:
        found = self.answers.pop(0)
        if callable(found):
            found()
            return None
        self.waiting -= 1
        return found

    def close(self) -> None:
        self.waiting = 0
        self.closed += 1


class Lab:
    def __init__(self, who: Identity) -> None:
        self.now = 100.0
        self.line = Line()
        self.changes = 0
        self.crew = Crew(who, self.line, self.change, lambda: self.now)

    def change(self) -> None:
        self.changes += 1

    def ask(self, *answers: Answer | Callable[[], None], after: float = 10.0) -> tuple[float, bool]:
        def later() -> None:
            self.now += after

        self.line.answers = [later, *answers]
        return self.crew.exchange()


@pytest.fixture
def lab(who: Identity, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(crew_module, "_about_one", lambda: 1.0)
    return Lab(who)


def ordered(**fields: Any) -> Answer:
    orders = ApiOrders(**fields)
    return Answer(200, {"digest": orders.digest, **orders.to_json()})


NONE = Answer(200, {"digest": ""})


def test_a_muster_says_all_that_is_true(lab: Lab) -> None:
    lab.crew.say("Ended", 2, 139, "killed by SIGSEGV")
    lab.crew.carried_out(4, "stacks")
    lab.ask(NONE)
    sent = Muster.model_validate(lab.line.sent[0])
    assert (sent.job.name, sent.attempt, sent.slice, sent.worker) == ("llama", 3, 0, 0)
    assert (sent.epoch, sent.state.value, sent.exit_code, sent.text) == (2, "Ended", 139, "killed by SIGSEGV")
    assert (sent.seen, sent.stacks, sent.digest) == (4, "stacks", "")
    assert len(sent.origin) == 16


def test_words_that_are_too_long_are_cut(lab: Lab) -> None:
    lab.crew.say("Ended", 0, 1, "first" + "x" * 5000 + "last")
    lab.crew.carried_out(1, "y" * 100_000)
    lab.ask(NONE)
    sent = Muster.model_validate(lab.line.sent[0])
    assert (len(sent.text), sent.text[-4:], len(sent.stacks)) == (4096, "last", 32_768)


@pytest.mark.parametrize("letter", ["y", "\0", "\ufffd", "\U0001f600", "\n", '"'])
def test_a_muster_is_never_larger_than_what_is_taken(lab: Lab, letter: str) -> None:
    lab.crew.say("Ended", 0, 1, letter * 5000)
    lab.crew.carried_out(1, letter * 100_000)
    assert len(lab.crew.body()) <= MAX_MUSTER_BYTES


def test_orders_are_taken_and_known_from_then_on(lab: Lab) -> None:
    assert lab.ask(
        ordered(epoch=1, go=False, grace_seconds=3.5, number=2, kind="Checkpoint", signal="SIGUSR1")
    )
    assert lab.crew.orders is not None
    assert lab.crew.orders[1:] == (1, False, 3.5, 2, "Checkpoint", "SIGUSR1")
    assert (lab.changes, lab.crew.answered) == (1, 110.0)
    assert lab.ask(
        ordered(epoch=1, go=False, grace_seconds=3.5, number=2, kind="Checkpoint", signal="SIGUSR1")
    ) == (0.0, False)
    assert lab.changes == 1, "the same orders change nothing"
    assert lab.line.sent[1]["digest"] == lab.crew.orders.digest
    assert lab.ask(NONE) == (0.0, False)
    assert lab.crew.orders is not None, "an operator that has just begun takes nothing back"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"digest": 5},
        {"digest": ""},
        {"digest": "x", "epoch": "one"},
        {"digest": "x", "graceSeconds": None},
    ],
)
def test_what_orders_nothing(body: dict[str, Any]) -> None:
    assert orders_of(body) is None


def test_orders_that_say_little_have_defaults() -> None:
    assert orders_of({"digest": "x"}) == Orders("x", 0, True, 10.0, 0, "", "")


def test_an_answer_that_comes_at_once_and_says_nothing_new_is_not_asked_for_again_at_once(lab: Lab) -> None:
    assert lab.ask(NONE, after=0.1) == (1.0, False)
    assert lab.ask(ordered(epoch=1), after=0.1) == (0.0, False)


def test_a_server_without_room_says_when_to_ask(lab: Lab) -> None:
    assert lab.ask(NONE._replace(retry_after=15.0)) == (15.0, False)


def test_what_happens_meanwhile_is_told_at_once(lab: Lab) -> None:
    lab.crew.say("Running", 0)
    lab.ask(lambda: lab.crew.say("Ended", 0, 1), NONE, NONE)
    assert [m["state"] for m in lab.line.sent] == ["Running", "Ended"]
    assert lab.line.answers == []


def test_no_more_than_two_are_under_way(lab: Lab) -> None:
    changes = [lambda i=i: lab.crew.say("Held", i) for i in range(1, 4)]
    lab.ask(*changes, NONE, NONE, NONE)
    assert [m["epoch"] for m in lab.line.sent] == [0, 1, 3]


def test_a_change_as_the_last_answer_comes_is_told_next(lab: Lab) -> None:
    class Sudden(Line):
        def receive(self, _seconds: float, _wake: int) -> Answer | None:
            lab.crew.say("Ended", 0)
            self.waiting = 0
            return NONE

    lab.crew._poll = Sudden()
    assert lab.crew.exchange() == (0.0, False)


def test_a_server_that_holds_for_too_long_is_left(lab: Lab) -> None:
    with pytest.raises(TimeoutError):
        lab.ask(lambda: None, after=70.0)


def test_an_attempt_that_is_over(lab: Lab) -> None:
    lab.ask(Answer(409, {"error": "over"}))
    assert (lab.crew.over, lab.changes, lab.line.closed) == (True, 1, 1)


@pytest.mark.parametrize(
    ("answer", "pauses"),
    [
        (Answer(503, retry_after=2.0), [2.0, 4.0, 8.0, 10.0]),
        (Answer(503), [0.5, 1.0, 2.0, 4.0]),
        (Answer(429, retry_after=1.0), [1.0, 2.0, 4.0, 8.0]),
        (Answer(403), [0.5, 1.0, 2.0, 4.0]),
        (Answer(404), [0.5, 1.0, 2.0, 4.0]),
    ],
)
def test_refusals_are_asked_again_less_and_less_often(lab: Lab, answer: Answer, pauses: list[float]) -> None:
    assert [lab.ask(answer) for _ in pauses] == [(pause, True) for pause in pauses]
    assert (lab.line.closed, lab.crew.answered) == (len(pauses), 0.0)
    lab.ask(NONE)
    assert lab.ask(answer) == (pauses[0], True)


def test_stacks_are_told_while_they_are_asked_for(lab: Lab) -> None:
    lab.ask(ordered(number=2, kind="Stacks"))
    lab.crew.carried_out(2, "stacks")
    lab.ask(ordered(number=2, kind="Stacks"))
    lab.ask(ordered(number=2))
    lab.ask(NONE)
    assert [m["stacks"] for m in lab.line.sent] == ["", "stacks", "stacks", ""]
    assert lab.line.sent[-1]["seen"] == 2


def test_where_orders_are() -> None:
    assert orders_url("https://ingest.ns.svc:8443/v1/report") == "https://ingest.ns.svc:8443/v1/orders"


@pytest.mark.parametrize(
    "change", [{"DRUMLINE_REPORT_URL": ""}, {"DRUMLINE_ATTEMPT": "0"}, {"DRUMLINE_HELPER": "x"}]
)
def test_who_asks_nobody(change: dict[str, str]) -> None:
    environ = {**ENVIRONMENT, **change}
    assert crew_of(environ, identity(environ), lambda: None) is None
    assert crew_of(ENVIRONMENT, identity(ENVIRONMENT), lambda: None) is not None
