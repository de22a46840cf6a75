"""The short way of a report: a request that is written plainly is read and answered without an HTTP library.

A general server spends more time on a request than everything else that the ingest does with a report. A plain
request is a POST of a report whose head came whole, has only headers of `KNOWN`, each once, without anything unusual
in them, and tells the length of the body. Whatever else a connection sends is the general server's, and so is
the connection from then on: it gets every byte of that request and of all that follow.

Requests of a connection are answered one after the other. What comes meanwhile waits, `AHEAD` bytes at most; then
nothing more is read. Nor is anything answered to a client that does not read its answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import orjson

from drumline.api.report import MAX_REPORT_BYTES, REPORT_PATH
from drumline.runtime.ingest import server as general
from drumline.runtime.ingest.listener import Guard
from drumline.runtime.ingest.reading import Reading
from drumline.runtime.ingest.server import Refusal, Server
from drumline.runtime.ingest.verdicts import Reporter, Verdict

KNOWN: Final = frozenset(
    f"{name}".encode()
    for name in (
        "host",
        "authorization",
        "content-length",
        "content-type",
        "accept",
        "accept-encoding",
        "user-agent",
    )
)
MAX_HEAD: Final = 8190
AHEAD: Final = 64 * 1024
_START: Final = f"POST {REPORT_PATH} HTTP/1.1\r\n".encode()
_ANSWER: Final = b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Head:
    """What a plain request's head says. The body is `data[start:end]` of the data that it was read from."""

    authorization: str
    start: int
    end: int


def read_head(data: bytes) -> Head | None:
    """The head of the plain request that `data` begins with; None when it begins with anything else."""
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD)
    if end < 0 or not data.startswith(_START):
        return None
    head = data[len(_START) : end]
    lines = head.split(b"\r\n")
    if not head.isascii() or b"\0" in head or not head.count(b"\r") == head.count(b"\n") == len(lines) - 1:
        return None
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name not in KNOWN or name in fields:
            return None
        fields[name] = value.strip(b" \t")
    length = fields.get(b"content-length", b"")
    if not length.isdigit() or len(length) > 6 or int(length) > MAX_REPORT_BYTES:
        return None
    start = end + 4
    return Head(fields.get(b"authorization", b"").decode("ascii"), start, start + int(length))


