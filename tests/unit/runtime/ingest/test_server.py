"""What a reporter is answered, from the first header to the operator's verdict, whichever way its request goes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from drumline.api.report import MAX_REPORT_BYTES, REPORT_PATH, Receipt, Report
from drumline.runtime.errors import Unavailable as ApiUnavailable
from drumline.runtime.ingest import server as server_module
from drumline.runtime.ingest.fair import Waiting
from drumline.runtime.ingest.plain import Door
from drumline.runtime.ingest.server import BODIES_BYTES, BYTES_MORE, JOB_SHARE, Connections, Server
from drumline.runtime.ingest.tokens import CrowdedError, DeniedError
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

BURST = 3
GOOD = {"Authorization": "Bearer pod-a"}


class FakeTokens:
    """A token is the pod's name, unless it is something else on purpose."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self.remembers = False

    def known(self, token: str) -> Reporter | None:
        return Reporter("ns", token, f"uid-of-{token}") if self.remembers and "-" in token else None

    async def reporter(self, token: str, address: str) -> Reporter:
        assert address == "127.0.0.1"
        problems = {"bad": DeniedError("no"), "many": CrowdedError(0.2), "away": ApiUnavailable("away")}
        if token in problems:
            raise problems[token]
        return Reporter("ns", token, f"uid-of-{token}")

    def forget(self, pod_uid: str) -> None:
        self.forgotten.append(pod_uid)


class FakeLink:
    """Takes everything, or answers as it is told."""

    def __init__(self) -> None:
        self.counts: Counter[Outcome] = Counter()
        self.lanes: list[Hashable] = []
        self.raw: list[bytes] = []
        self.since: list[int] = []
        self.verdict: Verdict = Accepted(Receipt(durable_ms=5))

    def count(self, outcome: Outcome) -> None:
        self.counts[outcome] += 1

    def submit(self, lane: Hashable, source: Hashable, waiting: Waiting) -> asyncio.Future[Verdict]:
        self.lanes.append(lane)
        self.raw.append(waiting.raw)
        self.since.append(waiting.since)
        waiting.verdict.set_result(self.verdict)
        return waiting.verdict


class Desk:
    """The server with what stands around it. Its clock stands still."""

    def __init__(self) -> None:
        self.tokens, self.link, self.now = FakeTokens(), FakeLink(), 0.0
        self.server = Server(self.tokens, self.link, lambda: self.now, rate=1.0, burst=BURST)  # type: ignore[arg-type]
        self.client: aiohttp.ClientSession
        self.port = 0

    async def send(self, document: Any = None, headers: dict[str, str] | None = None, **kwargs: Any) -> Any:
        """(status, body, headers)."""
        data = {"json": report() if document is None else document}
        if isinstance(document, bytes):
            data = {"data": document}
        answer = await self.client.post(
            REPORT_PATH, headers=GOOD if headers is None else headers, **data, **kwargs
        )
        return answer.status, await answer.json(), answer.headers


def report(**fields: Any) -> dict[str, Any]:
    job = {"namespace": "ns", "name": "llama", "uid": "job-uid"}
    return {"version": 1, "job": job, "attempt": 1, "sentMs": 5, **fields}


@pytest.fixture(params=["general", "plain", "plain, not known"])
async def desk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(server_module, "LIMITED_SECONDS", 0.0)
    desk = Desk()
    desk.tokens.remembers = request.param == "plain"
    runner = web.AppRunner(desk.server.application(), lingering_time=0.1)
    await runner.setup()
    general = runner.server
    assert general is not None
    factory = general if request.param == "general" else lambda: Door(desk.server, general)
    listening = await asyncio.get_running_loop().create_server(factory, "127.0.0.1")
    desk.port = listening.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{desk.port}") as client:
        desk.client = client
        yield desk
    listening.close()
    await runner.cleanup()
    assert desk.server.under_way == 0
    assert desk.server.bodies.left == BODIES_BYTES


