"""The reflector against a real API server: pages, gaps, restarts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from drumline.runtime.http_paths import resource_path
from drumline.runtime.kube import Client, connect
from drumline.runtime.limiter import Limiter
from drumline.runtime.reflector import Reflector
from drumline.runtime.store import Store
from e2e.cluster.embedded import ClusterOptions, EmbeddedCluster


@pytest.fixture
async def client(cluster) -> AsyncIterator[Client]:
    async with await connect(str(cluster.kubeconfig), limiter=Limiter(in_flight=16), timeout=60) as client:
        yield client


@pytest.fixture
def own_cluster() -> Iterator[EmbeddedCluster]:
    """A control plane that a test may hurt."""
    with EmbeddedCluster(ClusterOptions(with_kwok=False)) as cluster:
        yield cluster


def configmap(name: str, value: str = "1") -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"test": "reflector"}}, "data": {"value": value}}


async def create(client: Client, namespace: str, *names: str) -> None:
    path = resource_path("configmaps", namespace)
    await asyncio.gather(*(client.request("POST", path, body=configmap(name)) for name in names))


async def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for something that the API server will bring about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


class Mirror:
    def __init__(self, client: Client, namespace: str, **options: Any) -> None:
        self.told: list[tuple[str | None, str | None]] = []
        self.store: Store[str] = Store({"value": lambda text: text.rpartition("=")[2]})
        self.reflector = Reflector(
            client,
            resource_path("configmaps", namespace),
            lambda d: f"{d['metadata']['name']}={d['data']['value']}",
            lambda old, new: self.told.append((old, new)),
            store=self.store,
            label_selector="test=reflector",
            **options,
        )
        self.task = asyncio.create_task(self.reflector.run())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def mirror(client: Client, namespace: str) -> AsyncIterator[Mirror]:
    mirror = Mirror(client, namespace)
    await asyncio.wait_for(mirror.reflector.synced.wait(), 120)
    yield mirror
    await mirror.stop()


async def test_mirrors_more_objects_than_a_page_holds(client, namespace) -> None:
    names = [f"c-{i:04}" for i in range(1100)]
    await create(client, namespace, *names)
    mirror = Mirror(client, namespace)
    await asyncio.wait_for(mirror.reflector.synced.wait(), 120)
    assert sorted(name for _, name in mirror.store) == names
    assert len(mirror.store.by("value", "1")) == 1100
    await mirror.stop()


async def test_follows_creates_changes_and_deletes(client, namespace, mirror) -> None:
    path = resource_path("configmaps", namespace)
    await create(client, namespace, "a", "b")
    await client.request("PUT", f"{path}/a", body=configmap("a", "2"))
    await client.request("DELETE", f"{path}/b")
    await until(lambda: ("b=1", None) in mirror.told)
    await until(lambda: ("a=1", "a=2") in mirror.told)
    assert list(mirror.store.values()) == ["a=2"]
    assert list(mirror.store.by("value", "1")) == []


async def test_an_object_that_stops_matching_goes(client, namespace, mirror) -> None:
    await create(client, namespace, "a")
    await until(lambda: len(mirror.store) == 1)
    unlabelled = {"metadata": {"name": "a"}, "data": {"value": "1"}}
    await client.request("PUT", resource_path("configmaps", namespace, "a"), body=unlabelled)
    await until(lambda: mirror.told[-1] == ("a=1", None))


async def test_gap_is_closed_by_a_new_list(own_cluster: EmbeddedCluster) -> None:
    """A restarted API server has forgotten the versions before: what vanished and what came is found."""
    async with await connect(str(own_cluster.kubeconfig), timeout=60) as client:
        await client.request("POST", resource_path("namespaces"), body={"metadata": {"name": "ns"}})
        await create(client, "ns", "gone", "stays", "reborn")
        mirror = Mirror(client, "ns")
        await until(lambda: len(mirror.store) == 3)
        await mirror.stop()
        for name in ("gone", "reborn"):
            await client.request("DELETE", resource_path("configmaps", "ns", name))
        await create(client, "ns", "reborn", "new")
        await asyncio.to_thread(own_cluster.restart_apiserver)
        mirror.told.clear()
        mirror.task = asyncio.create_task(mirror.reflector.run())
        await until(lambda: mirror.reflector.lists == 2)
        assert sorted(name for _, name in mirror.store) == ["new", "reborn", "stays"]
        came_and_went = {("gone=1", None), ("reborn=1", None), (None, "reborn=1"), (None, "new=1")}
        assert set(mirror.told) == came_and_went
        await mirror.stop()


async def test_survives_a_restart_of_the_api_server(own_cluster: EmbeddedCluster) -> None:
    async with await connect(str(own_cluster.kubeconfig), timeout=60) as client:
        await client.request("POST", resource_path("namespaces"), body={"metadata": {"name": "ns"}})
        await create(client, "ns", "before")
        mirror = Mirror(client, "ns")
        await until(lambda: len(mirror.store) == 1)
        await asyncio.to_thread(own_cluster.restart_apiserver)
        await create(client, "ns", "after")
        await until(lambda: len(mirror.store) == 2)
        assert (None, "after=1") in mirror.told
        await mirror.stop()
