"""The operator's HTTP client with the model in place of the network: retries, fence and limits are the real ones.

A request travels for a moment, is carried out, and its answer travels back. A fault may strike it: it is refused,
it is lost on its way, its answer is lost, or it is carried out long after its sender has given up. A sender that
dies stops neither.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

from drumline.runtime.errors import RequestTimeout, Unavailable, error_of_status
from drumline.runtime.http import APPLY_PATCH, JSON_PATCH, STRATEGIC_PATCH, Client, _Call
from drumline.runtime.limiter import Limiter
from e2e.chaos.model import answers
from e2e.chaos.model.patch import merged, strategic
from e2e.chaos.model.server import OWN, Document, Server
from e2e.chaos.weather import Weather

TRAVEL = (0.001, 0.02)  # seconds, one way
LATE = 12.0  # a lost request may be carried out so much later
WATCH_LAG = 0.2
VERSION = "version"  # of the API server, which is no resource
DISCOVERY = "discovery"  # nor is what an API group consists of
KINDS = {"drumline.dev": OWN, "policy": ("poddisruptionbudgets",)}  # by group, as far as anybody asks
CLUSTER_SCOPED = frozenset({"nodes", "priorityclasses", "namespaces", "acceleratorqueues"})


class NoConnection:
    """Stands where the client wants to know how to connect."""

    host = "http://model"
    tls = None
    server_hostname = None
    proxy = None

    async def authorization(self) -> str | None:
        """Nobody asks who we are."""
        return None

    async def refresh(self, refused: str | None) -> bool:
        """There is nothing newer."""
        return False


@dataclass(frozen=True, slots=True)
class Request:
    """What a URL and a method ask for."""

    verb: str
    resource: str
    key: tuple[str, str]
    status: bool
    params: Mapping[str, str]


def parsed(method: str, url: str) -> Request:
    """Take a URL of the Kubernetes API apart."""
    split = urlsplit(url)
    parts = [unquote(part) for part in split.path.strip("/").split("/")]
    group = parts[1] if parts[0] == "apis" else ""
    parts = (parts[2:] if parts[0] == "api" else parts[3:]) or ([DISCOVERY, group] if group else [VERSION])
    namespace = parts[1] if parts[0] == "namespaces" and len(parts) > 2 else ""
    rest = parts[2:] if namespace else parts
    name = rest[1] if len(rest) > 1 else ""
    return Request(method, rest[0], (namespace, name), rest[2:] == ["status"], dict(parse_qsl(split.query)))


class ModelClient(Client):
    """A connection of one process. Once `dead` nothing of it leaves any more, what is under way arrives."""

    def __init__(self, server: Server, weather: Weather, chance: random.Random) -> None:
        super().__init__(NoConnection(), limiter=Limiter(in_flight=64))
        self.server, self.weather, self.chance = server, weather, chance
        self.dead = False
        self.writes = 0

    async def _once(self, call: _Call) -> Any:
        loop = asyncio.get_running_loop()
        request = parsed(call.method, call.url)
        fault = self._fault(request)
        if self.dead or self.weather.down or fault == "refused":
            await asyncio.sleep(0.01)
            raise Unavailable(f"{call.method} {call.url}: no connection")
        if fault in ("throttled", "internal", "conflict"):
            await asyncio.sleep(self._travel())
            raise _error(_refusal(fault, request))
        answer: asyncio.Future[Any] = loop.create_future()
        late = self.chance.random() * LATE if fault == "late" else 0.0
        if fault != "lost":
            loop.call_later(self._travel() + late, self._arrive, request, call, answer)
        return await self._answered(call, answer, fault)

    async def _answered(self, call: _Call, answer: asyncio.Future[Any], fault: str) -> Any:
        if fault in ("lost", "late"):
            await asyncio.sleep(call.timeout.total or 10.0)
            raise RequestTimeout(f"{call.method} {call.url}: no answer in time")
        result = await answer
        await asyncio.sleep(self._travel())
        if fault == "cut":
            raise Unavailable(f"{call.method} {call.url}: the connection was cut")
        if isinstance(result, answers.Refused):
            raise _error(result)
        return result

    def _arrive(self, request: Request, call: _Call, answer: asyncio.Future[Any]) -> None:
        try:
            result: Any = carry_out(self.server, request, call)
        except answers.Refused as refused:
            result = refused
        if not answer.done():
            answer.set_result(result)

    def _fault(self, request: Request) -> str:
        if self.chance.random() >= self.weather.faults:
            return ""
        kinds = ["refused", "throttled", "internal", "lost", "cut", "late"]
        return self.chance.choice(kinds if request.verb == "GET" else [*kinds, "conflict", "cut"])

    def _travel(self) -> float:
        return self.chance.uniform(*TRAVEL)

    async def stream_lines(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        inactivity: float = 90.0,
        longest: int = 0,
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch, a little late; cut short by bad weather."""
        given = params or {}
        resource = parsed("GET", path).resource
        version = int(given["resourceVersion"])
        wanted = selector(str(given.get("labelSelector", "")))
        ends = asyncio.get_running_loop().time() + float(given.get("timeoutSeconds", 300))
        while asyncio.get_running_loop().time() < ends:
            self._check_watch(path)
            try:
                events = self.server.since(resource, version)
            except answers.Refused as refused:
                yield orjson.dumps({"type": "ERROR", "object": refused.document})
                return
            for event in events:
                version = event.version
                if wanted(event.document):
                    yield orjson.dumps({"type": event.kind, "object": event.document})
            await self._news(resource, version)

    def _check_watch(self, path: str) -> None:
        if self.dead or self.weather.down or self.chance.random() < self.weather.cuts:
            raise Unavailable(f"GET {path}: the watch was cut")

    async def _news(self, resource: str, version: int) -> None:
        """Wait until there is something newer, then for its way here."""
        await self.server.changed(resource, version)
        await asyncio.sleep(self.chance.random() * WATCH_LAG)


