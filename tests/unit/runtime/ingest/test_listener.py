"""Connections are counted, and cut off when they are silent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drumline.runtime.ingest import listener as listener_module
from drumline.runtime.ingest.authority import Certificates, advance
from drumline.runtime.ingest.listener import Listener

MOST, PER_ADDRESS = 5, 3


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(data)


class Site:
    """A listener, and how to reach it."""

    def __init__(self, listener: Listener, trust: ssl.SSLContext) -> None:
        self.listener = listener
        self._trust = trust
        self.port = listener.start("127.0.0.1", 0)
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(
        self, address: str = "127.0.0.1", *, tls: bool = True
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        streams = await asyncio.open_connection(
            "127.0.0.1",
            self.port,
            ssl=self._trust if tls else None,
            server_hostname="ingest" if tls else None,
            local_addr=(address, 0),
        )
        self._writers.append(streams[1])
        return streams

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await self.listener.stop()


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something holds."""
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    certificates = advance(Certificates(), ["ingest"], datetime.now(UTC))  # noqa: TID251 - a real handshake
    assert certificates.serving is not None
    file = tmp_path / "pair"
    file.write_bytes(certificates.serving.certificate_pem + certificates.serving.key_pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    trust = ssl.create_default_context(cadata=certificates.bundle.decode())
    made = Site(Listener(Echo, tls, MOST, PER_ADDRESS), trust)
    yield made
    await made.close()


async def test_a_connection_carries_data_and_is_counted(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    assert site.listener.open == 1
    writer.close()
    await until(lambda: site.listener.open == 0)


async def test_one_address_has_so_many(site: Site) -> None:
    for _ in range(PER_ADDRESS):
        await site.connect("127.0.0.2")
    with pytest.raises(OSError):
        await site.connect("127.0.0.2")
    await site.connect("127.0.0.3")
    assert (site.listener.open, site.listener.refused) == (PER_ADDRESS + 1, 1)


async def test_all_together_have_so_many(site: Site) -> None:
    for i in range(MOST):
        assert site.listener.crowded == (i > 3)
        await site.connect(f"127.0.0.{i + 2}")
    with pytest.raises(OSError):
        await site.connect("127.0.0.100")
    assert site.listener.crowded


async def test_a_place_is_free_again(site: Site) -> None:
    for _ in range(3):
        writers = [(await site.connect())[1] for _ in range(PER_ADDRESS)]
        for writer in writers:
            writer.close()
        await until(lambda: site.listener.open == 0)


async def test_who_sends_no_request_in_time_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "HEADER_SECONDS", 0.05)
    reader, _ = await site.connect()
    assert await heard(reader) == b""
    await until(lambda: site.listener.open == 0)


async def test_who_does_not_speak_tls_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "HEADER_SECONDS", 0.05)
    silent, _ = await site.connect(tls=False)
    plain, writer = await site.connect(tls=False)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await heard(silent) == b""
    await heard(plain)
    await until(lambda: site.listener.open == 0)


async def heard(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_a_busy_connection_is_left_alone_and_an_idle_one_is_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "IDLE_SECONDS", 0.0)
    reader, writer = await site.connect()
    await until(lambda: bool(site.listener._guards))
    (guard,) = site.listener._guards.values()
    assert site.listener.guard(guard.transport) is guard
    guard.busy()
    assert guard._deadline is None
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    guard.idle()
    assert await heard(reader) == b""
    assert site.listener.guard(guard.transport) is None


async def test_stopping_closes_the_port_and_keeps_connections(site: Site) -> None:
    reader, writer = await site.connect()
    # the client's handshake ends first
    await until(lambda: bool(site.listener._guards) and not site.listener._opening)
    await site.listener.stop()
    with pytest.raises(OSError):
        await site.connect()
    writer.write(b"still")
    assert await reader.readexactly(5) == b"still"


async def test_every_address_of_both_families() -> None:
    listener = Listener(Echo, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), MOST, PER_ADDRESS)
    port = listener.start("", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    await until(lambda: listener.open == 1)
    writer.transport.abort()
    await listener.stop()


async def test_a_connection_holds_little_memory(site: Site) -> None:
    await site.connect()
    await until(lambda: bool(site.listener._guards))
    (transport,) = site.listener._guards
    assert len(transport._ssl_protocol._ssl_buffer) == listener_module.TLS_BUFFER
