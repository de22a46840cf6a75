"""Finding the API server and proving to it who we are, over real TLS."""

from __future__ import annotations

import asyncio
import builtins
import json
import ssl
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from kubernetes.aio.config import kube_config

from drumline.runtime.errors import Unauthorized, Unavailable
from drumline.runtime.kube import ConnectionError_, Credentials, connect
from e2e.cluster import kubeconfig
from e2e.cluster.pki import KeyPair, Pki


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"), datetime.now(UTC) - timedelta(hours=1))  # noqa: TID251


class Server:
    """Accepts one token, and says whose certificate it saw."""

    def __init__(self, pki: Pki, pair: KeyPair) -> None:
        self.token = "good"
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.ca.cert))
        self.tls.verify_mode = ssl.CERT_OPTIONAL
        self.tls.load_cert_chain(pair.cert, pair.key)
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport else None
        if certificate:
            subject = dict(pair for part in certificate["subject"] for pair in part)
            return web.json_response({"user": subject["commonName"]})
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"reason": "Unauthorized"}, status=401)
        return web.json_response({"user": "token"})


@pytest.fixture
async def server(pki: Pki) -> AsyncIterator[Server]:
    server = Server(pki, pki.server("api", ["127.0.0.1"]))
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server.tls).start()
    server.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


async def test_client_certificate(server, pki, tmp_path) -> None:
    user = kubeconfig.certificate_user(pki.client("alice", "alice"))
    file = kubeconfig.write(tmp_path / "config", server.url, pki.ca.cert, user)
    async with await connect(str(file)) as client:
        assert await client.request("GET", "/version") == {"user": "alice"}


async def test_rotated_token_is_read_again(server, pki, tmp_path) -> None:
    file = kubeconfig.write(tmp_path / "config", server.url, pki.ca.cert, kubeconfig.token_user("good"))
    async with await connect(str(file)) as client:
        assert await client.request("POST", "/api/v1/pods", body={}) == {"user": "token"}
        server.token = "better"
        kubeconfig.write(file, server.url, pki.ca.cert, kubeconfig.token_user("better"))
        assert await client.request("POST", "/api/v1/pods", body={}) == {"user": "token"}


async def test_token_that_stays_refused_is_reported(server, pki, tmp_path) -> None:
    file = kubeconfig.write(tmp_path / "config", server.url, pki.ca.cert, kubeconfig.token_user("bad"))
    async with await connect(str(file), attempts=2) as client:
        with pytest.raises(Unauthorized):
            await client.request("GET", "/version")


async def test_server_of_another_authority_is_not_trusted(server, tmp_path) -> None:
    other = Pki(tmp_path / "other", datetime.now(UTC) - timedelta(hours=1))  # noqa: TID251
    file = kubeconfig.write(tmp_path / "config", server.url, other.ca.cert, kubeconfig.token_user("good"))
    async with await connect(str(file), attempts=1) as client:
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            await client.request("GET", "/version")


@pytest.mark.parametrize("how", ["plain", "unverified"])
async def test_unverified_connections_are_refused(pki, tmp_path, how: str) -> None:
    url = "http://127.0.0.1:1" if how == "plain" else "https://127.0.0.1:1"
    file = kubeconfig.write(tmp_path / "config", url, pki.ca.cert, kubeconfig.token_user("t"))
    if how == "unverified":
        config = json.loads(file.read_text())
        config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
        file.write_text(json.dumps(config))
    with pytest.raises(ConnectionError_, match="must be verified"):
        await Credentials.load(str(file))


async def test_missing_configuration_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConnectionError_, match="this pod's service account"):
        await Credentials.load()
    with pytest.raises(ConnectionError_, match="no-such-file"):
        await Credentials.load(str(tmp_path / "no-such-file"))


def test_two_threads_that_load_the_same_certificates_both_find_them_whole(pki, tmp_path, monkeypatch) -> None:
    user = kubeconfig.certificate_user(pki.client("bob", "bob"))
    file = kubeconfig.write(tmp_path / "config", "https://127.0.0.1:1", pki.ca.cert, user)
    first = threading.Semaphore(1)
    failures: list[BaseException] = []

    def slow_open(name: str, *args: str) -> object:
        if args == ("wb",) and first.acquire(blocking=False):
            threading.Event().wait(0.2)  # long enough for the others to see the name of an empty file
        return builtins.open(name, *args)  # noqa: PTH123 - stands in for the builtin

    def load() -> None:
        try:
            asyncio.run(Credentials.load(str(file)))
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    monkeypatch.setattr(kube_config, "open", slow_open, raising=False)
    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