def _error(refused: answers.Refused) -> Exception:
    return error_of_status(refused.document, refused.document["code"])


def _refusal(fault: str, request: Request) -> answers.Refused:
    if fault == "throttled":
        return answers.throttled()
    if fault == "internal":
        return answers.internal()
    return answers.modified(request.resource, "", request.key[1])


def selector(text: str) -> Callable[[Document], bool]:
    """Whether an object has all of the labels ``a=b,c=d``."""
    wanted = dict(part.split("=", 1) for part in text.split(",") if part)

    def matches(document: Document) -> bool:
        labels = document["metadata"].get("labels") or {}
        return all(labels.get(key) == value for key, value in wanted.items())

    return matches


def carry_out(server: Server, request: Request, call: _Call) -> Any:
    """Do what a request asks for; raises Refused."""
    body = orjson.loads(call.data) if call.data is not None else {}
    if request.verb == "GET":
        return _read(server, request)
    if request.verb == "POST":
        space = {} if request.resource in CLUSTER_SCOPED else {"namespace": request.key[0]}
        body = {**body, "metadata": {**space, **body["metadata"]}}
        return server.create(request.resource, body, dry="dryRun" in request.params)
    if request.verb == "DELETE":
        uid = (body.get("preconditions") or {}).get("uid", "")
        return server.delete(request.resource, request.key, uid, body.get("gracePeriodSeconds"))
    return _changed(server, request, call.content_type, body)


def _changed(server: Server, request: Request, content_type: str, body: Any) -> Any:
    if content_type == JSON_PATCH:
        return server.json_patch(request.resource, request.key, body, request.status)
    if content_type == APPLY_PATCH:
        return server.apply(request.resource, request.key, body)
    if request.verb == "PUT":
        return server.patch(request.resource, request.key, lambda _: body, request.status)
    merge = strategic if content_type == STRATEGIC_PATCH else merged
    return server.patch(request.resource, request.key, lambda d: merge(d, body), request.status)


def _read(server: Server, request: Request) -> Any:
    namespace, name = request.key
    if request.resource == VERSION:
        return {"major": "1", "minor": "36"}
    if request.resource == DISCOVERY:
        return {"resources": [{"name": kind} for kind in KINDS.get(name, ())]}
    if name:
        return server.get(request.resource, request.key)
    wanted = selector(request.params.get("labelSelector", ""))
    found = [d for d in server.all(request.resource) if wanted(d)]
    if namespace:
        found = [d for d in found if d["metadata"]["namespace"] == namespace]
    return {"metadata": {"resourceVersion": str(server.version)}, "items": found}
