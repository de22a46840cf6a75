"""A proxy before the API server that sees every request of a client and may act around each of its writes.

TLS on both sides; the client's bearer token is passed on. Leases are passed through and not counted, since an
operator renews them all the time; dry runs change nothing and are not counted either.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp import web

from e2e.cluster import ports
from e2e.cluster.embedded import EmbeddedCluster

WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HOP: Final = frozenset({"host", "connection", "transfer-encoding", "content-length", "content-encoding"})


@dataclass(frozen=True)
class Write:
    """One write request, numbered from 1."""

    number: int
    method: str
    path: str


class Interrupted(Exception):  # noqa: N818 - not an error of this program
    """Raised by a hook to cut the client's connection instead of going on."""


Hook = Callable[[Write], Awaitable[None]]


async def _nothing(_write: Write) -> None:
    """Do nothing."""


@dataclass
class Hooks:
    """What happens around a write: before it is sent on, once it is sent and not answered, after the answer."""

    before: Hook = _nothing
    during: Hook = _nothing
    after: Hook = _nothing


@dataclass
class WriteProxy:
    """Serves on loopback while it is entered. `writes` lists what was seen since `reset`."""

    cluster: EmbeddedCluster
    hooks: Hooks = field(default_factory=Hooks)
    writes: list[Write] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where the client reaches the proxy."""
        return f"https://127.0.0.1:{self._port.number}"

    def reset(self, hooks: Hooks | None = None) -> None:
        """Count from 1 again, with other hooks."""
        self.writes = []
        self.hooks = hooks or Hooks()

    async def __aenter__(self) -> Self:
        self._port = ports.reserve()
        pair = self.cluster.pki.server(f"proxy-{self._port.number}", ["127.0.0.1"])
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(pair.cert, pair.key)
        upstream = ssl.create_default_context(cafile=str(self.cluster.ca))
        connector = aiohttp.TCPConnector(ssl=upstream, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port.number, ssl_context=serving).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._runner.cleanup()
        self._port.release()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._pass(request)
        except (Interrupted, aiohttp.ClientError, ConnectionError):
            # One of the two sides went away, or is to believe so: the other must see the connection cut.
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if not _counts(request):
            return await self._forward(request, body)
        write = Write(len(self.writes) + 1, request.method, request.path)
        self.writes.append(write)
        await self.hooks.before(write)
        answer = await self._forward(request, body, lambda: self.hooks.during(write))
        await answer.write_eof()
        await self.hooks.after(write)
        return answer

    async def _forward(
        self, request: web.Request, body: bytes, sent: Callable[[], Awaitable[None]] | None = None
    ) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        url = self.cluster.url + request.raw_path
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.request(
            request.method, url, data=body or None, headers=headers, timeout=timeout
        ) as upstream:
            # The server has acted when its answer begins; the client knows nothing of it yet.
            if sent is not None:
                await sent()
            answer = web.StreamResponse(status=upstream.status)
            answer.headers.update(
                {k: v for k, v in upstream.headers.items() if k.lower() not in _HOP - {"content-encoding"}}
            )
            await answer.prepare(request)
            async for chunk in upstream.content.iter_any():
                await answer.write(chunk)
            return answer


def _counts(request: web.Request) -> bool:
    dry = "dryRun" in request.query
    return request.method in WRITES and "/leases" not in request.path and not dry
