"""Reports that wait for the operator: the newest of each reporter, and jobs take turns.

A reporter's reports are cumulative, so a newer one takes the place of an older one that still waits; both
get the newer one's verdict. A job with a thousand reports waiting has one of them sent for each one that any
other waiting job has sent.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from drumline.runtime.ingest.verdicts import Reporter, Verdict


@dataclass(slots=True)
class Waiting:
    """A report on its way. Everybody who waits for its verdict waits for `verdict`."""

    reporter: Reporter
    sequence: int
    raw: bytes
    verdict: asyncio.Future[Verdict] = field(repr=False)
    since: int = 0  # `raw` is without the spans that end before, ms of the reporter's clock


class FairQueue:
    """First in, first out inside a lane; lanes take turns."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[Hashable, OrderedDict[Hashable, Waiting]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, lane: Hashable, source: Hashable, waiting: Waiting) -> asyncio.Future[Verdict]:
        """Let it wait, in place of an older one of the same source; the future verdict."""
        queue = self._lanes.setdefault(lane, OrderedDict())
        if (older := queue.get(source)) is not None and not older.verdict.done():
            if waiting.sequence >= older.sequence:
                older.raw, older.sequence, older.reporter = waiting.raw, waiting.sequence, waiting.reporter
                older.since = waiting.since
            return older.verdict
        self._size += source not in queue
        queue[source] = waiting
        return waiting.verdict

    def get(self) -> Waiting | None:
        """The next one that somebody still waits for; None when there is none."""
        while self._lanes:
            if not (found := self._pop()).verdict.done():
                return found
        return None

    def drain(self) -> list[Waiting]:
        """Take everything out."""
        found = [waiting for lane in self._lanes.values() for waiting in lane.values()]
        self._lanes.clear()
        self._size = 0
        return found

    def _pop(self) -> Waiting:
        lane, queue = self._lanes.popitem(last=False)
        _, waiting = queue.popitem(last=False)
        self._size -= 1
        if queue:
            self._lanes[lane] = queue
        return waiting
