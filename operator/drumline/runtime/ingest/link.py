"""The ingest's end of the socket to the operator: takes from the queue, sends, and hands verdicts out.

At most `WINDOW` reports are with the operator at once; the others wait in the queue, where jobs take turns.
While there is no connection, and when one breaks, everything that waits is told so at once: its reporter
has the report still and sends it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Final

from drumline.runtime.ingest import wire
from drumline.runtime.ingest.fair import FairQueue, Waiting
from drumline.runtime.ingest.verdicts import Outcome, Unavailable, Verdict

WINDOW: Final = 32
RECONNECT_SECONDS: Final = 0.5
VERDICT_SECONDS: Final = 10.0
COUNT_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


class Link:
    """The connection to the operator's socket at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue = FairQueue()
        self._sent: dict[int, Waiting] = {}
        self._window = asyncio.Semaphore(WINDOW)
        self._number = 0
        self._counts: Counter[str] = Counter()
        self.connected = False

    def count(self, outcome: Outcome, more: int = 1) -> None:
        """Count reports; the operator hears of it within a second, or when it is back."""
        self._counts[outcome.value] += more

    async def submit(self, lane: Hashable, source: Hashable, waiting: Waiting) -> Verdict:
        """The operator's verdict, or that there is none."""
        if not self.connected:
            return Unavailable()
        verdict = self._queue.put(lane, source, waiting)
        try:
            async with asyncio.timeout(VERDICT_SECONDS):
                return await asyncio.shield(verdict)
        except TimeoutError:
            _answer(verdict, Unavailable("the operator did not answer in time"))
            return verdict.result()

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path, limit=wire.MAX_FRAME)
            except OSError:
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            logger.info("connected to the operator")
            try:
                await self._talk(reader, writer)
            finally:
                self._hung_up(writer)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected = True
        jobs = (self._send(writer), self._receive(reader), self._tell_counts(writer))
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    logger.warning("lost the operator: %s", str(result) or type(result).__name__)

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await self._window.acquire()
            waiting = await self._queue.get()
            self._number = (self._number + 1) % 2**32
            self._sent[self._number] = waiting
            writer.write(wire.report_frame(self._number, waiting.reporter, waiting.raw))
            await writer.drain()

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        while True:
            kind, payload = await wire.read_frame(reader)
            if kind != wire.VERDICT:
                raise wire.WireError(f"a frame of kind {kind!r}")
            number, verdict = wire.read_verdict(payload)
            if (waiting := self._sent.pop(number, None)) is not None:
                self._window.release()
                _answer(waiting.verdict, verdict)

    async def _tell_counts(self, writer: asyncio.StreamWriter) -> None:
        while True:
            if self._counts:
                counts, self._counts = self._counts, Counter()
                writer.write(wire.counts_frame(counts))
                await writer.drain()
            await asyncio.sleep(COUNT_SECONDS)

    def _hung_up(self, writer: asyncio.StreamWriter) -> None:
        self.connected = False
        for waiting in (*self._sent.values(), *self._queue.drain()):
            _answer(waiting.verdict, Unavailable())
        self._sent.clear()
        self._window = asyncio.Semaphore(WINDOW)
        with contextlib.suppress(OSError):
            writer.close()


def _answer(future: asyncio.Future[Verdict], verdict: Verdict) -> None:
    if not future.done():
        future.set_result(verdict)
