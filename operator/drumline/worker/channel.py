"""Requests over one connection, of which the next may be sent before the last is answered.

The server holds a poll for long. What the process does meanwhile has to be told at once, and over a connection of
its own that would cost the server a handshake, for a thousand launchers at the same moment. So the next request
follows on the same connection, which ends the hold, and both are answered in their order. `http.client` cannot do
that. Answers have a length: what else HTTP knows is an error here.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from drumline.worker import transport
from drumline.worker.transport import Answer

_MAX_HEAD: Final = 16_384
_MAX_ANSWER: Final = 65_536
_NOT_YET: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


class Channel:
    """A connection to one URL, opened when it is needed. Not thread-safe. All but `close` raise OSError, ValueError."""

    def __init__(
        self, url: str, token_file: str, ca_file: str, timeout: float = transport.TIMEOUT_SECONDS
    ) -> None:
        self.waiting = 0  # answers that are to come
        self._url = urlsplit(url)
        self._token_file = Path(token_file)
        self._ca_file = Path(ca_file)
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._buffer = b""

    def post(self, body: bytes) -> None:
        """Send a request."""
        token = transport.token(self._token_file)
        head = (
            f"POST {self._url.path or '/'} HTTP/1.1\r\nHost: {self._url.netloc}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        link = self._socket or self._open()
        link.settimeout(self._timeout)
        link.sendall(head.encode("ascii") + body)
        link.settimeout(0)
        self.waiting += 1

    def receive(self, seconds: float, wake: int) -> Answer | None:
        """The next answer; None when `seconds` are over, or there is something to read from `wake`."""
        deadline = time.monotonic() + seconds
        while self._socket is not None:
            answer = self._answer()
            if answer is not None:
                return answer
            try:
                data = self._socket.recv(_MAX_ANSWER)
            except _NOT_YET:
                if not _readable(self._socket, wake, deadline - time.monotonic()):
                    return None
                continue
            if not data:
                raise ConnectionResetError("the server hung up")
            self._buffer += data
        raise ConnectionError("there is no connection")

    def close(self) -> None:
        """Hang up; what was asked is not answered any more."""
        link, self._socket = self._socket, None
        self.waiting, self._buffer = 0, b""
        if link is not None:
            with contextlib.suppress(OSError):
                link.close()

    def _open(self) -> socket.socket:
        made = transport.connection(self._url, self._ca_file, self._timeout)
        made.connect()
        link = made.sock
        if link is None:
            raise ConnectionError("there is no connection")
        self._socket = link
        return link

    def _answer(self) -> Answer | None:
        """The first answer, if it has come whole."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise ValueError("an answer's head is too long")
            return None
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(fields.get("content-length", "0"))
        if "transfer-encoding" in fields or not 0 <= length <= _MAX_ANSWER:
            raise ValueError("an answer of no known length")
        whole = end + 4 + length
        if len(self._buffer) < whole:
            return None
        body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
        self.waiting -= 1
        if fields.get("connection", "").lower() == "close":
            self.close()
        status = int(first.split()[1])
        return Answer(status, transport.document(body), transport.seconds(fields.get("retry-after")))


def _readable(link: socket.socket, wake: int, seconds: float) -> bool:
    """Wait; whether the connection alone has something."""
    poll = select.poll()
    poll.register(link, select.POLLIN)
    poll.register(wake, select.POLLIN)
    found = dict(poll.poll(max(seconds, 0.0) * 1000))
    return bool(found) and wake not in found
