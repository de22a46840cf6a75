"""What a reporter says, what it makes of answers, and that it never troubles the program."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from drumline.api.report import MAX_REPORT_BYTES, Report
from drumline.worker.client import INTERVAL_SECONDS, MIN_INTERVAL, Reporter
from drumline.worker.identity import Identity
from drumline.worker.transport import Answer

from .conftest import Clock, Memory


def _report(reporter: Reporter, *, final: bool = False) -> Report:
    return Report.model_validate_json(reporter.report(final=final))


def test_a_report_says_whose_it_is_and_everything_that_happened(reporter: Reporter, clock: Clock) -> None:
    reporter.resumed_from(4)
    with reporter.phase("checkpoint_restore"):
        clock.now += 2000
    clock.now += 1000
    reporter.report_step(5, tokens=4096, flops=1e15)
    reporter.checkpoint_committed(5)
    clock.now += 500
    report = _report(reporter)
    assert (report.job.namespace, report.job.name, report.job.uid) == ("research", "llama", "0a1b")
    assert (report.attempt, report.epoch, report.source, report.resumed_step) == (3, 0, "report", 4)
    assert [(s.kind, s.start_ms, s.duration_ms) for s in report.spans] == [
        ("checkpoint_restore", 0, 2000),
        ("step", 2000, 1000),
    ]
    assert (report.spans[1].tokens, report.spans[1].flops) == (4096, 1e15)
    assert [(c.step, c.at_ms) for c in report.commits] == [(5, 3000)]
    assert report.sent_ms == 3500
    assert not report.final


def test_own_work_is_measured_or_told(reporter: Reporter, clock: Clock) -> None:
    with reporter.compute():
        clock.now += 300
    clock.now += 700
    reporter.report_step(1)
    clock.now += 1000
    reporter.report_step(2, compute_seconds=0.25)
    clock.now += 1000
    reporter.report_step(3, compute_seconds=math.nan)
    assert [(s.step, s.compute_ms) for s in _report(reporter).spans] == [(1, 300), (2, 250), (3, 0)]


def test_nothing_on_the_wire_is_unknown_to_the_model(reporter: Reporter, clock: Clock) -> None:
    with reporter.phase("eval"):
        clock.now += 10
        raw = json.loads(reporter.report(final=True))
    model = Report.model_validate(raw).model_dump(by_alias=True, mode="json")
    assert set(raw) <= set(model)
    assert raw["open"] == {"kind": "eval", "startMs": 0}


def test_two_reporters_have_different_origins(who: Identity, memory: Memory, clock: Clock) -> None:
    origins = {_report(Reporter(who, memory, clock)).origin for _ in range(3)}
    assert len(origins) == 3


def test_a_lost_report_loses_nothing(reporter: Reporter, memory: Memory, clock: Clock) -> None:
    for step in range(3):
        clock.now += 1000
        reporter.report_step(step)
        memory.answers = [Answer(0, error="unreachable")]
        reporter.exchange()
    assert [s["step"] for s in memory.reports[-1]["spans"]] == [0, 1, 2]
    assert [r["sequence"] for r in memory.reports] == [1, 2, 3]


def test_what_the_operator_has_on_record_is_not_sent_again(
    reporter: Reporter, memory: Memory, clock: Clock
) -> None:
    for step in range(3):
        clock.now += 1000
        reporter.report_step(step)
    memory.answers = [Answer(200, {"durableMs": 2000, "intervalSeconds": 12.5})]
    assert reporter.exchange() == 12.5
    reporter.exchange()
    assert [s["step"] for s in memory.reports[1]["spans"]] == [2]


@pytest.mark.parametrize(
    ("body", "interval"),
    [
        ({"intervalSeconds": 0.001}, 0.5),
        ({"intervalSeconds": 1e9}, 300.0),
        ({"intervalSeconds": "soon"}, INTERVAL_SECONDS),
        ({"durableMs": None}, INTERVAL_SECONDS),
        ({}, INTERVAL_SECONDS),
    ],
)
def test_an_odd_receipt_does_no_harm(reporter: Reporter, body: dict[str, Any], interval: float) -> None:
    assert reporter.take(Answer(200, body)) == interval


def test_retry_after_is_honoured_within_reason(reporter: Reporter) -> None:
    assert reporter.take(Answer(503, retry_after=2.0)) == 2.0
    assert reporter.take(Answer(429, retry_after=1e6)) == 60.0
    assert not reporter.stopped


def test_without_an_answer_it_tries_less_and_less_often(reporter: Reporter) -> None:
    delays = [reporter.take(Answer(0, error="refused")) for _ in range(6)]
    assert delays == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert reporter.take(Answer(200)) == INTERVAL_SECONDS
    assert reporter.take(Answer(0)) == 5.0


def test_a_stale_attempt_ends_it_for_good(
    reporter: Reporter, memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter.take(Answer(409, {"error": "attempt 4 runs"}))
    assert reporter.stopped
    reporter.report_step(1)
    assert _report(reporter).spans == ()
    assert capsys.readouterr().err == "drumline: stopped: attempt 4 runs\n"


def test_a_refusal_is_said_once(reporter: Reporter, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        reporter.take(Answer(403, {"error": "not your pod"}))
    assert capsys.readouterr().err == "drumline: report refused with 403: not your pod\n"


def test_a_report_at_fault_is_not_sent_for_ever(reporter: Reporter, clock: Clock) -> None:
    for _ in range(40):
        clock.now += 1000
        with reporter.phase("compile"):
            clock.now += 1000
    for _ in range(8):
        reporter.take(Answer(400, {"error": "no"}))
    assert len(_report(reporter).spans) <= 1


def test_a_report_is_never_too_large(reporter: Reporter, clock: Clock) -> None:
    for step in range(2**52, 2**52 + 4000):
        clock.now += 10**8
        with reporter.phase("data_wait"):
            clock.now += 10**7
        reporter.report_step(step, tokens=2**61, flops=1.234567890123e29)
        reporter.checkpoint_committed(step)
    body = reporter.report()
    assert len(body) <= MAX_REPORT_BYTES
    report = Report.model_validate_json(body)
    assert sum(s.count for s in report.spans if s.kind == "step") == 4000


@pytest.mark.parametrize("step", [None, "seven", object(), math.nan, math.inf])
def test_a_wrong_step_does_not_reach_the_program(
    reporter: Reporter, step: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter.report_step(step)
    reporter.checkpoint_committed(step)
    reporter.resumed_from(step)
    assert _report(reporter).spans == ()
    assert capsys.readouterr().err.startswith("drumline: not understood: ")


def test_a_wrong_phase_does_not_reach_the_program(reporter: Reporter, clock: Clock) -> None:
    with reporter.phase("lunch"), reporter.phase("compile"):
        clock.now += 100
    assert [s.kind for s in _report(reporter).spans] == ["compile"]


def test_the_programs_own_errors_pass(reporter: Reporter) -> None:
    with pytest.raises(ZeroDivisionError), reporter.phase("compile"):
        raise ZeroDivisionError
    assert _report(reporter).open is None


def test_odd_numbers_are_still_valid_on_the_wire(reporter: Reporter, clock: Clock) -> None:
    clock.now -= 50  # before it began
    reporter.report_step(-7, tokens=-3, flops=math.nan)
    reporter.report_step(2**80, tokens=2**80, flops=math.inf)
    spans = _report(reporter).spans
    assert [(s.step, s.tokens) for s in spans] == [(-1, 0), (2**53, 2**62)]


def test_a_forked_child_says_nothing(reporter: Reporter, clock: Clock) -> None:
    pid = os.fork()
    if pid == 0:
        reporter.report_step(1)
        os._exit(len(reporter._timeline.spans))
    assert os.waitpid(pid, 0)[1] == 0


def test_a_quiet_reporter_sends_only_how_it_ended(who: Identity, memory: Memory, clock: Clock) -> None:
    quiet = [False]
    reporter = Reporter(who, memory, clock, source="launcher", quiet=lambda: quiet[0])
    clock.now += 1000
    reporter.report_step(1)
    quiet[0] = True
    reporter.exchange()
    assert memory.reports == []
    reporter.exchange(final=True)
    assert memory.reports[0]["spans"] == []
    assert memory.reports[0]["final"] is True


ENDING = """
import atexit
from drumline.worker.client import Reporter
from drumline.worker.identity import identity
from drumline.worker.transport import Answer

