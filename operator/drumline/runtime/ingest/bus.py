"""The operator's end of the report ingest: a unix socket on which reports arrive and verdicts leave.

    bus = ReportBus(Path(config.report_socket), count=metrics.reported)
    await bus.start()            # every replica: until it leads, it says that it does not
    bus.deliver = keeper.deliver # the leader

`deliver` is called in the operator's loop, one report after the other; between two reports the loop gets
its turn, so that however many reports come, whatever else is ready runs after each of them.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from pydantic import ValidationError

from drumline.api.report import Report
from drumline.runtime.ingest import wire
from drumline.runtime.ingest.verdicts import (
    Accepted,
    Count,
    Deliver,
    Forbidden,
    NotLeader,
    Outcome,
    Reporter,
    Stale,
    Unavailable,
    Verdict,
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

logger = logging.getLogger(__name__)


class ReportBus:
    """Listens on the socket `path`. `deliver` may be replaced at any time; `count` gets the ingest's counts."""

    def __init__(self, path: Path, deliver: Deliver = not_leading, count: Count | None = None) -> None:
        self.deliver = deliver
        self._path = path
        self._count = count
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen. Raises OSError when the socket cannot be made."""
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=wire.MAX_FRAME)
        self._path.chmod(0o600)

    async def stop(self) -> None:
        """Hang up on the ingest, which will say that the operator is away."""
        if self._server is None:
            return
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        self._path.unlink(missing_ok=True)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                kind, payload = await wire.read_frame(reader)
                if kind == wire.REPORT:
                    number, reporter, report = wire.read_report(payload)
                    writer.write(wire.verdict_frame(number, self._judge(report, reporter)))
                    await writer.drain()
                    await asyncio.sleep(0)
                elif kind == wire.COUNTS:
                    self._add(wire.read_counts(payload))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except wire.WireError as error:
            logger.warning("the ingest was hung up on: %s", error)
        finally:
            self._writers.discard(writer)
            writer.close()

    def _judge(self, raw: bytes, reporter: Reporter) -> Verdict:
        try:
            return self.deliver(Report.model_validate_json(raw), reporter)
        except ValidationError as error:
            return Forbidden(f"not a report: {error.error_count()} errors")
        except Exception:
            logger.exception("a report of pod %s/%s was not taken", reporter.namespace, reporter.pod)
            return Unavailable("the operator failed")

    def _add(self, counts: dict[str, int]) -> None:
        if self._count is not None:
            for outcome, count in counts.items():
                self._count(outcome, count)