async def test_an_accepted_report(desk: Desk) -> None:
    status, body, _ = await desk.send(report(unknownField=1, spans=[]))
    assert (status, body) == (200, {"durableMs": 5, "intervalSeconds": 10.0})
    assert Report.model_validate_json(desk.link.raw[0]) == Report.model_validate(report())
    assert b"unknownField" not in desk.link.raw[0]
    assert desk.link.counts == {Outcome.ACCEPTED: 1}


@pytest.mark.parametrize(
    ("verdict", "status", "outcome", "header"),
    [
        (Stale("over"), 409, Outcome.STALE, {}),
        (Forbidden("not yours"), 403, Outcome.FORBIDDEN, {}),
        (NotLeader(1.2), 503, Outcome.NOT_LEADER, {"Retry-After": "2", "Connection": "close"}),
        (Unavailable("away", 3.0), 503, Outcome.UNAVAILABLE, {"Retry-After": "3"}),
    ],
)
async def test_the_operators_verdict_is_the_answer(
    desk: Desk, verdict: Verdict, status: int, outcome: Outcome, header: dict[str, str]
) -> None:
    desk.link.verdict = verdict
    got, body, headers = await desk.send()
    assert (got, set(body)) == (status, {"error"})
    assert header.items() <= headers.items()
    assert desk.link.counts == {outcome: 1}


@pytest.mark.parametrize(
    ("header", "status", "outcome"),
    [
        (None, 401, Outcome.FORBIDDEN),
        ("Basic pod-a", 401, Outcome.FORBIDDEN),
        ("Bearer bad", 401, Outcome.FORBIDDEN),
        ("Bearer many", 429, Outcome.LIMITED),
        ("Bearer away", 503, Outcome.UNAVAILABLE),
    ],
)
async def test_without_a_good_token_nothing_is_read(
    desk: Desk, header: str | None, status: int, outcome: Outcome
) -> None:
    headers = {"Authorization": header} if header else {}
    assert (await desk.send(b"not even JSON", headers))[0] == status
    assert desk.link.counts == {outcome: 1}
    assert desk.link.lanes == []


async def test_the_scheme_is_written_in_any_case(desk: Desk) -> None:
    assert (await desk.send(headers={"Authorization": "bEARER  pod-a "}))[0] == 200


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "JSON"),
        (b"\xff", "JSON"),
        (b"[]", "object"),
        (report(attempt=0), "attempt: "),
        (report(spans=[{"kind": "nap", "startMs": 0, "durationMs": 0}]), "spans.0.kind: "),
        (report(sentMs="x", attempt=None), "(and 1 more)"),
    ],
)
async def test_what_is_no_report_is_named(desk: Desk, body: Any, complaint: str) -> None:
    status, answer, _ = await desk.send(body)
    assert (status, complaint in answer["error"]) == (400, True), answer
    assert desk.link.counts == {Outcome.INVALID: 1}


async def test_sizes(desk: Desk) -> None:
    assert (await desk.send(b"x" * (MAX_REPORT_BYTES + 1)))[0] == 413
    assert (await desk.send(b"x" * MAX_REPORT_BYTES))[0] == 400
    assert (await desk.send(b"x", {"Authorization": "Bearer pod-b", "Content-Encoding": "gzip"}))[0] == 415


