"""Reporters over raw connections: a request costs them as little as can be, since they share the machine.

``python -m e2e.bench.reports_client`` reads a flood's settings as JSON from standard input, sends reports of one
job as fast as they are answered, and prints the count of each status.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import orjson

STEP_MS = 1000
SPANS = 30  # what a reporter keeps between two writes of the job's status
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Target:
    """Where the ingest is. `ca` is PEM."""

    port: int
    name: str
    ca: str

    def tls(self) -> ssl.SSLContext:
        """How to verify it."""
        return ssl.create_default_context(cadata=self.ca)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose reports these are, and the address that they come from."""

    namespace: str
    job: str
    uid: str
    token: str
    address: str


@dataclass(slots=True)
class Tally:
    """What came of reports. Seconds from when a report was due to its answer."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    unsent: int = 0  # were not even begun in time


class Reporter:
    """One connection of one reporter, opened again whenever it breaks."""

    def __init__(self, target: Target, tls: ssl.SSLContext, who: Identity) -> None:
        self._target = target
        self._tls = tls
        self._who = who
        self._began = time.monotonic()
        self._sequence = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._head = (
            f"POST /v1/report HTTP/1.1\r\nHost: {target.name}:{target.port}\r\nAuthorization: Bearer {who.token}"
            "\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()

    async def send(self) -> int:
        """Send the next report; the HTTP status, 0 when a new connection broke."""
        body = self._body()
        for kept in (True, False) if self._streams is not None else (False,):
            try:
                return await self._exchange(body)
            except (OSError, asyncio.IncompleteReadError):
                self.close()
                if not kept:
                    break
        return 0

    async def _exchange(self, body: bytes) -> int:
        reader, writer = self._streams or await self._connect()
        writer.write(b"%s%d\r\n\r\n%s" % (self._head, len(body), body))
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(_header(head, b"content-length: ")))
        if b"connection: close" in head.lower():
            self.close()
        return int(head[9:12])

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._streams = await asyncio.open_connection(
            HOST,
            self._target.port,
            ssl=self._tls,
            server_hostname=self._target.name,
            local_addr=(self._who.address, 0),
        )
        return self._streams

    def _body(self) -> bytes:
        self._sequence += 1
        sent = round((time.monotonic() - self._began) * 1000) + SPANS * STEP_MS
        last = sent // STEP_MS
        first = last - SPANS + 1
        rest = {
            "version": 1,
            "job": {"namespace": self._who.namespace, "name": self._who.job, "uid": self._who.uid},
            "attempt": 1,
            "origin": f"bench-{self._began:.6f}",
            "sequence": self._sequence,
            "sentMs": sent,
            "commits": [{"step": last - last % 100, "atMs": (last - last % 100) * STEP_MS}],
        }
        spans = b",".join(_span(step) for step in range(first, last + 1))
        return orjson.dumps(rest)[:-1] + b',"spans":[' + spans + b"]}"


@lru_cache(maxsize=4096)
def _span(step: int) -> bytes:
    """One step as JSON: the same for all reporters, so that it is written once."""
    return orjson.dumps(
        {
            "kind": "step",
            "startMs": (step - 1) * STEP_MS,
            "durationMs": STEP_MS - 5,
            "step": step,
            "stallMs": 12,
            "tokens": 4_194_304,
            "flops": 2.1e17,
        }
    )


def _header(head: bytes, name: bytes) -> bytes:
    lower = head.lower()
    start = lower.index(name) + len(name)
    return head[start : lower.index(b"\r\n", start)]


async def steadily(reporters: list[Reporter], each: float, seconds: float, *, warm: bool = False) -> Tally:
    """`each` reports a second of every reporter for `seconds`, spread evenly."""
    tally = Tally()
    if warm:
        for reporter in reporters:  # connections and tokens, one after the other
            await reporter.send()
    began = time.monotonic() + 0.5

    async def run(index: int, reporter: Reporter) -> None:
        first = began + index / len(reporters) / each
        for i in range(round(seconds * each)):
            due = first + i / each
            await asyncio.sleep(due - time.monotonic())
            if time.monotonic() > began + seconds:
                tally.unsent += 1
                continue
            tally.statuses[await reporter.send()] += 1
            tally.seconds.append(time.monotonic() - due)

    await asyncio.gather(*(run(i, r) for i, r in enumerate(reporters)))
    return tally


async def flood(target: Target, who: Identity, connections: int, seconds: float) -> Counter[int]:
    """Reports of one job over many connections, each as fast as it is answered."""
    tls, end = target.tls(), time.monotonic() + seconds
    statuses: Counter[int] = Counter()

    async def run() -> None:
        reporter = Reporter(target, tls, who)
        while time.monotonic() < end:
            statuses[await reporter.send()] += 1
        reporter.close()

    await asyncio.gather(*(run() for _ in range(connections)))
    return statuses


def flood_settings(target: Target, who: Identity, connections: int, seconds: float) -> bytes:
    """What this module, run as a program, reads."""
    return json.dumps([asdict(target), asdict(who), connections, seconds]).encode()


def _main() -> None:
    target, who, connections, seconds = json.load(sys.stdin)
    found: Any = asyncio.run(flood(Target(**target), Identity(**who), connections, seconds))
    print(json.dumps(found))


if __name__ == "__main__":
    _main()
