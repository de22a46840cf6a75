"""A proxy between one operator and the API server that spoils its traffic by lot, and knows all that was written.

A request is refused (409, 429 with Retry-After, 500), lost, delayed beyond the client's patience and carried out
all the same, or its answer is cut off, at once or half-way. Watches are cut in the middle of a line, or told that
their version has expired. Requests on leases are struck too.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from e2e.chaos.model import answers
from e2e.chaos.weather import Weather
from e2e.cluster.proxy import WRITES, Interrupted, WriteProxy

PATIENCE = 11.0  # seconds: longer than the operator waits for an answer
LATE = (0.5, 6.0)
REFUSALS: dict[str, Callable[[], answers.Refused]] = {
    "throttled": answers.throttled,
    "internal": answers.internal,
    "conflict": lambda: answers.conflict("objects", "", "x", "the object has been modified"),
}
EXPIRED = json.dumps({"type": "ERROR", "object": answers.expired().document}).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Sent:
    """A write that was passed on to the API server, and when (monotonic seconds)."""

    at: float
    method: str
    path: str

    @property
    def is_lease(self) -> bool:
        """Whether it is of the election."""
        return "/leases" in self.path


@dataclass
class FaultProxy(WriteProxy):
    """Serves on loopback while it is entered. `sent` is all that was written through it."""

    weather: Weather = field(default_factory=Weather)
    chance: random.Random = field(default_factory=random.Random)
    sent: list[Sent] = field(default_factory=list)
    _watches: dict[int, web.Request] = field(default_factory=dict)
    _expired: int = 0  # watches that begin before this number are told so
    _begun: dict[str, int] = field(default_factory=dict)

    def gap(self) -> None:
        """Cut every watch; the next one of each path learns that its version has expired."""
        self._expired += 1
        self.cut()

    def cut(self) -> None:
        """Cut every watch."""
        for request in list(self._watches.values()):
            if request.transport is not None:
                request.transport.abort()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await super()._handle(request)
        except RuntimeError:  # what was under way when the proxy ended
            if not self._session.closed:
                raise
            return web.Response(status=502)

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if "watch" in request.query:
            return await self._watch(request)
        fault = self._draw(request)
        if self.weather.down or fault == "refused":
            raise Interrupted
        if fault in REFUSALS:
            refused = REFUSALS[fault]()
            headers = {"Retry-After": "1"} if fault == "throttled" else {}
            return web.json_response(refused.document, status=refused.document["code"], headers=headers)
        if fault == "lost":
            await asyncio.sleep(PATIENCE)
            raise Interrupted
        if fault == "late":
            await asyncio.sleep(self.chance.uniform(*LATE))
        return await self._send_on(request, body, fault)

    async def _send_on(self, request: web.Request, body: bytes, fault: str) -> web.StreamResponse:
        if request.method in WRITES and "dryRun" not in request.query:
            self.sent.append(Sent(time.monotonic(), request.method, request.path))
        if fault not in ("cut", "late", "truncated"):
            return await self._forward(request, body)
        headers = {k: v for k, v in request.headers.items() if k.lower() in ("authorization", "content-type")}
        url = self.cluster.url + request.raw_path
        async with self._session.request(request.method, url, data=body or None, headers=headers) as upstream:
            whole = await upstream.read()
        if fault == "truncated":
            answer = web.StreamResponse(status=upstream.status, headers={"Content-Length": str(len(whole))})
            await answer.prepare(request)
            await answer.write(whole[: len(whole) // 2])
        raise Interrupted

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        if self.weather.down or self.chance.random() < self.weather.cuts:
            raise Interrupted
        kind = request.path
        if self._begun.get(kind, 0) < self._expired:
            self._begun[kind] = self._expired
            return web.Response(body=EXPIRED, content_type="application/json")
        self._watches[id(request)] = request
        try:
            return await self._stream(request)
        finally:
            self._watches.pop(id(request), None)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() == "authorization"}
        async with self._session.get(
            self.cluster.url + request.raw_path, headers=headers, timeout=None
        ) as up:
            answer = web.StreamResponse(status=up.status, headers={"Content-Type": "application/json"})
            await answer.prepare(request)
            async for chunk in up.content.iter_any():
                if self.chance.random() < self.weather.cuts:
                    await answer.write(chunk[: len(chunk) // 2])
                    raise Interrupted
                await answer.write(chunk)
            return answer

    def _draw(self, request: web.Request) -> str:
        if self.chance.random() >= self.weather.faults:
            return ""
        kinds = ["refused", "throttled", "internal", "lost", "cut", "late", "truncated"]
        return self.chance.choice(kinds if request.method == "GET" else [*kinds, "conflict"])
