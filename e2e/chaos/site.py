"""What seeds share: one control plane with fake hosts, a history of it, two operators, and an administrator."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drumline.runtime.errors import AlreadyExists, ApiError, NotFound, TransientError
from drumline.runtime.http import JSON
from drumline.runtime.http_paths import resource_path
from drumline.runtime.ingest.link import Link
from drumline.runtime.kube import Client, connect
from e2e.chaos.crew import Crew, crew
from e2e.chaos.history import OPTIONS, History
from e2e.chaos.weather import Weather
from e2e.cluster import nodes, nodes_client
from e2e.cluster.embedded import EmbeddedCluster
from e2e.cluster.operator import install_api
from e2e.cluster.provider import Cluster, of_embedded

HOSTS = 4
PREFIX = "chaos-"
POOL = f"{PREFIX}h100"
DESCRIPTION = f"{HOSTS} hosts of h100 in blocks of {HOSTS}"
_READY_SECONDS = 90
_TRIES = 60


@dataclass
class Site:
    """The cluster and what acts on it. `client` goes straight to the API server, as an administrator."""

    cluster: Cluster
    client: Client
    history: History
    crew: Crew
    weather: Weather
    hosts: list[str]
    links: list[Link]  # to the replicas, as their ingests have them

    @property
    def embedded(self) -> EmbeddedCluster:
        """The control plane, whose programs may be hurt."""
        assert self.cluster.embedded is not None
        return self.cluster.embedded

    async def create_namespace(self, name: str) -> None:
        """A namespace in which pods can be created at once."""
        await self.client.request("POST", resource_path("namespaces"), body={"metadata": {"name": name}})
        path = f"/api/v1/namespaces/{name}/serviceaccounts"
        deadline = time.monotonic() + _READY_SECONDS
        while not (await self.client.request("GET", path))["items"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"namespace {name} has no service account")
            await asyncio.sleep(0.05)

    async def clear(self, name: str) -> None:
        """Delete the jobs, services and pods of a namespace, and it."""
        for resource in ("trainingjobs", "inferenceservices"):
            await self.client.request("DELETE", resource_path(resource, name))
        await self.client.request("DELETE", resource_path("pods", name), params={"gracePeriodSeconds": 0})
        await self.client.request("DELETE", resource_path("namespaces", name=name))

    async def insist(self, method: str, path: str, body: Any, content: str = JSON) -> bool:
        """Do what a user does, though the API server be away for a while; false if it could not be done."""
        for _ in range(_TRIES):
            try:
                await self.client.request(method, path, body=body, content_type=content)
            except TransientError:
                await asyncio.sleep(1)
            except ApiError as error:
                # it was done by a try whose answer was lost, or what it is about is gone
                return isinstance(error, AlreadyExists | NotFound)
            else:
                return True
        return False

    async def mend(self) -> None:
        """All hosts are there and well, no fault strikes, every operator's clock is right."""
        self.weather.faults = self.weather.cuts = 0.0
        self.weather.down = False
        await nodes.apply(self.cluster, DESCRIPTION, prefix=PREFIX)
        for host in self.hosts:
            await nodes.restore_node(self.cluster, host)

    async def restart_apiserver(self) -> None:
        """Kill the API server and start it again on its port."""
        await asyncio.to_thread(self._restart, "kube-apiserver")

    async def restart_etcd(self) -> None:
        """Kill etcd and start it again."""
        await asyncio.to_thread(self._restart, "etcd")

    def _restart(self, name: str) -> None:
        self.embedded.kill(name)
        self.embedded.bring_back(name)


@asynccontextmanager
async def site(chance: random.Random, flags: tuple[str, ...] | None = None) -> AsyncIterator[Site]:
    """A site; all that it started ends with it."""
    weather = Weather()
    extra: dict[str, Any] = {} if flags is None else {"flags": flags}
    with (
        EmbeddedCluster(OPTIONS) as embedded,
        tempfile.TemporaryDirectory(prefix="drumline-chaos-") as folder,
    ):
        await install_api(embedded)
        for name, value in (("chaos-high", 1000), ("chaos-low", -10)):
            body = {"metadata": {"name": name}, "value": value, "preemptionPolicy": "Never"}
            embedded.api.create("/apis/scheduling.k8s.io/v1/priorityclasses", body)
        cluster = of_embedded(embedded)
        hosts = await nodes.apply(cluster, DESCRIPTION, prefix=PREFIX)
        async with (
            await connect(str(embedded.kubeconfig)) as client,
            History(embedded) as history,
            crew(embedded, Path(folder), weather, chance, **extra) as running,
        ):
            links = [Link(socket) for socket in running.sockets]
            tasks = [asyncio.create_task(link.run()) for link in links]
            try:
                yield Site(cluster, client, history, running, weather, hosts, links)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def quietly(what: Callable[[], Awaitable[object]]) -> None:
    """Do something to the cluster that may be impossible at the moment."""
    with suppress(ApiError, OSError, nodes_client.RequestError, TimeoutError):
        await what()
