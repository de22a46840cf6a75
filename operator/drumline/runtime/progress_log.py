"""Follows a worker's log through the API server and reads its steps.

The kubelet puts a time before every line. After a restart of the operator, or when the connection broke, the
log is read again from a little before what is on record: lines that are, only teach the reader which preset
they are of. A line's length, the number of logs and the time that a user's pattern may take are bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Final

from drumline.runtime.errors import ApiError
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.progress_target import FLUSH_SECONDS, Told
from drumline.worker.guard import GuardedSearch
from drumline.worker.observer import apply
from drumline.worker.patterns import MAX_LINE, LineReader, Observed

OVERLAP_SECONDS: Final = 2.0  # sinceTime counts whole seconds
RETRY_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 3600.0  # a log that says nothing for so long is asked for again
BATCH: Final = 200  # lines, which take the loop 3 ms
PAUSE_SECONDS: Final = 0.02  # after them: a program that says a lot is read behind, not at others' cost
_TIME_LENGTH: Final = 64

logger = logging.getLogger(__name__)


async def follow_log(client: Client, told: Told, patterns: Executor) -> None:
    """Until the attempt is over, or the log is at its end. `patterns`: threads that wait for users' patterns."""
    following = _Following(client, told, patterns)
    flushing = asyncio.create_task(_flush_now_and_then(told, following))
    try:
        while not told.over and not await following.read():
            told.flush()
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        flushing.cancel()
        following.close()
        told.flush()


async def _flush_now_and_then(told: Told, following: _Following) -> None:
    while not told.over:
        await asyncio.sleep(FLUSH_SECONDS)
        told.flush()
        if following.connected:
            told.alive()


class _Following:
    """One log, over as many connections as it takes."""

    def __init__(self, client: Client, told: Told, patterns: Executor) -> None:
        self._client = client
        self._patterns = patterns
        self._told = told
        self._searches: list[GuardedSearch] = []
        progress = told.target.progress
        self._reader = LineReader(
            progress.preset.value,
            progress.pattern,
            progress.commit_pattern,
            told.target.devices,
            search=self._guarded,
        )
        self._last = told.begun_at  # ms of the report's clock
        self.connected = False  # a line has come, and the connection has not ended since

    def close(self) -> None:
        """End the processes that match patterns."""
        for search in self._searches:
            search.close()

    async def read(self) -> bool:
        """Read on; true when there is no more to come."""
        try:
            count = 0
            async for line in self._lines():
                self.connected = True
                await self._line(line)
                if self._told.over:
                    return True
                count += 1
                if count % BATCH == 0:
                    await asyncio.sleep(PAUSE_SECONDS)
        except ApiError as error:
            logger.info("the log of %s broke off: %s", self._told.target.read_pod, error)
            return False
        finally:
            self.connected = False
        return True

    async def _lines(self) -> AsyncIterator[bytes]:
        target = self._told.target
        path = resource_path("pods", target.job.namespace, target.read_pod, "log")
        params = {"follow": "true", "timestamps": "true", "container": target.container}
        if self._last:
            at = target.started_at + self._last / 1000 - OVERLAP_SECONDS
            since = datetime.fromtimestamp(at, UTC)
            params["sinceTime"] = since.strftime("%Y-%m-%dT%H:%M:%SZ")
        async for line in self._client.stream_lines(
            path, params, inactivity=SILENT_SECONDS, longest=MAX_LINE * 4
        ):
            yield line

    async def _line(self, line: bytes) -> None:
        stamp, _, text = line.partition(b" ")
        at = read_time(stamp)
        if at is None:
            return
        decoded = text.decode(errors="replace")
        found = await self._read_of(decoded)
        moment = self._told.clock(at)
        if found is not None and moment >= self._last:
            self._last = moment
            apply(self._told.timeline, moment, found)

    async def _read_of(self, text: str) -> Observed | None:
        """A pattern in a process of its own takes its time, which must not be the loop's."""
        if not self._searches:
            return self._reader.read(text)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._patterns, self._reader.read, text)

    def _guarded(self, pattern: str) -> GuardedSearch:
        search = GuardedSearch(pattern, notify=logger.warning)
        self._searches.append(search)
        return search


def read_time(stamp: bytes) -> float | None:
    """Unix seconds of a line's time, to the microsecond; None when it is none."""
    try:
        return datetime.fromisoformat(_micro(stamp[:_TIME_LENGTH].decode("ascii"))).timestamp()
    except ValueError:
        return None


def _micro(text: str) -> str:
    """The kubelet counts nanoseconds, of which Python reads six digits."""
    head, dot, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    return f"{head}.{rest[: min(6, digits)].ljust(6, '0')}{rest[digits:]}" if dot else text
