"""Connections: how many, from where, and for how long one may say nothing.

Connections are counted before TLS begins, since a handshake is the dearest part of them. One that does not
finish its handshake or its first request's headers within `HEADER_SECONDS`, or that is idle for
`IDLE_SECONDS`, is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from asyncio import sslproto
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

HEADER_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 30.0
BACKLOG: Final = 1024
PAUSE_SECONDS: Final = 0.1
TLS_BUFFER: Final = 32 * 1024  # bytes of each connection; asyncio's own choice is 256 KiB, all of it touched

logger = logging.getLogger(__name__)

Factory = Callable[[], asyncio.Protocol]


class Guard(asyncio.Protocol):
    """Stands before the HTTP protocol of one connection and ends it when it is silent for too long."""

    def __init__(self, inner: asyncio.Protocol, listener: Listener, address: str) -> None:
        self._inner = inner
        self._listener = listener
        self.address = address
        self.counted = True
        self._timer: asyncio.TimerHandle | None = None  # comes at the deadline or before
        self._deadline: float | None = None  # in the loop's seconds
        self.transport: asyncio.Transport | None = None
        self.data_received = inner.data_received  # type: ignore[method-assign]  # the hot path
        self._stirred: Callable[[], None] | None = None
        self._passed = self.data_received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is over."""
        self.transport = transport  # type: ignore[assignment]  # streams are what TLS makes
        self._wait(HEADER_SECONDS)
        self._listener.opened(self)
        self._inner.connection_made(transport)

    def eof_received(self) -> bool | None:
        """The client sends nothing more."""
        return self._inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is over."""
        self.busy()
        if self._timer is not None:
            self._timer.cancel()
        if self._stirred is not None:
            self._stirred()
        self._inner.connection_lost(error)
        self._listener.closed(self)

    def pause_writing(self) -> None:
        """The client does not read."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        self._inner.resume_writing()

    def watch(self, stirred: Callable[[], None]) -> None:
        """Have it called when the client sends more, or hangs up, until `unwatch`."""
        self._stirred, self._passed = stirred, self.data_received
        self.data_received = self._stir  # type: ignore[method-assign]

    def unwatch(self) -> None:
        """Let data pass unseen again."""
        if self._stirred is not None:
            self._stirred = None
            self.data_received = self._passed  # type: ignore[method-assign]

    def _stir(self, data: bytes) -> None:
        if self._stirred is not None:
            self._stirred()
        self._passed(data)

    def busy(self) -> None:
        """A request is being answered: its handler has time limits of its own."""
        self._deadline = None

    def idle(self) -> None:
        """The request has been answered."""
        if self.transport is not None and not self.transport.is_closing():
            self._wait(IDLE_SECONDS)

    def _wait(self, seconds: float) -> None:
        """Cut off in so many seconds. A timer that comes sooner is left to come: making one is dear."""
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._deadline is None or self.transport is None:
            return
        left = self._deadline - asyncio.get_running_loop().time()
        if left > 0:
            self._wait(left)
        else:
            self.transport.abort()


class Listener:
    """Accepts connections for the HTTP protocol that `factory` makes."""

    def __init__(self, factory: Factory, tls: ssl.SSLContext, most: int, most_per_address: int) -> None:
        self._factory = factory
        self._tls = tls
        self._most = most
        self._most_per_address = most_per_address
        self._addresses: Counter[str] = Counter()
        self._guards: dict[Any, Guard] = {}  # by transport
        self._opening: set[asyncio.Task[None]] = set()
        self._accepting: list[asyncio.Task[None]] = []
        self._sockets: list[socket.socket] = []
        self.open = 0
        self.refused = 0
        sslproto.SSLProtocol.max_size = TLS_BUFFER

    @property
    def crowded(self) -> bool:
        """Whether more than three fourths of all connections are taken: keep none longer than needed."""
        return 4 * self.open > 3 * self._most

    def start(self, host: str, port: int) -> int:
        """Listen; the port. Raises OSError."""
        for found in _sockets(host, port):
            self._sockets.append(found)
            self._accepting.append(asyncio.create_task(self._accept(found)))
        return int(self._sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the port; open connections stay."""
        for task in (*self._accepting, *self._opening):
            task.cancel()
        await asyncio.gather(*self._accepting, *self._opening, return_exceptions=True)
        for found in self._sockets:
            found.close()

    def guard(self, transport: Any) -> Guard | None:
        """The guard of a connection."""
        return self._guards.get(transport)

    def opened(self, guard: Guard) -> None:
        """A connection may send requests."""
        self._guards[guard.transport] = guard

    def closed(self, guard: Guard) -> None:
        """A connection is over, or never came to be."""
        self._guards.pop(guard.transport, None)
        if guard.counted:
            guard.counted = False
            self.open -= 1
            self._addresses[guard.address] -= 1
            if not self._addresses[guard.address]:
                del self._addresses[guard.address]

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                logger.warning("cannot accept a connection: %s", error)
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            self._take(accepted, str(address[0]))

    def _take(self, accepted: socket.socket, address: str) -> None:
        if self.open >= self._most or self._addresses[address] >= self._most_per_address:
            self.refused += 1
            accepted.close()
            return
        self.open += 1
        self._addresses[address] += 1
        task = asyncio.create_task(self._open(accepted, address))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, accepted: socket.socket, address: str) -> None:
        guard = Guard(self._factory(), self, address)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: guard,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=HEADER_SECONDS,
                ssl_shutdown_timeout=1.0,
            )
        except OSError:  # no TLS, not in time, or hung up
            self._never_opened(guard, accepted)
        except BaseException:
            self._never_opened(guard, accepted)
            raise

    def _never_opened(self, guard: Guard, accepted: socket.socket) -> None:
        self.closed(guard)
        with contextlib.suppress(OSError):
            accepted.close()


def _sockets(host: str, port: int) -> list[socket.socket]:
    """Listening sockets: of that host, or of every address of both families."""
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.create_server((host, port), family=family, backlog=BACKLOG)
    elif socket.has_dualstack_ipv6():
        made = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    else:
        made = socket.create_server(("", port), backlog=BACKLOG)
    made.setblocking(False)
    return [made]