class Sender:
    def send(self, body):
        print("final" if b'"final":true' in body.replace(b" ", b"") else "report", flush=True)
        return Answer(200)
    def close(self):
        pass

reporter = Reporter(identity({}), Sender())
reporter.start()
atexit.register(lambda: print("waits for peers", flush=True))
reporter.report_step(1)
raise RuntimeError("a peer is gone")
"""


class _Wake(threading.Event):
    """Notes how long is waited for it, and waits for nothing."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self.waits: list[float | None] = []
        self._reporter = reporter

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        if len(self.waits) == 2:
            self._reporter._closing = True
        return True


@pytest.mark.parametrize(("source", "first"), [("launcher", 0.0), ("report", MIN_INTERVAL)])
def test_the_launcher_alone_says_hello(who: Identity, memory: Memory, source: str, first: float) -> None:
    reporter = Reporter(who, memory, source=source)
    reporter._wake = wake = _Wake(reporter)
    reporter.start()
    assert reporter._done.wait(60)
    assert wake.waits == [first, INTERVAL_SECONDS]
    assert [r["spans"] for r in memory.reports] == [[], []]


def test_what_happened_at_once_is_kept_until_it_is_on_record(reporter: Reporter) -> None:
    reporter.report_step(2)
    reporter.take(Answer(200, {"durableMs": 0}))
    assert [(s.step, s.duration_ms) for s in _report(reporter).spans] == [(2, 0)]


def test_the_last_report_goes_before_libraries_wait_for_peers_at_exit() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == ["final", "waits for peers"], done.stderr
