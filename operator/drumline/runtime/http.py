"""Requests to the API server over aiohttp: typed errors, bounded retries, the write fence.

A request that failed in a way that may pass is repeated a few times with growing, jittered pauses, if
repeating is safe: reads always; writes when the server did not carry them out (429), or when doing them
twice does no more than once (`repeatable`: a create with a chosen name, a delete or patch with a uid or
resourceVersion precondition, a server-side apply).

Every write waits for the limiter, then asks the fence. Writes have connections of their own, whose sockets
ask the fence again just before they send (`http_fence`).
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self
from urllib.request import getproxies

import aiohttp
import orjson
from yarl import URL

from drumline import __version__
from drumline.runtime.errors import (
    ApiError,
    RequestTimeout,
    Throttled,
    TransientError,
    Unauthorized,
    Unavailable,
    error_of,
)
from drumline.runtime.http_fence import Fence, fenced_sockets, no_fence
from drumline.runtime.http_paths import request_labels, with_params
from drumline.runtime.limiter import Limiter

JSON: Final = "application/json"
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"  # JSON is YAML

Observer = Callable[[str, str, str], None]  # verb, resource, code

MAX_RETRY_AFTER: Final = 30.0  # seconds
CONNECT_TIMEOUT: Final = 10.0  # seconds


class Connection(Protocol):
    """Where the API server is and who we are to it."""

    @property
    def host(self) -> str:
        """Base URL without a trailing slash."""

    @property
    def tls(self) -> ssl.SSLContext | None:
        """How to verify the server; None only for plain HTTP."""

    @property
    def server_hostname(self) -> str | None:
        """The name its certificate must have, when that differs from the host."""

    @property
    def proxy(self) -> str | None:
        """URL of an HTTP proxy."""

    async def authorization(self) -> str | None:
        """Authorization header; None = a client certificate, or nothing."""

    async def refresh(self, refused: str | None) -> bool:
        """Get newer credentials than `refused`; False when there are none."""


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    url: str  # path and query
    timeout: aiohttp.ClientTimeout
    labels: tuple[str, str]
    data: bytes | None = None
    content_type: str = JSON


class Client:
    """The API server. `fence` is called before every write and may raise; `observer` counts requests."""

    def __init__(
        self,
        connection: Connection,
        *,
        limiter: Limiter | None = None,
        fence: Fence = no_fence,
        observer: Observer | None = None,
        attempts: int = 5,
        timeout: float = 10.0,
        connections: int = 0,
    ) -> None:
        self.fence = fence
        self.observer = observer
        self.limiter = limiter
        self._connection = connection
        self._attempts = attempts
        self._timeout = timeout
        self._connections = connections
        self._sessions: dict[bool, aiohttp.ClientSession] = {}  # by: does it write

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. Requests still open fail with Unavailable."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Mapping[str, Any] | list[Any] | None = None,
        params: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        seconds: float | None = None,
        repeatable: bool | None = None,
        attempts: int | None = None,
    ) -> Any:
        """Parsed JSON answer; None for an empty one.

        `seconds` is the time limit of each try. `repeatable` defaults to true except for POST. Raises
        ApiError (see drumline.runtime.errors) and whatever the fence raises.
        """
        call = _Call(
            method=method,
            url=with_params(path, params),
            data=body if body is None or isinstance(body, bytes) else orjson.dumps(body),
            content_type=content_type,
            timeout=aiohttp.ClientTimeout(total=seconds or self._timeout),
            labels=request_labels(method, path, params),
        )
        repeatable = method != "POST" if repeatable is None else repeatable
        for attempt in range(1, attempts or self._attempts):
            try:
                return await self._limited(call)
            except TransientError as error:
                if not (repeatable or isinstance(error, Throttled | Unauthorized)):
                    raise
                await self._pause(error, attempt)
        return await self._limited(call)

    async def stream_lines(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        inactivity: float = 90.0,
        longest: int = 0,
    ) -> AsyncGenerator[bytes, None]:
        """Lines of a watch or a log as they come; what is beyond `longest` bytes of one is cut off, 0 = nothing.

        Raises RequestTimeout after `inactivity` seconds of silence.
        """
        call = _Call(
            method="GET",
            url=with_params(path, params),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=inactivity),
            labels=request_labels("GET", path, params),
        )
        with self._translated(call):
            async with await self._send(call) as response:
                if response.status >= 400:
                    raise await _error(response)
                self._count(call, str(response.status))
                async for line in _lines(response.content, longest):
                    yield line

    async def _limited(self, call: _Call) -> Any:
        if call.method == "GET":
            return await self._once(call)
        async with self.limiter.slot() if self.limiter else nullcontext():
            self.fence()
            return await self._once(call)

    async def _once(self, call: _Call) -> Any:
        with self._translated(call):
            async with await self._send(call) as response:
                if response.status >= 400:
                    raise await _error(response)
                raw = await response.read()
        self._count(call, str(response.status))
        return orjson.loads(raw) if raw else None

    @contextmanager
    def _translated(self, call: _Call) -> Iterator[None]:
        """Turn what the HTTP library raises into ApiError, and count failures."""
        try:
            yield
        except ApiError as error:
            self._count(call, str(error.status))
            raise
        except TimeoutError as error:
            self._count(call, "timeout")
            raise RequestTimeout(f"{call.method} {call.url}: no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            self._count(call, "error")
            raise Unavailable(f"{call.method} {call.url}: {str(error) or type(error).__name__}") from error

    async def _send(self, call: _Call) -> aiohttp.ClientResponse:
        authorization = await self._connection.authorization()
        headers = {"Content-Type": call.content_type} if call.data is not None else {}
        if authorization:
            headers["Authorization"] = authorization
        response = await self._session(writes=call.method != "GET").request(
            call.method,
            URL(self._connection.host + call.url, encoded=True),
            data=call.data,
            headers=headers,
            timeout=call.timeout,
            allow_redirects=False,
            proxy=self._connection.proxy,
            server_hostname=self._connection.server_hostname,
        )
        if response.status == 401 and await self._connection.refresh(authorization):
            response.release()
            raise Unauthorized("the credentials have been refreshed", status=401)
        return response

    def _session(self, *, writes: bool) -> aiohttp.ClientSession:
        """The session for reads or writes, opened on first use since it belongs to the running loop."""
        session = self._sessions.get(writes)
        if session is None:
            session = self._sessions[writes] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections,
                    ssl=self._connection.tls if self._connection.tls is not None else True,
                    keepalive_timeout=60,
                    socket_factory=fenced_sockets(self._ask_fence) if writes else None,
                ),
                headers={
                    "Accept": JSON,
                    "Accept-Encoding": "identity",
                    "User-Agent": f"drumline/{__version__}",
                },
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=bool(getproxies()),
            )
        return session

    def _ask_fence(self) -> None:
        self.fence()

    async def _pause(self, error: TransientError, attempt: int) -> None:
        """Wait before the next try: as long as the server asked, else growing, with jitter."""
        if isinstance(error, Unauthorized):
            return
        asked = min(error.retry_after, MAX_RETRY_AFTER)
        if isinstance(error, Throttled) and self.limiter:
            self.limiter.pause(asked)
        backoff = min(0.1 * 2.0**attempt, 5.0)
        await asyncio.sleep(asked + backoff * random.random())  # noqa: S311 - jitter, not a secret

    def _count(self, call: _Call, code: str) -> None:
        if self.observer:
            self.observer(*call.labels, code)


async def _lines(content: aiohttp.StreamReader, longest: int) -> AsyncIterator[bytes]:
    """Lines, cut at `longest` bytes unless it is 0. A last line without its end is dropped: the stream broke."""
    tail = b""
    async for chunk in content.iter_any():
        *lines, tail = (tail + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line[:longest] if longest else line
        if longest:
            tail = tail[:longest]


async def _error(response: aiohttp.ClientResponse) -> ApiError:
    return error_of(response.status, await response.read(), _retry_after(response))


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """Seconds the server asks us to wait; Kubernetes never sends the date form."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0