class Door(asyncio.Protocol):
    """One connection, until it sends something that is not plain; then `other` makes the protocol that goes on."""

    def __init__(self, server: Server, other: Callable[[], asyncio.Protocol]) -> None:
        self._server = server
        self._other = other
        self._loop = asyncio.get_running_loop()
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport
        self._guard: Guard | None = None
        self._data = b""
        self._head: Head | None = None  # of the request that is being answered
        self._unread = 0  # bytes of `_data` that are this request's
        self._reporter: Reporter | None = None  # whose body is awaited
        self._late: asyncio.TimerHandle | None = None
        self._held = 0  # bytes of the budget
        self._review: asyncio.Task[None] | None = None
        self._clogged = self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is over."""
        self._transport = transport  # type: ignore[assignment]  # a stream is what TLS makes
        self._guard = self._server.connections.guard(transport)

    def data_received(self, data: bytes) -> None:
        """A request, several, or a part of one."""
        if self._inner is not None:
            self._inner.data_received(data)
            return
        self._data = self._data + data if self._data else data
        if self._head is None and not self._clogged:
            self._try(self._begin)
        elif self._head is not None and self._reporter is not None:
            self._try(self._read, self._head, self._reporter)
        elif len(self._data) > self._unread + AHEAD:
            self._pause()

    def eof_received(self) -> bool | None:
        """The client sends nothing more: what it does not hear is not answered."""
        return self._inner.eof_received() if self._inner is not None else None

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is over."""
        if self._inner is not None:
            self._inner.connection_lost(error)
        if self._review is not None:
            self._review.cancel()
        self._over()
        self._data = b""

    def pause_writing(self) -> None:
        """The client does not read."""
        self._clogged = True
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        self._clogged = False
        if self._inner is not None:
            self._inner.resume_writing()
        else:
            self._next()

    def _try(self, step: Callable[..., None], *arguments: Any) -> None:
        try:
            step(*arguments)
        except Refusal as refusal:
            self._refuse(refusal)
        except Exception:
            logger.exception("a report could not be answered")
            self._transport.abort()

    def _begin(self) -> None:
        if self._head is not None or self._inner is not None or not self._data:
            return
        head = read_head(self._data)
        if head is None:
            self._hand_over()
            return
        self._head, self._unread = head, head.end
        self._server.under_way += 1
        if self._guard is not None:
            self._guard.busy()
        reporter = self._server.known(head.authorization)
        if reporter is not None:
            self._admit(head, reporter)
            return
        self._pause()  # nobody's bytes are worth memory
        self._review = self._loop.create_task(self._reviewed(head))

    async def _reviewed(self, head: Head) -> None:
        try:
            address = str(self._transport.get_extra_info("peername")[0])
            reporter = await self._server.reporter(head.authorization, address)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        finally:
            self._review = None
        self._try(self._admit, head, reporter)

    def _admit(self, head: Head, reporter: Reporter) -> None:
        """The pod may send one more: read its body. Raises Refusal."""
        self._server.admit(reporter)
        if not self._server.bodies.take(head.end - head.start):
            raise general.too_many()
        self._held = head.end - head.start
        self._reporter = reporter
        self._read(head, reporter)
        if self._reporter is not None:
            self._late = self._loop.call_later(general.BODY_SECONDS, self._refuse, general.too_slow())
            self._resume()

    def _read(self, head: Head, reporter: Reporter) -> None:
        """Ask the operator as soon as the body is there. Raises Refusal."""
        if len(self._data) < head.end:
            return
        body, self._data = self._data[head.start : head.end], self._data[head.end :]
        self._unread, self._reporter = 0, None
        self._in_time()
        reading, verdict = self._server.submit(body, reporter)
        verdict.add_done_callback(lambda done: self._try(self._answer, done.result(), reading, reporter))

    def _answer(self, verdict: Verdict, reading: Reading, reporter: Reporter) -> None:
        self._say(200, self._server.answer(verdict, reading, reporter))

    def _refuse(self, refusal: Refusal) -> None:
        self._reporter = None
        if refusal.delay:
            self._pause()
            self._loop.call_later(refusal.delay, self._refused, refusal)
        else:
            self._refused(refusal)

    def _refused(self, refusal: Refusal) -> None:
        self._server.count(refusal)
        body = orjson.dumps({"error": refusal.message})
        more = "".join(f"{name}: {value}\r\n" for name, value in refusal.headers.items()).encode()
        self._say(refusal.status, body, more, close=refusal.close)

    def _say(self, status: int, body: bytes, more: bytes = b"", *, close: bool = False) -> None:
        """Answer, then go on with the next request."""
        self._over()
        if self._transport.is_closing():
            return
        close = close or len(self._data) < self._unread or self._server.connections.crowded()
        self._data, self._unread = self._data[self._unread :], 0
        if close:
            more += b"Connection: close\r\n"
        phrase = HTTPStatus(status).phrase.encode()
        self._transport.write(_ANSWER % (status, phrase, len(body), more, body))
        if close:
            self._transport.close()
            return
        if self._guard is not None:
            self._guard.idle()
        self._resume()
        self._next()

    def _over(self) -> None:
        """The request is answered, or nobody is there any more."""
        self._server.under_way -= self._head is not None
        self._server.bodies.give(self._held)
        self._head, self._reporter, self._held = None, None, 0
        self._in_time()

    def _in_time(self) -> None:
        """The body is there, or not awaited any more."""
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _next(self) -> None:
        if self._data and not self._clogged:
            self._loop.call_soon(self._try, self._begin)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _hand_over(self) -> None:
        """The rest is the general server's."""
        inner = self._inner = self._other()
        if self._guard is not None:
            self._guard.data_received = inner.data_received  # type: ignore[method-assign]  # the shorter way
        data, self._data = self._data, b""
        inner.connection_made(self._transport)
        inner.data_received(data)
