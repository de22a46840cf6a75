"""The ingest's end of the socket to the operator: takes from the queue, sends, and hands verdicts out.

Musters and orders share the connection and have a window of their own, see `musters`.

At most `WINDOW` reports are with the operator at once; the others wait in the queue, where jobs take turns.
What comes within `GATHER_SECONDS` crosses the socket together, since waking the operator costs it as much as a
report does. While there is no connection, and when one breaks, everything that waits is told so at once: its
reporter has the report still and sends it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Final

from drumline.runtime.ingest import wire
from drumline.runtime.ingest.fair import FairQueue, Waiting
from drumline.runtime.ingest.musters import Musters
from drumline.runtime.ingest.verdicts import Outcome, Unavailable, Verdict

WINDOW: Final = 32
GATHER_SECONDS: Final = 0.005
RECONNECT_SECONDS: Final = 0.5
VERDICT_SECONDS: Final = 10.0
COUNT_SECONDS: Final = 1.0
LATE: Final = "the operator did not answer in time"

logger = logging.getLogger(__name__)


class Link:
    """The connection to the operator's socket at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue = FairQueue()
        self._sent: dict[int, tuple[Waiting, float]] = {}  # and when, in the loop's seconds
        self._number = 0
        self._counts: Counter[str] = Counter()
        self._end: _End | None = None
        self._gathering = False
        self.musters = Musters()

    @property
    def connected(self) -> bool:
        """Whether the operator is there."""
        return self._end is not None

    def count(self, outcome: Outcome, more: int = 1) -> None:
        """Count reports; the operator hears of it within a second, or when it is back."""
        self._counts[outcome.value] += more

    def submit(self, lane: Hashable, source: Hashable, waiting: Waiting) -> asyncio.Future[Verdict]:
        """The operator's verdict, or that there is none. Others may wait for the same: do not cancel it."""
        if self._end is None:
            waiting.verdict.set_result(Unavailable())
            return waiting.verdict
        verdict = self._queue.put(lane, source, waiting)
        if not self._gathering and len(self._sent) < WINDOW:
            self._gathering = True
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._send)
        return verdict

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, end = await loop.create_unix_connection(lambda: _End(self), str(self._path))
            except OSError:
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            logger.info("connected to the operator")
            self._end = end
            self.musters.connected(end.write)
            try:
                while not end.lost.done():
                    self._tell_counts()
                    self._give_up()
                    self.musters.give_up()
                    await asyncio.wait((end.lost,), timeout=COUNT_SECONDS)
            finally:
                self._hung_up(end)
            await asyncio.sleep(RECONNECT_SECONDS)

    def take(self, kind: bytes, payload: bytes) -> None:
        """What the operator says. Raises WireError."""
        if kind == wire.VERDICT:
            self._take(payload)
        elif kind == wire.HEARING:
            self.musters.take_hearing(payload)
        elif kind == wire.ORDERS:
            self.musters.take_orders(payload)
        else:
            raise wire.WireError(f"a frame of kind {kind!r}")

    def _take(self, payload: bytes) -> None:
        number, verdict = wire.read_verdict(payload)
        found = self._sent.pop(number, None)
        if found is not None:
            _answer(found[0].verdict, verdict)
            if len(self._queue) and not self._gathering:
                self._gathering = True
                asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        """Send what the window has room for."""
        self._gathering = False
        frames, now = [], asyncio.get_running_loop().time()
        while (
            self._end is not None and len(self._sent) < WINDOW and (waiting := self._queue.get()) is not None
        ):
            self._number = (self._number + 1) % 2**32
            self._sent[self._number] = waiting, now
            frames.append(wire.report_frame(self._number, waiting.reporter, waiting.raw, waiting.since))
        if self._end is not None and frames:
            self._end.write(b"".join(frames))

    def _tell_counts(self) -> None:
        if self._counts and self._end is not None:
            counts, self._counts = self._counts, Counter()
            self._end.write(wire.counts_frame(counts))

    def _give_up(self) -> None:
        """Answer for an operator that takes too long."""
        late = asyncio.get_running_loop().time() - VERDICT_SECONDS
        overdue = [number for number, (_, at) in self._sent.items() if at < late]
        for number in overdue:
            _answer(self._sent[number][0].verdict, Unavailable(LATE))
        if overdue:  # it is as late with what waits
            for waiting in self._queue.drain():
                _answer(waiting.verdict, Unavailable(LATE))

    def _hung_up(self, end: _End) -> None:
        self._end = None
        end.close()
        self.musters.lost()
        for waiting in (*(found for found, _ in self._sent.values()), *self._queue.drain()):
            _answer(waiting.verdict, Unavailable())
        self._sent.clear()


class _End(asyncio.Protocol):
    """One connection to the operator. `lost` is done when it is over."""

    def __init__(self, link: Link) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._link = link
        self._frames = wire.Frames()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The operator is there."""
        self._transport = transport  # type: ignore[assignment]  # a stream is what a socket makes

    def connection_lost(self, error: Exception | None) -> None:
        """It has gone."""
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Verdicts and orders, or parts of them."""
        try:
            for kind, payload in self._frames.feed(data):
                self._link.take(kind, payload)
        except wire.WireError as error:
            logger.warning("lost the operator: %s", error)
            self.close()

    def write(self, data: bytes) -> None:
        """Send frames; they wait in memory while the operator is slow, a window of them at most."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


def _answer(future: asyncio.Future[Verdict], verdict: Verdict) -> None:
    if not future.done():
        future.set_result(verdict)