async def test_a_body_that_stops_is_cut_off(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "BODY_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    head = f"POST {REPORT_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer pod-a\r\n"
    writer.write(f"{head}Content-Length: 9\r\n\r\n{{".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()


@pytest.mark.parametrize("rest", [b"Content-Length: 9\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"])
async def test_a_body_that_breaks_off_harms_nobody(desk: Desk, rest: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    head = f"POST {REPORT_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer pod-a\r\n"
    writer.write(head.encode() + rest)
    await writer.drain()
    writer.transport.abort()
    assert (await desk.send())[0] == 200


async def test_a_pod_has_its_rate(desk: Desk) -> None:
    assert [(await desk.send())[0] for _ in range(BURST)] == [200] * BURST
    status, _, headers = await desk.send()
    assert (status, headers["Retry-After"]) == (429, "1")
    assert (await desk.send(headers={"Authorization": "Bearer pod-b"}))[0] == 200
    desk.now += 1.0
    assert (await desk.send())[0] == 200


async def test_a_large_report_counts_for_several(desk: Desk) -> None:
    large = b" " * (10 * BYTES_MORE)
    assert (await desk.send(large))[0] == 400
    status, _, headers = await desk.send()
    assert (status, headers["Retry-After"]) == (429, str(11 - BURST + 1))
    assert (await desk.send(headers={"Authorization": "Bearer pod-b"}))[0] == 200, "it is another's"


async def test_a_job_has_its_rate_once_its_pods_are_known(desk: Desk) -> None:
    statuses = []
    for i in range(2 * BURST * JOB_SHARE):
        headers = {"Authorization": f"Bearer pod-{i // 2}"}
        statuses.append((await desk.send(headers=headers))[0])
    # the first report of each pod is its namespace's
    assert statuses[::2] == [200] * (BURST * JOB_SHARE)
    assert desk.link.lanes[:2] == ["namespace ns", "job-uid"]
    assert (await desk.send(headers={"Authorization": "Bearer pod-0"}))[0] == 429


async def test_a_confirmed_pod_keeps_its_job(desk: Desk) -> None:
    await desk.send()
    other = {"namespace": "ns", "name": "other", "uid": "other-uid"}
    assert (await desk.send(report(job=other)))[0] == 403
    elsewhere = {"namespace": "elsewhere", "name": "llama", "uid": "job-uid"}
    assert (await desk.send(report(job=elsewhere)))[0] == 403
    assert len(desk.link.lanes) == 1


async def test_a_pod_that_has_gone_is_forgotten(desk: Desk) -> None:
    await desk.send()
    desk.link.verdict = Forbidden("gone", gone=True)
    assert (await desk.send())[0] == 403
    assert desk.tokens.forgotten == ["uid-of-pod-a"]
    await desk.send()
    assert desk.link.lanes[-1] == "namespace ns"


async def test_what_the_operator_holds_is_left_out(desk: Desk) -> None:
    spans = [{"kind": "step", "startMs": 10 * i, "durationMs": 10, "step": i} for i in range(4)]
    desk.link.verdict = Accepted(Receipt(durable_ms=5), held_ms=30)
    for _ in range(2):
        assert (await desk.send(report(sentMs=40, spans=spans)))[1]["durableMs"] == 5
    desk.link.verdict = Unavailable("lost")
    await desk.send(report(sentMs=40, spans=spans), {"Authorization": "Bearer pod-b"})
    desk.now += 2.0
    assert (await desk.send(report(sentMs=40, spans=spans)))[0] == 503
    await desk.send(report(sentMs=40, spans=spans))
    told = [[span.step for span in Report.model_validate_json(raw).spans] for raw in desk.link.raw]
    whole, news = [0, 1, 2, 3], [2, 3]
    assert told == [whole, news, whole, news, whole], "another's is whole; so is what follows a loss"
    assert desk.link.since == [0, 30, 0, 30, 0]


async def test_memory_for_bodies_has_an_end(desk: Desk) -> None:
    desk.server.bodies.take(BODIES_BYTES - 100)
    assert (await desk.send(b"x" * 101))[0] == 429
    assert (await desk.send(b"x" * 99))[0] == 400
    desk.server.bodies.give(BODIES_BYTES - 100)


async def test_a_crowd_keeps_no_connection(desk: Desk) -> None:
    desk.server.connections = Connections(lambda _transport: None, lambda: True)
    assert (await desk.send())[2]["Connection"] == "close"


async def test_other_paths_and_methods(desk: Desk) -> None:
    assert (await desk.client.get("/healthz")).status == 200
    assert (await desk.client.get(REPORT_PATH)).status == 405
    answer = await desk.client.post("/v2/report")
    assert (answer.status, set(await answer.json())) == (404, {"error"})
