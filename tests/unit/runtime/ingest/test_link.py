"""The two ends of the socket with each other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from drumline.api.report import JobRef, Receipt, Report
from drumline.runtime.ingest import bus as bus_module
from drumline.runtime.ingest import link as link_module
from drumline.runtime.ingest import wire
from drumline.runtime.ingest.bus import ReportBus
from drumline.runtime.ingest.fair import Waiting
from drumline.runtime.ingest.link import WINDOW, Link
from drumline.runtime.ingest.verdicts import (
    Accepted,
    Forbidden,
    NotLeader,
    Outcome,
    Reporter,
    Stale,
    Unavailable,
    Verdict,
)

REPORTER = Reporter("ns", "pod", "uid")


def report(sent: int = 0, name: str = "job") -> Report:
    return Report(version=1, job=JobRef(namespace="ns", name=name, uid=name), attempt=1, sent_ms=sent)


def waiting(sent: Report) -> Waiting:
    raw = sent.model_dump_json(by_alias=True, exclude_defaults=True).encode()
    return Waiting(REPORTER, sent.sequence, raw, asyncio.get_running_loop().create_future(), sent.sent_ms)


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something holds."""
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0)


class Pair:
    """Both ends."""

    def __init__(self, path: Path) -> None:
        self.taken: list[Report] = []
        self.counts: Counter[str] = Counter()
        self.answer: Callable[[Report], Verdict] = lambda r: Accepted(Receipt(durable_ms=r.sent_ms))
        self.bus = ReportBus(path, self.deliver, self.count)
        self.link = Link(path)

    def deliver(self, found: Report, reporter: Reporter, since: int) -> Verdict:
        assert (reporter, since) == (REPORTER, found.sent_ms)
        self.taken.append(found)
        return self.answer(found)

    def count(self, outcome: str, more: int) -> None:
        self.counts[outcome] += more

    async def send(self, sent: Report, source: object = 0) -> Verdict:
        return await self.link.submit(sent.job.uid, source, waiting(sent))


@pytest.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr(link_module, "RECONNECT_SECONDS", 0.0)
    pair = Pair(tmp_path / "socket")
    await pair.bus.start()
    running = asyncio.create_task(pair.link.run())
    await until(lambda: pair.link.connected)
    yield pair
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await pair.bus.stop()


async def test_a_report_and_its_verdict(pair: Pair) -> None:
    assert await pair.send(report(7)) == Accepted(Receipt(durable_ms=7))
    assert pair.taken == [report(7)]


@pytest.mark.parametrize("verdict", [Stale("over"), Forbidden("no", gone=True), NotLeader(3.0)])
async def test_every_verdict_comes_back(pair: Pair, verdict: Verdict) -> None:
    pair.answer = lambda _report: verdict
    assert await pair.send(report()) == verdict


async def test_more_than_the_window_at_once(pair: Pair) -> None:
    sends = (pair.send(report(i), source=i) for i in range(5 * WINDOW))
    answers = await asyncio.gather(*sends)
    assert answers == [Accepted(Receipt(durable_ms=i)) for i in range(5 * WINDOW)]


async def test_the_loop_gets_its_turn_between_reports(pair: Pair) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    between: list[int] = []
    pair.answer = lambda _report: (between.append(turns), Stale())[1]
    running = asyncio.create_task(other())
    await asyncio.gather(*(pair.send(report(i), source=i) for i in range(50)))
    running.cancel()
    assert len(set(between)) == 50


async def test_a_callback_that_fails_is_not_the_end(pair: Pair) -> None:
    def fail(_report: Report) -> Verdict:
        raise KeyError("oops")

    pair.answer = fail
    assert await pair.send(report()) == Unavailable("the operator failed")
    pair.answer = lambda _report: Stale()
    assert await pair.send(report()) == Stale()


async def test_counts_reach_the_operator(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.link.count(Outcome.LIMITED)
    pair.link.count(Outcome.LIMITED, 2)
    await pair.bus.stop()
    await until(lambda: not pair.link.connected)
    await pair.bus.start()
    await until(lambda: pair.counts["limited"] == 3)


async def test_while_the_operator_is_away_everybody_is_told(pair: Pair) -> None:
    gate = asyncio.Event()

    def hold(_report: Report) -> Verdict:
        gate.set()
        raise asyncio.CancelledError  # the operator ends in the middle of it

    pair.answer = hold
    sends = [asyncio.create_task(pair.send(report(i), source=i)) for i in range(3 * WINDOW)]
    await gate.wait()
    await pair.bus.stop()
    assert set(await asyncio.gather(*sends)) == {Unavailable()}
    assert await pair.send(report()) == Unavailable()
    pair.answer = lambda _report: Stale()
    await pair.bus.start()
    await until(lambda: pair.link.connected)
    assert await pair.send(report()) == Stale()


async def test_an_operator_that_says_nothing_is_given_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "VERDICT_SECONDS", -1.0)
    monkeypatch.setattr(link_module, "COUNT_SECONDS", 0.0)
    monkeypatch.setattr(bus_module._End, "data_received", lambda _end, _data: None)
    sends = (pair.send(report(i), source=i) for i in range(2 * WINDOW))
    assert set(await asyncio.gather(*sends)) == {Unavailable("the operator did not answer in time")}
    assert pair.link.connected


async def test_a_client_that_speaks_nonsense_is_hung_up_on(pair: Pair, tmp_path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
    writer.write(wire.frame(wire.REPORT, b"?"))
    assert await reader.read() == b""
    writer.close()
    assert await pair.send(report()) == Accepted(Receipt())


async def test_what_is_no_report_is_never_delivered(pair: Pair) -> None:
    future = asyncio.get_running_loop().create_future()
    verdict = await pair.link.submit("job", 1, Waiting(REPORTER, 0, b'{"version": 1}', future))
    assert isinstance(verdict, Forbidden)
    assert pair.taken == []


async def test_only_the_owner_may_use_the_socket(pair: Pair, tmp_path: Path) -> None:
    assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o600
