"""Reports over real TLS to a server with an authority of its own."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from drumline.worker.client import Reporter
from drumline.worker.identity import Identity
from drumline.worker.transport import Transport, seconds
from e2e.cluster.pki import Pki

from .conftest import Clock, Ingest


@pytest.fixture
def transport(ingest: Ingest, pki: Pki, token: Path) -> Transport:
    return Transport(ingest.url, str(token), str(pki.ca.cert))


@pytest.fixture
def reporter(who: Identity, transport: Transport, clock: Clock) -> Reporter:
    return Reporter(who, transport, clock)


def _rotate(path: Path, text: str) -> None:
    path.write_text(text)


def _step(reporter: Reporter, clock: Clock, step: int) -> None:
    clock.now += 1000
    reporter.report_step(step)


async def test_one_connection_carries_many_reports(ingest: Ingest, reporter: Reporter, clock: Clock) -> None:
    for step in range(3):
        _step(reporter, clock, step)
        assert await asyncio.to_thread(reporter.exchange) == 7
    assert [len(r.spans) for r in ingest.reports] == [1, 2, 3]
    assert [r.sequence for r in ingest.reports] == [1, 2, 3]
    assert len(ingest.peers) == 1


async def test_a_rotated_token_is_read_again(
    ingest: Ingest, reporter: Reporter, token: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await asyncio.to_thread(reporter.exchange)
    ingest.token = "second"
    await asyncio.to_thread(reporter.exchange)
    _rotate(token, ingest.token)
    await asyncio.to_thread(reporter.exchange)
    assert len(ingest.reports) == 2
    assert capsys.readouterr().err == "drumline: report refused with 401: who are you?\n"


async def test_a_follower_is_left_for_another_connection(
    ingest: Ingest, reporter: Reporter, clock: Clock
) -> None:
    ingest.answers = [
        web.json_response({"error": "not the leader"}, status=503, headers={"Retry-After": "2"})
    ]
    _step(reporter, clock, 0)
    assert await asyncio.to_thread(reporter.exchange) == 2
    assert await asyncio.to_thread(reporter.exchange) == 7
    assert len(ingest.peers) == 2
    assert [[s.step for s in r.spans] for r in ingest.reports] == [[0], [0]]


@pytest.mark.parametrize(
    ("text", "waits"),
    [
        ("1.5", 1.5),
        ("1e30", 300.0),
        ("inf", 300.0),
        ("-5", 0.0),
        ("nan", 0.0),
        ("Fri, 31 Dec", 0.0),
        (None, 0.0),
    ],
)
def test_what_a_server_asks_for_can_be_waited_for(text: str | None, waits: float) -> None:
    assert seconds(text) == waits


async def test_a_stale_attempt_stops(ingest: Ingest, reporter: Reporter) -> None:
    ingest.answers = [web.json_response({"error": "attempt 4 runs"}, status=409)]
    await asyncio.to_thread(reporter.exchange)
    assert reporter.stopped


async def test_another_authority_is_not_trusted(ingest: Ingest, tmp_path: Path, token: Path) -> None:
    stranger = Pki(tmp_path / "other", datetime.now(UTC))  # noqa: TID251
    transport = Transport(ingest.url, str(token), str(stranger.ca.cert))
    answer = await asyncio.to_thread(transport.send, b"{}")
    assert answer.status == 0
    assert "CERTIFICATE_VERIFY_FAILED" in answer.error
    assert ingest.peers == set()


async def test_a_new_authority_is_read_at_the_next_connection(
    ingest: Ingest, pki: Pki, tmp_path: Path, token: Path, who: Identity
) -> None:
    authority = tmp_path / "ca.crt"  # not there yet: an optional ConfigMap
    reporter = Reporter(who, Transport(ingest.url, str(token), str(authority)))
    await asyncio.to_thread(reporter.exchange)
    assert ingest.reports == []
    authority.write_bytes(pki.ca.cert.read_bytes())
    await asyncio.to_thread(reporter.exchange)
    assert len(ingest.reports) == 1


async def test_a_token_never_goes_over_plain_http(tmp_path: Path, token: Path) -> None:
    answer = await asyncio.to_thread(Transport("http://example.com/", str(token), "").send, b"{}")
    assert (answer.status, answer.error) == (0, "ValueError: a report goes over https, not http")


async def test_no_token_no_report(ingest: Ingest, pki: Pki, tmp_path: Path) -> None:
    transport = Transport(ingest.url, str(tmp_path / "none"), str(pki.ca.cert))
    assert "FileNotFoundError" in (await asyncio.to_thread(transport.send, b"{}")).error


async def test_an_idle_connection_that_was_closed_costs_no_report(
    ingest: Ingest, transport: Transport, reporter: Reporter
) -> None:
    await asyncio.to_thread(reporter.exchange)
    assert transport._connection is not None
    assert transport._connection.sock is not None
    transport._connection.sock.shutdown(2)
    assert await asyncio.to_thread(reporter.exchange) == 7
    assert len(ingest.reports) == 2


async def test_a_server_that_hangs_is_given_up(ingest: Ingest, pki: Pki, token: Path) -> None:
    url = ingest.url.replace("/v1/report", "/never")
    transport = Transport(url, str(token), str(pki.ca.cert), timeout=0.1)
    answer = await asyncio.to_thread(transport.send, b"{}")
    assert (answer.status, answer.error[-9:]) == (0, "timed out")


async def test_the_thread_sends_and_says_how_it_ended(
    ingest: Ingest, who: Identity, transport: Transport
) -> None:
    reporter = Reporter(who, transport)
    reporter.start()
    reporter.report_step(1)
    await asyncio.to_thread(reporter.close, "exit code 1")
    last = ingest.reports[-1]
    assert (last.final, last.exit, [s.step for s in last.spans]) == (True, "exit code 1", [1])
    reporter.close()  # again, as the program's end does
    assert len(ingest.reports) == 1


async def test_a_hanging_server_delays_neither_steps_nor_the_end(
    ingest: Ingest, pki: Pki, token: Path, who: Identity
) -> None:
    url = ingest.url.replace("/v1/report", "/never")
    reporter = Reporter(who, Transport(url, str(token), str(pki.ca.cert), timeout=30))
    reporter.start()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for step in range(1000):
        reporter.report_step(step)
    await asyncio.to_thread(reporter.close, "", 0.1)
    assert loop.time() - began < 15
    assert ingest.reports == []


def _said(ingest: Ingest) -> list[dict[str, Any]]:
    return [r.to_json() for r in ingest.reports]


async def test_a_report_that_arrives_twice_is_the_same_report(
    ingest: Ingest, transport: Transport, reporter: Reporter, clock: Clock
) -> None:
    _step(reporter, clock, 0)
    body = reporter.report()
    for _ in range(2):
        await asyncio.to_thread(transport.send, body)
    first, second = _said(ingest)
    assert first == second
