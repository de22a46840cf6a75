"""Stand-ins for launchers: they muster, hold at the barrier and follow orders over connections of their own.

Each keeps one poll open all the time. When its process does something, it sends its next muster behind the poll that
is held, over the same connection; answers come in order. A process is no more than a state here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import orjson

from drumline.api.orders import ORDERS_PATH, ProcessState
from e2e.bench.reports_client import HOST, Identity, Target

AGAIN_SECONDS = 0.5  # after a connection that broke, or an answer that names no time


class Launcher:
    """One worker's launcher, whose process runs from the beginning."""

    def __init__(
        self, target: Target, tls: ssl.SSLContext, who: Identity, worker: int, **muster: Any
    ) -> None:
        self._target = target
        self._tls = tls
        self._who = who
        self.worker = worker
        self.attempt = 1
        self.epoch = 0
        self.state = ProcessState.HELD
        self.exit_code = 0
        self.text = ""
        self.origin = f"stand-in-{worker}-{time.monotonic():.6f}"
        self.stubborn = False  # its process does not end though it is told to
        self.over = asyncio.Event()  # nobody wants to hear of this attempt any more
        self.orders: Mapping[str, Any] = {}
        self._went: dict[int, float] = {}  # when it was let go, by epoch; seconds of time.monotonic()
        self._going: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._extra = muster
        self._writer: asyncio.StreamWriter | None = None
        self._told = b""

    async def run(self) -> None:
        """Muster until the attempt is over."""
        while not self.over.is_set():
            pause = AGAIN_SECONDS
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                pause = await self._connected()
            self.hang_up()
            await asyncio.sleep(pause)

    async def goes(self, epoch: int) -> float:
        """When it was let go for that epoch, once it was: seconds of time.monotonic()."""
        await self._going[epoch].wait()
        return self._went[epoch]

    def fail(self, code: int, text: str = "") -> None:
        """The process ends."""
        self.state, self.exit_code, self.text = ProcessState.ENDED, code, text
        self._post()

    def yield_to_orders(self) -> None:
        """A stubborn process ends at last, and the launcher does what it was told."""
        self.stubborn = False
        self._hear(self.orders)
        self._post()

    def hang_up(self) -> None:
        """The connection goes, as with a launcher that is killed."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    async def _connected(self) -> float:
        """Muster over one connection; seconds to wait when it is to be left."""
        reader, self._writer = await asyncio.open_connection(
            HOST,
            self._target.port,
            ssl=self._tls,
            server_hostname=self._target.name,
            local_addr=(self._who.address, 0),
        )
        self._waiting = 0
        self._post()
        while not self.over.is_set():
            status, headers, body = await _answer(reader)
            self._waiting -= 1
            if status == 409:
                self.over.set()
                return 0.0
            if status != 200 or "retry-after" in headers:
                return float(headers.get("retry-after", AGAIN_SECONDS))
            self._hear(orjson.loads(body))
            if not self._waiting or self._body() != self._told:
                self._post()
        return 0.0

    def _hear(self, orders: Mapping[str, Any]) -> None:
        if not orders.get("digest"):
            return
        self.orders = orders
        epoch, go = int(orders.get("epoch", 0)), bool(orders.get("go", True))
        if epoch > self.epoch and not self.stubborn:
            self.epoch, self.state, self.exit_code, self.text = epoch, ProcessState.HELD, 0, ""
        if go and epoch == self.epoch and self.state is ProcessState.HELD:
            self.state = ProcessState.RUNNING
            self._went[epoch] = time.monotonic()
            self._going[epoch].set()

    def _post(self) -> None:
        if self._writer is None:
            return
        self._told = self._body()
        head = (
            f"POST {ORDERS_PATH} HTTP/1.1\r\nHost: {self._target.name}:{self._target.port}\r\n"
            f"Authorization: Bearer {self._who.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(self._told)}\r\n\r\n"
        )
        self._writer.write(head.encode() + self._told)
        self._waiting += 1

    def _body(self) -> bytes:
        return orjson.dumps(
            {
                "version": 1,
                "job": {"namespace": self._who.namespace, "name": self._who.job, "uid": self._who.uid},
                "attempt": self.attempt,
                "worker": self.worker,
                "origin": self.origin,
                "epoch": self.epoch,
                "state": self.state.value,
                "exitCode": self.exit_code,
                "text": self.text,
                "digest": self.orders.get("digest", ""),
                **self._extra,
            }
        )


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(first.split()[1]), headers, body
