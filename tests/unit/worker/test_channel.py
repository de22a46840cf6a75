"""Several requests on one connection, over TLS and without, and what a server may do wrong."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from drumline.worker.channel import Channel
from e2e.cluster.pki import Pki

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(body: str, *lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", body]).encode()


async def read(reader: asyncio.StreamReader) -> tuple[str, str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(head.partition("Content-Length: ")[2].split("\r\n")[0])
    return head, (await reader.readexactly(length)).decode()


class Site:
    def __init__(self) -> None:
        self.heads: list[str] = []
        self.bodies: list[str] = []
        self.connections = 0
        self.replies: list[bytes | None] = []  # after each request; None: none, as yet
        self.closes = False
        self.channel: Channel
        self.woken, self.wake = os.pipe()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head, body = await read(reader)
                self.heads.append(head)
                self.bodies.append(body)
                if (reply := self.replies.pop(0)) is not None:
                    writer.write(reply)
                if self.closes:
                    writer.close()
        except (asyncio.IncompleteReadError, ConnectionError, IndexError):
            writer.close()

    async def post(self, *bodies: bytes) -> None:
        for body in bodies:
            await asyncio.to_thread(self.channel.post, body)

    async def receive(self, seconds: float = 60.0) -> tuple[int, object] | None:
        found = await asyncio.to_thread(self.channel.receive, seconds, self.woken)
        return None if found is None else (found.status, dict(found.body))


@pytest.fixture(params=["http", "https"])
async def site(request: pytest.FixtureRequest, pki: Pki, token: Path) -> AsyncIterator[Site]:
    made = Site()
    tls = None
    if request.param == "https":
        pair = pki.server("ingest", ["127.0.0.1"])
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(pair.cert, pair.key)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    url = f"{request.param}://127.0.0.1:{port}/v1/orders"
    made.channel = Channel(url, str(token), str(pki.ca.cert), timeout=30.0)
    yield made
    made.channel.close()
    server.close()


async def test_a_request_and_its_answer(site: Site) -> None:
    site.replies = [answer('{"a":1}', "Retry-After: 3")]
    await site.post(b'{"x":2}')
    assert site.channel.waiting == 1
    assert await site.receive() == (200, {"a": 1})
    assert (site.channel.waiting, site.bodies) == (0, ['{"x":2}'])
    assert site.heads[0].startswith("POST /v1/orders HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "\r\nAuthorization: Bearer first\r\n" in site.heads[0]


async def test_the_next_request_may_come_before_the_last_answer(site: Site) -> None:
    site.replies = [None, answer('{"a":1}') + answer('{"a":2}', status="503 No")]
    await site.post(b"{}", b"[]")
    assert [await site.receive(), await site.receive()] == [(200, {"a": 1}), (503, {"a": 2})]
    assert (site.connections, site.channel.waiting) == (1, 0)


async def test_a_large_answer_comes_in_pieces(site: Site) -> None:
    text = "x" * 60_000
    site.replies = [answer(f'{{"a":"{text}"}}')]
    await site.post(b"y" * 100_000)
    assert await site.receive() == (200, {"a": text})


async def test_it_waits_no_longer_than_told(site: Site) -> None:
    site.replies = [None]
    await site.post(b"{}")
    assert await site.receive(0.0) is None
    os.write(site.wake, b"\0")
    assert await site.receive() is None
    assert site.channel.waiting == 1


async def test_a_server_that_closes_is_asked_anew(site: Site) -> None:
    site.replies = [answer("{}", "Connection: close"), answer('{"a":1}')]
    for expected in ({}, {"a": 1}):
        await site.post(b"{}")
        assert await site.receive() == (200, expected)
    assert site.connections == 2


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 fine\r\nContent-Length: 0\r\n\r\n",
        b"x" * 20_000,
    ],
)
async def test_answers_that_are_none(site: Site, reply: bytes) -> None:
    site.replies = [reply]
    await site.post(b"{}")
    with pytest.raises(ValueError):
        await site.receive()


async def test_a_server_that_hangs_up(site: Site) -> None:
    site.replies, site.closes = [b"HTTP/1.1 200 OK\r\n"], True
    await site.post(b"{}")
    with pytest.raises(OSError):
        await site.receive()
    site.channel.close()
    with pytest.raises(OSError):
        await site.receive()


def test_where_no_token_may_go(token: Path) -> None:
    channel = Channel("http://ingest.example.com/v1/orders", str(token), "/none")
    with pytest.raises(ValueError, match="https"):
        channel.post(b"{}")
    with pytest.raises(OSError):
        Channel("https://127.0.0.1:1/v1/orders", str(token) + "-none", "/none").post(b"{}")
