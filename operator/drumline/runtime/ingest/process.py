"""``drumline ingest``: the process beside the operator that workers' reports come to.

It has its own Python, so that TLS, tokens and malformed reports cost the operator's loop nothing. It serves on
every replica, leader or not, and holds nothing that may not be lost: a reporter keeps what was not accepted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from aiohttp import web

from drumline.runtime import heap
from drumline.runtime.config import Config, ConfigError, load
from drumline.runtime.config_logging import configure
from drumline.runtime.errors import ApiError, DrumlineError
from drumline.runtime.ingest.authority import Pair
from drumline.runtime.ingest.certificates import CertificateStore, SecretName, service_names
from drumline.runtime.ingest.link import Link
from drumline.runtime.ingest.listener import IDLE_SECONDS, Listener
from drumline.runtime.ingest.plain import Door
from drumline.runtime.ingest.polls import Polls
from drumline.runtime.ingest.server import Connections, Server
from drumline.runtime.ingest.tokens import Tokens
from drumline.runtime.kube import Client, connect

RENEW_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 2.0
CONNECTIONS_TO_API: Final = 16
GRACE_STEP: Final = 0.05
NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

logger = logging.getLogger(__name__)

now: Callable[[], float] = time.time  # noqa: TID251 - this process's one reading of the wall clock
monotonic: Callable[[], float] = time.monotonic


def main(arguments: Sequence[str]) -> int:
    """Take reports until told to stop; the exit code."""
    try:
        config = _checked(load(arguments, os.environ, "ingest"))
    except ConfigError as error:
        sys.stderr.write(f"drumline: {error}\n")
        return 2
    configure(config.log_level, config.log_format)
    heap.settle()
    try:
        asyncio.run(_run(config))
    except (DrumlineError, OSError) as error:
        logger.error("%s", error)  # noqa: TRY400 - the message says it all
        return 1
    return 0


def _checked(config: Config) -> Config:
    if not config.report_socket:
        raise ConfigError("--report-socket: the operator's socket is needed")
    return config


async def _run(config: Config) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with await connect(config.kubeconfig or None, connections=CONNECTIONS_TO_API) as client:
        ingest = Ingest(config, client, certificate_store(config, client, _own_namespace()))
        await ingest.start(stopping)
        await stopping.wait()
        await ingest.stop()


def certificate_store(config: Config, client: Client, namespace: str) -> CertificateStore:
    """Where the certificates are, by the settings. `namespace`: the operator's own."""
    where = config.lease_namespace or namespace
    names = service_names(config.ingest_service, where, config.cluster_domain)
    return CertificateStore(client, SecretName(where, config.ingest_service), names, now)


class Ingest:
    """The parts of the process. `port` is known once it has started."""

    def __init__(self, config: Config, client: Client, store: CertificateStore) -> None:
        self.port = 0
        self._config = config
        self._store = store
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._served: Pair | None = None
        self._link = Link(Path(config.report_socket))
        tokens = Tokens(client, now)
        self._server = Server(
            tokens, self._link, monotonic, rate=config.ingest_rate, burst=config.ingest_burst
        )
        application = self._server.application()
        Polls(self._server, self._link.musters, monotonic, config.ingest_connections // 2).add_to(application)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=2 * IDLE_SECONDS,  # the guard is stricter
            lingering_time=1.0,
            shutdown_timeout=config.shutdown_grace,
        )
        self._listener: Listener | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, stopping: asyncio.Event) -> None:
        """Get certificates, however long it takes, then listen. Raises OSError when the port is taken."""
        while not stopping.is_set() and not await self._renew():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), RETRY_SECONDS)
        if stopping.is_set():
            return
        await self._runner.setup()
        config = self._config
        factory = self._runner.server
        if factory is None:
            raise RuntimeError("the HTTP server was not set up")
        listener = Listener(
            lambda: Door(self._server, factory),
            self._tls,
            config.ingest_connections,
            config.ingest_connections_per_address,
        )
        self._server.connections = Connections(listener.guard, lambda: listener.crowded)
        self._tasks = [asyncio.create_task(self._link.run()), asyncio.create_task(self._keep_renewing())]
        self.port = listener.start(config.ingest_host, config.ingest_port)
        self._listener = listener
        logger.info("taking reports on port %d", self.port)

    async def stop(self) -> None:
        """Close the port, let go of polls, let requests under way end, hang up."""
        if self._listener is not None:
            await self._listener.stop()
        self._link.musters.lost()  # another replica's polls they are from now on
        await self._runner.cleanup()
        for _ in range(int(self._config.shutdown_grace / GRACE_STEP)):
            if not self._server.under_way:
                break
            await asyncio.sleep(GRACE_STEP)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self._renew()

    async def _renew(self) -> bool:
        """Serve the current certificate to new connections; whether there is one."""
        try:
            serving = (await self._store.current()).serving
        except ApiError as error:
            logger.warning("cannot read or renew the certificates: %s", error)
            return self._served is not None
        if serving is not None and (self._served is None or serving.certificate != self._served.certificate):
            _serve(self._tls, serving)
            self._served = serving
            logger.info("serving a certificate valid until %s", serving.certificate.not_valid_after_utc)
        return self._served is not None


def _serve(tls: ssl.SSLContext, pair: Pair) -> None:
    """Load a certificate, which the ssl module takes from a file only."""
    with tempfile.NamedTemporaryFile(prefix="drumline-tls-") as file:
        file.write(pair.certificate_pem + pair.key_pem)
        file.flush()
        tls.load_cert_chain(file.name)


def _own_namespace() -> str:
    if given := os.environ.get("POD_NAMESPACE"):
        return given
    if NAMESPACE_FILE.is_file():
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    return "default"
