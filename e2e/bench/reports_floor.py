"""What a report costs at least: the senders of `e2e.bench.reports` against a server that does nothing.

``python -m e2e.bench.reports_floor [SECONDS]`` needs no control plane. It sends 1,000 reports a second over 250
connections, twice: to a server that ends TLS, looks for the end of a request and answers with a constant; and to
the ingest, whose tokens are reviewed by a stand-in and whose operator accepts everything. CPU a report is given for
each process. What the ingest costs above the floor is ours, the floor is that of Python's TLS and sockets.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drumline.api.report import Receipt, Report
from drumline.runtime import heap
from drumline.runtime.config import Config
from drumline.runtime.ingest.authority import Certificates, advance
from drumline.runtime.ingest.bus import ReportBus
from drumline.runtime.ingest.certificates import read_secret, write_secret
from drumline.runtime.ingest.process import Ingest
from drumline.runtime.ingest.verdicts import Accepted, Verdict
from drumline.runtime.ingest.verdicts import Reporter as Pod
from e2e.bench.measure import usage
from e2e.bench.reports_client import HOST, Identity, Reporter, Target, steadily
from e2e.cluster import ports

NAME = "drumline-ingest.default.svc"
REPORTERS = 250
REPORTS_A_SECOND = 1000
SECONDS = 20.0
TOKEN_BYTES = 1100  # of a bound service-account token
ANSWER = b'{"durableMs":0,"intervalSeconds":10.0}'
ACCEPTED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


class Nothing(asyncio.Protocol):
    """Answers whatever has the length that it says."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        """A request, or a part of one."""
        self._seen += data
        head, end, body = self._seen.partition(b"\r\n\r\n")
        if end and len(body) >= int(head[head.index(b"Content-Length: ") + 16 :].partition(b"\r\n")[0]):
            self._seen = b""
            self._transport.write(ACCEPTED % (len(ANSWER), ANSWER))


class StandIn:
    """Certificates, and an API server that knows every token: it is its pod's name."""

    def __init__(self, folder: Path) -> None:
        self._secret = folder / "secret"

    def make(self) -> str:
        """Make certificates; the authority, PEM."""
        made = advance(Certificates(), [NAME], datetime.now(UTC))  # noqa: TID251 - a real handshake
        self._secret.write_text(json.dumps(write_secret(made)))
        return made.bundle.decode()

    async def current(self) -> Certificates:
        """For `CertificateStore.current`."""
        return read_secret(json.loads(self._secret.read_text()))

    async def request(self, *_: Any, body: Any, **__: Any) -> dict[str, Any]:
        """Review a token."""
        pod = json.loads(base64.b64decode(body["spec"]["token"].split(".")[1] + "=="))["sub"]
        extra = {f"authentication.kubernetes.io/pod-{part}": [pod] for part in ("name", "uid")}
        user = {"username": "system:serviceaccount:ns:default", "extra": extra}
        return {"status": {"authenticated": True, "audiences": ["drumline"], "user": user}}


def identities() -> list[Identity]:
    """Pods with made-up tokens of the right size."""
    found = []
    for i in range(REPORTERS):
        claims = {"aud": ["drumline"], "exp": 2**33, "sub": f"pod-{i}", "more": "x" * (TOKEN_BYTES * 3 // 4)}
        token = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
        address = f"127.0.{1 + i // 200}.{1 + i % 200}"
        found.append(Identity("ns", f"job-{i}", f"uid-{i}", f"head.{token}.signature", address))
    return found


async def serve_nothing(folder: Path, port: int) -> None:
    """The floor."""
    serving = (await StandIn(folder).current()).serving
    assert serving is not None
    pair = folder / "pair"
    pair.write_bytes(serving.certificate_pem + serving.key_pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair)
    server = await asyncio.get_running_loop().create_server(Nothing, HOST, port, ssl=tls)
    await server.serve_forever()


async def serve_ingest(folder: Path, port: int) -> None:
    """The ingest."""
    config = Config(report_socket=str(folder / "socket"), ingest_host=HOST, ingest_port=port)
    stand_in: Any = StandIn(folder)
    await Ingest(config, stand_in, stand_in).start(asyncio.Event())
    await asyncio.Event().wait()


async def serve_bus(folder: Path, _port: int) -> None:
    """The operator, which takes everything at once."""

    def deliver(report: Report, _pod: Pod, _since: int) -> Verdict:
        return Accepted(Receipt(), max((s.start_ms + s.duration_ms for s in report.spans), default=0))

    await ReportBus(folder / "socket", deliver).start()
    await asyncio.Event().wait()


@contextmanager
def process(kind: str, folder: Path, port: int) -> Iterator[int]:
    """A server of its own process; its pid."""
    command = [sys.executable, "-m", "e2e.bench.reports_floor", kind, str(folder), str(port)]
    with subprocess.Popen(command) as made:
        try:
            yield made.pid
        finally:
            made.terminate()


async def sent(target: Target, pids: Sequence[int], seconds: float) -> list[float]:
    """CPU ms a report of each of those processes, and of the senders."""
    tls = target.tls()
    reporters = [Reporter(target, tls, who) for who in identities()]
    each = REPORTS_A_SECOND / REPORTERS
    for _ in range(100):
        if await reporters[0].send() == 200:
            break
        await asyncio.sleep(0.2)
    await steadily(reporters, each, 2.0, warm=True)
    every = (*pids, os.getpid())
    before = [usage(pid).cpu for pid in every]
    tally = await steadily(reporters, each, seconds)
    used = [usage(pid).cpu - at for pid, at in zip(every, before, strict=True)]
    for reporter in reporters:
        reporter.close()
    if set(tally.statuses) != {200}:
        raise RuntimeError(f"not all were accepted: {tally.statuses}")
    return [round(cpu / tally.statuses[200] * 1000, 3) for cpu in used]


async def main(seconds: float) -> dict[str, Any]:
    """Measure both."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), ports.reserve().number
        target = Target(port, NAME, StandIn(folder).make())
        with process("nothing", folder, port) as pid:
            floor = dict(zip(("server", "senders"), await sent(target, [pid], seconds), strict=True))
        with process("bus", folder, port) as bus, process("ingest", folder, port) as ingest:
            names = ("ingest", "bus", "senders")
            ours = dict(zip(names, await sent(target, [ingest, bus], seconds), strict=True))
    return {"floor_cpu_ms_per_report": floor, "ingest_cpu_ms_per_report": ours, "at": round(time.monotonic())}


_SERVERS = {"nothing": serve_nothing, "ingest": serve_ingest, "bus": serve_bus}

if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in _SERVERS:
        heap.settle()
        asyncio.run(_SERVERS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3])))
    else:
        print(json.dumps(asyncio.run(main(float(sys.argv[1]) if sys.argv[1:] else SECONDS))))
