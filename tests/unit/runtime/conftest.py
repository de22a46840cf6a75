"""A small HTTP server that answers as a test tells it to, and clients of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from drumline.runtime.http import Client

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PlainConnection:
    """A server without TLS; the token changes when it is refreshed."""

    tls = None
    server_hostname = None
    proxy = None

    def __init__(self, host: str) -> None:
        self.host = host
        self.tokens = ["first"]
        self.refreshes = 0

    async def authorization(self) -> str | None:
        return f"Bearer {self.tokens[0]}"

    async def refresh(self, refused: str | None) -> bool:
        self.refreshes += 1
        if len(self.tokens) == 1:
            return False
        self.tokens.pop(0)
        return True


class Served:
    """Answers requests from `answers`, in order, and remembers them."""

    def __init__(self) -> None:
        self.answers: list[Handler] = []
        self.requests: list[tuple[str, str, bytes]] = []
        self.tokens: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, await request.read()))
        self.tokens.append(request.headers.get("Authorization", ""))
        return await self.answers.pop(0)(request)

    def say(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.json_response(body, status=status, headers=headers)

        self.answers.append(answer)

    def fail(self, status: int, reason: str, **fields: object) -> None:
        headers = {"Retry-After": str(fields.pop("retry_after"))} if "retry_after" in fields else None
        self.say(status, {"kind": "Status", "reason": reason, "code": status, **fields}, headers)

    def hang_up(self) -> None:
        async def answer(request: web.Request) -> web.Response:
            assert request.transport is not None
            request.transport.close()
            return web.Response()

        self.answers.append(answer)

    def stream(self, *chunks: bytes, forever: bool = False) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for chunk in chunks:
                await response.write(chunk)
            if forever:
                await asyncio.get_running_loop().create_future()
            return response

        self.answers.append(answer)


@pytest.fixture
async def served() -> Served:
    return Served()


@pytest.fixture
async def connection(served: Served) -> AsyncIterator[PlainConnection]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", served.handle)
    async with TestServer(application) as server:
        yield PlainConnection(str(server.make_url("")).rstrip("/"))


@pytest.fixture
async def client(connection: PlainConnection, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr("drumline.runtime.http.random.random", lambda: 0.0)
    async with Client(connection) as client:
        yield client
