"""One control plane with 256 fake nodes of 8 GPUs, and the operator as a process beside it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from e2e.bench.client import RawClient, connect
from e2e.cluster import nodes
from e2e.cluster.embedded import ClusterOptions, EmbeddedCluster
from e2e.cluster.operator import install_api, operator_command

NODES = "256 hosts of h100 in blocks of 32"


@dataclass(slots=True)
class Rig:
    """What a scenario runs on."""

    cluster: EmbeddedCluster
    client: RawClient
    nodes: list[str]
    log: Path
    operator: subprocess.Popen[bytes] | None = None
    metrics_url: str = ""

    async def start_operator(self, *extra: str, instead: tuple[str, ...] = ()) -> None:
        """Start the operator and wait until it leads. `instead`: how to start it, for ``-m drumline``."""
        command, self.metrics_url = operator_command(self.cluster.kubeconfig, *extra)
        command = [*instead, *command[2:]] if instead else command
        with self.log.open("ab") as log:
            self.operator = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log)  # noqa: ASYNC220
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.operator.poll() is not None:
                raise RuntimeError(f"the operator ended with {self.operator.returncode}; see {self.log}")
            if await _leads(self.metrics_url):
                return
            await asyncio.sleep(0.2)
        raise TimeoutError("the operator does not lead")

    def stop_operator(self) -> None:
        """End the operator."""
        if self.operator is not None:
            self.operator.terminate()
            self.operator.wait(30)
            self.operator = None


async def _leads(metrics_url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(metrics_url) as answer:
            return "drumline_leader 1.0" in await answer.text()
    except aiohttp.ClientError:
        return False


@asynccontextmanager
async def rig(options: ClusterOptions, described: str = NODES) -> AsyncIterator[Rig]:
    """A fresh rig; everything it started ends with it."""
    with EmbeddedCluster(options) as cluster:
        await install_api(cluster)
        names = await nodes.apply(cluster, described)
        log = Path(tempfile.gettempdir()) / f"drumline-bench-{os.getpid()}.log"
        async with connect(str(cluster.kubeconfig)) as client:
            made = Rig(cluster, client, names, log)
            try:
                yield made
            finally:
                made.stop_operator()
