"""A worker's identity, a clock that a test turns, a sender that keeps what it was given, a TLS server."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from drumline.api.report import Receipt, Report
from drumline.worker.client import Reporter
from drumline.worker.identity import Identity, identity
from drumline.worker.transport import Answer
from e2e.cluster.pki import Pki

ENVIRONMENT = {
    "DRUMLINE_JOB": "llama",
    "DRUMLINE_JOB_NAMESPACE": "research",
    "DRUMLINE_JOB_UID": "0a1b",
    "DRUMLINE_ATTEMPT": "3",
    "DRUMLINE_EPOCH": "0",
    "DRUMLINE_SLICE": "0",
    "DRUMLINE_WORKER": "0",
    "DRUMLINE_REPORT_URL": "https://ingest.drumline.svc:8443/v1/report",
}


class Clock:
    """Milliseconds."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


class Memory:
    """Keeps reports and answers from a list; "durable up to 0" when that is empty."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.answers: list[Answer] = []

    def send(self, body: bytes) -> Answer:
        self.reports.append(json.loads(body))
        return self.answers.pop(0) if self.answers else Answer(200, {"durableMs": 0})

    def close(self) -> None:
        pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def who() -> Identity:
    return identity(ENVIRONMENT)


@pytest.fixture
def reporter(who: Identity, memory: Memory, clock: Clock) -> Reporter:
    return Reporter(who, memory, clock)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"), datetime.now(UTC) - timedelta(hours=1))  # noqa: TID251


class Ingest:
    """Takes reports as the operator's ingest does; `answers` come first."""

    def __init__(self) -> None:
        self.url = ""
        self.token = "first"
        self.reports: list[Report] = []
        self.peers: set[int] = set()
        self.answers: list[web.Response] = []
        self.hang = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername")[1])
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"error": "who are you?"}, status=401)
        self.reports.append(Report.model_validate_json(await request.read()))
        if self.answers:
            return self.answers.pop(0)
        return web.json_response(Receipt(durable_ms=0, interval_seconds=7).to_json())

    async def never(self, request: web.Request) -> web.StreamResponse:
        await self.hang.wait()
        return web.Response()


@pytest.fixture
async def ingest(pki: Pki) -> AsyncIterator[Ingest]:
    served = Ingest()
    pair = pki.server("ingest", ["127.0.0.1", "localhost"])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.cert, pair.key)
    application = web.Application()
    application.router.add_post("/v1/report", served.handle)
    application.router.add_post("/never", served.never)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    served.url = f"https://127.0.0.1:{runner.addresses[0][1]}/v1/report"
    yield served
    served.hang.set()
    await runner.cleanup()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first\n")
    return path
