"""A report handed to an operator as its ingest hands it over: on the socket between them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from drumline.api.report import Report
from drumline.runtime.ingest import wire
from drumline.runtime.ingest.verdicts import Reporter, Verdict


async def hand_over(socket: Path, report: Report, reporter: Reporter) -> Verdict:
    """What the operator says of it. OSError while nobody listens, IncompleteReadError when it hangs up."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(wire.report_frame(1, reporter, report.model_dump_json(by_alias=True).encode()))
        while True:  # an operator that knows gangs begins with their orders
            size = int.from_bytes(await reader.readexactly(4), "big")
            frame = await reader.readexactly(size)
            if frame[:1] == wire.VERDICT:
                return wire.read_verdict(frame[1:])[1]
    finally:
        writer.close()
