"""The Secret and the ConfigMaps, against a server that keeps objects like the API server does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from drumline.runtime.errors import ApiError, Conflict
from drumline.runtime.http import Client
from drumline.runtime.ingest.certificates import (
    FRESH_SECONDS,
    REPEAT_SECONDS,
    CaPublisher,
    CertificateStore,
    SecretName,
)
from tests.unit.runtime.conftest import PlainConnection

SECRET = "/api/v1/namespaces/sys/secrets/ingest"


class Objects:
    """Create, read, replace with a resourceVersion, apply."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.requests: list[str] = []
        self.interfere = 0  # so many replacements lose a race
        self.missing: set[str] = set()  # namespaces

    async def handle(self, request: web.Request) -> web.Response:
        path, body = request.path, await request.json() if request.can_read_body else None
        self.requests.append(f"{request.method} {path}")
        if any(f"/namespaces/{name}/" in path for name in self.missing):
            return web.json_response({"reason": "NotFound"}, status=404)
        if request.method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                return web.json_response({"reason": "AlreadyExists"}, status=409)
        if request.method == "GET" and path not in self.objects:
            return web.json_response({"reason": "NotFound"}, status=404)
        if request.method == "PUT" and not self._is_current(path, body):
            return web.json_response({"reason": "Conflict"}, status=409)
        if body is not None:
            body["metadata"]["resourceVersion"] = str(len(self.requests))
            self.objects[path] = body
        return web.json_response(self.objects[path])

    def _is_current(self, path: str, body: Any) -> bool:
        if self.interfere:
            self.interfere -= 1
            self.objects[path]["metadata"]["resourceVersion"] = "other"
            return False
        return bool(body["metadata"]["resourceVersion"] == self.objects[path]["metadata"]["resourceVersion"])


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def objects() -> Objects:
    return Objects()


@pytest.fixture
async def client(objects: Objects) -> AsyncIterator[Client]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", objects.handle)
    async with TestServer(application) as server:
        connection = PlainConnection(str(server.make_url("")).rstrip("/"))
        async with Client(connection) as client:
            yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(client: Client, clock: Clock) -> CertificateStore:
    return CertificateStore(client, SecretName("sys", "ingest"), ["ingest.sys.svc"], clock)


@pytest.mark.parametrize("made_by_the_chart", [False, True])
async def test_two_replicas_end_with_the_same(
    objects: Objects, client: Client, clock: Clock, made_by_the_chart: bool
) -> None:
    if made_by_the_chart:
        objects.objects[SECRET] = {"metadata": {"name": "ingest", "resourceVersion": "1"}, "type": "Opaque"}
    stores = [CertificateStore(client, SecretName("sys", "ingest"), ["a"], clock) for _ in range(2)]
    first, second = [await store.current() for store in stores]
    assert first.bundle == second.bundle
    assert first.serving is not None
    assert second.serving is not None
    assert first.serving.key_pem == second.serving.key_pem
    assert objects.objects[SECRET].get("type") == ("Opaque" if made_by_the_chart else None)


async def test_who_loses_the_race_takes_what_won(objects: Objects, store: CertificateStore) -> None:
    objects.objects[SECRET] = {"metadata": {"name": "ingest", "resourceVersion": "1"}}
    objects.interfere = 1
    assert (await store.current()).serving is not None
    assert objects.requests.count(f"PUT {SECRET}") == 2
    assert objects.requests.count(f"GET {SECRET}") == 2


async def test_a_race_without_end_is_an_error(objects: Objects, store: CertificateStore) -> None:
    objects.objects[SECRET] = {"metadata": {"name": "ingest", "resourceVersion": "1"}}
    objects.interfere = 100
    with pytest.raises(Conflict, match="keeps changing"):
        await store.current()


async def test_the_bundle_is_written_once_a_namespace(
    objects: Objects, client: Client, store: CertificateStore, clock: Clock
) -> None:
    publisher = CaPublisher(client, store, clock)
    for _ in range(3):
        await publisher.ensure("a")
        await publisher.ensure("b")
    written = [r for r in objects.requests if r.startswith("PATCH")]
    assert written == [f"PATCH /api/v1/namespaces/{n}/configmaps/drumline-ca" for n in "ab"]
    found = objects.objects["/api/v1/namespaces/a/configmaps/drumline-ca"]
    assert found["data"]["ca.crt"].encode() == (await store.current()).bundle
    clock.seconds += REPEAT_SECONDS
    await publisher.ensure("a")
    assert sum(r.startswith("PATCH") for r in objects.requests) == 3


async def test_a_new_authority_reaches_every_namespace(
    objects: Objects, client: Client, store: CertificateStore, clock: Clock
) -> None:
    publisher = CaPublisher(client, store, clock)
    await publisher.ensure("a")
    await publisher.ensure("b")
    del objects.objects[SECRET]
    assert await publisher.refresh() == []
    clock.seconds += FRESH_SECONDS
    assert await publisher.refresh() == []
    bundle = (await store.current()).bundle.decode()
    for name in "ab":
        assert (
            objects.objects[f"/api/v1/namespaces/{name}/configmaps/drumline-ca"]["data"]["ca.crt"] == bundle
        )


async def test_a_namespace_that_is_gone_is_forgotten(
    objects: Objects, client: Client, store: CertificateStore, clock: Clock
) -> None:
    publisher = CaPublisher(client, store, clock)
    await publisher.ensure("a")
    objects.missing.add("a")
    clock.seconds += REPEAT_SECONDS
    assert await publisher.refresh() == []
    objects.requests.clear()
    clock.seconds += REPEAT_SECONDS
    assert await publisher.refresh() == []
    assert objects.requests == []
    with pytest.raises(ApiError):
        await publisher.ensure("a")
