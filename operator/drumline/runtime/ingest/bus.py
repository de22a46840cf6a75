"""The operator's end of the report ingest: a unix socket on which reports arrive and verdicts leave.

    bus = ReportBus(Path(config.report_socket), count=metrics.reported)
    await bus.start()            # every replica: until it leads, it says that it does not
    bus.deliver = keeper.deliver # the leader
    bus.attend(crews)

`deliver` and `hear` are called in the operator's loop, one report or muster after the other; between two of them the loop gets
its turn, so that however many reports come, whatever else is ready runs after each of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

from pydantic import ValidationError

from drumline.api.orders import Muster
from drumline.api.report import Report
from drumline.runtime.ingest import wire
from drumline.runtime.ingest.verdicts import (
    Accepted,
    Count,
    Deliver,
    Forbidden,
    Hear,
    MusterVerdict,
    NotLeader,
    Outcome,
    Reporter,
    Stale,
    Told,
    Unavailable,
    Verdict,
    deaf,
    not_leading,
)

__all__ = [
    "Accepted",
    "Count",
    "Deliver",
    "Forbidden",
    "NotLeader",
    "Outcome",
    "ReportBus",
    "Reporter",
    "Stale",
    "Unavailable",
    "Verdict",
    "not_leading",
]

TOGETHER: Final = 16

logger = logging.getLogger(__name__)


class Crews(Protocol):
    """Who hears musters, and knows what launchers are told."""

    outlet: Callable[[Told], None]  # what is new is to be handed to this

    def hear(self, muster: Muster, reporter: Reporter) -> MusterVerdict:
        """What the operator says of a muster."""

    def told(self) -> Iterable[Told]:
        """All orders that hold."""


class ReportBus:
    """Listens on the socket `path`. `deliver` may be replaced at any time; `count` gets the ingest's counts."""

    def __init__(self, path: Path, deliver: Deliver = not_leading, count: Count | None = None) -> None:
        self.deliver = deliver
        self.count = count
        self._hear: Hear = deaf
        self.told: Callable[[], Iterable[Told]] = tuple
        self._path = path
        self._server: asyncio.Server | None = None
        self._ends: set[_End] = set()

    async def start(self) -> None:
        """Listen. Raises OSError when the socket cannot be made."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _End(self, self._ends), self._path)
        self._path.chmod(0o600)

    async def stop(self) -> None:
        """Hang up on the ingest, which will say that the operator is away."""
        if self._server is None:
            return
        self._server.close()
        for end in tuple(self._ends):
            end.hang_up()
        self._path.unlink(missing_ok=True)
        self._server = None

    def attend(self, crews: Crews) -> None:
        """Hand musters to them from now on, and what they tell to the ingest."""
        self._hear, self.told = crews.hear, crews.told
        crews.outlet = self._tell
        for found in crews.told():
            self._tell(found)

    def ignore(self) -> None:
        """Lead no more."""
        self._hear, self.told = deaf, tuple

    def _tell(self, told: Told) -> None:
        data = wire.orders_frame(told)
        for end in self._ends:
            end.write(data)

    def hear(self, raw: bytes, reporter: Reporter) -> MusterVerdict:
        """What the operator says of a muster."""
        try:
            return self._hear(Muster.model_validate_json(raw), reporter)
        except ValidationError as error:
            return Forbidden(f"not a muster: {error.error_count()} errors")
        except Exception:
            logger.exception("a muster of pod %s/%s was not taken", reporter.namespace, reporter.pod)
            return Unavailable("the operator failed")

    def judge(self, raw: bytes, reporter: Reporter, since: int) -> Verdict:
        """What the operator says of a report."""
        try:
            return self.deliver(Report.model_validate_json(raw), reporter, since)
        except ValidationError as error:
            return Forbidden(f"not a report: {error.error_count()} errors")
        except Exception:
            logger.exception("a report of pod %s/%s was not taken", reporter.namespace, reporter.pod)
            return Unavailable("the operator failed")


class _End(asyncio.Protocol):
    """One connection. Of what came together, the verdicts leave together, at most `TOGETHER` of them."""

    def __init__(self, bus: ReportBus, ends: set[_End]) -> None:
        self._bus = bus
        self._ends = ends
        self._loop = asyncio.get_running_loop()
        self._frames = wire.Frames()
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._verdicts: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The ingest is there."""
        self._transport = transport  # type: ignore[assignment]  # a stream is what a socket makes
        self._ends.add(self)
        for told in self._bus.told():
            self.write(wire.orders_frame(told))

    def connection_lost(self, error: Exception | None) -> None:
        """It has gone, and with it whoever waits."""
        self._ends.discard(self)
        self._transport = None
        self._waiting.clear()

    def hang_up(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._waiting.clear()

    def write(self, data: bytes) -> None:
        """Send frames, after the verdicts that were given before."""
        if self._transport is not None:
            self._transport.write(b"".join((*self._verdicts, data)))
            self._verdicts.clear()

    def data_received(self, data: bytes) -> None:
        """Frames, or parts of them."""
        try:
            frames = self._frames.feed(data)
        except wire.WireError as error:
            self._refuse(error)
            return
        idle = not self._waiting
        self._waiting.extend(frames)
        if idle and self._waiting:
            self._turn()

    def _turn(self) -> None:
        """Take one frame; the next one in another turn of the loop."""
        if not self._waiting or self._transport is None:
            return
        kind, payload = self._waiting[0]
        try:
            if kind == wire.REPORT:
                number, reporter, report, since = wire.read_report(payload)
                self._verdicts.append(wire.verdict_frame(number, self._bus.judge(report, reporter, since)))
            elif kind == wire.MUSTER:
                number, reporter, muster = wire.read_muster(payload)
                self._verdicts.append(wire.hearing_frame(number, self._bus.hear(muster, reporter)))
            elif kind == wire.COUNTS:
                self._add(wire.read_counts(payload))
        except wire.WireError as error:
            self._refuse(error)
            return
        self._waiting.popleft()
        if not self._waiting or len(self._verdicts) >= TOGETHER:
            self._transport.write(b"".join(self._verdicts))
            self._verdicts.clear()
        if self._waiting:
            self._loop.call_soon(self._turn)

    def _add(self, counts: dict[str, int]) -> None:
        if self._bus.count is not None:
            for outcome, count in counts.items():
                self._bus.count(outcome, count)

    def _refuse(self, error: wire.WireError) -> None:
        logger.warning("the ingest was hung up on: %s", error)
        self.hang_up()
