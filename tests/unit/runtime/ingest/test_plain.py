"""Which requests are plain, and what becomes of those that are not, come in pieces, or come together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable

import pytest

from drumline.api.report import MAX_REPORT_BYTES, REPORT_PATH, Receipt
from drumline.runtime.ingest import plain as plain_module
from drumline.runtime.ingest import server as server_module
from drumline.runtime.ingest.fair import Waiting
from drumline.runtime.ingest.plain import AHEAD, Door, read_head
from drumline.runtime.ingest.server import BODIES_BYTES, Server
from drumline.runtime.ingest.verdicts import Accepted, Outcome, Reporter, Verdict

BODY = b'{"version":1,"job":{"namespace":"ns","name":"llama","uid":"job"},"attempt":1,"sentMs":5}'


def request(body: bytes = BODY, *more: str, length: int | str | None = None, start: str = "") -> bytes:
    size = len(body) if length is None else length
    lines = [start or f"POST {REPORT_PATH} HTTP/1.1", "Host: x", "Authorization: Bearer pod-a"]
    return "\r\n".join([*lines, f"Content-Length: {size}", *more, "", ""]).encode() + body


def test_a_plain_head() -> None:
    data = request(b"{}", "USER-agent:\t x ")
    head = read_head(data)
    assert head is not None
    assert (head.authorization, data[head.start : head.end]) == ("Bearer pod-a", b"{}")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        request()[:40],
        request(start="GET /healthz HTTP/1.1"),
        request(start=f"POST {REPORT_PATH} HTTP/1.0"),
        request(start=f"POST {REPORT_PATH}?x HTTP/1.1"),
        request(start=f" POST {REPORT_PATH} HTTP/1.1"),
        *(
            request(BODY, line)
            for line in (
                "Transfer-Encoding: chunked",
                "Expect: 100-continue",
                "Connection: close",
                "Content-Encoding: gzip",
                "Content-Length: 1",
                "Host: y",
                "Host : x",
                " folded",
                "Accept: \x00",
                "Accept: a\nHost: y",
                "Accept: a\rb",
                "Accept: \u00e9",
                "no colon",
                "Accept: " + "x" * 9000,
            )
        ),
        *(
            request(length=odd)
            for odd in ("", "-1", "+1", "1_0", "\u0661", "0x1", "1, 1", MAX_REPORT_BYTES + 1)
        ),
        request().replace(b"Content-Length", b"Accept"),
        request().replace(b"\r\n", b"\n"),
    ],
)
def test_heads_that_are_not_plain(data: bytes) -> None:
    assert read_head(data) is None


class Tokens:
    """Everybody is known."""

    def known(self, token: str) -> Reporter:
        return Reporter("ns", token, f"uid-{token}")


class Link:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []
        self.refused: list[Outcome] = []
        self.at_once = True

    def count(self, outcome: Outcome) -> None:
        self.refused += [outcome] * (outcome is not Outcome.ACCEPTED)

    def submit(self, _lane: Hashable, _source: Hashable, waiting: Waiting) -> asyncio.Future[Verdict]:
        self.waiting.append(waiting)
        if self.at_once:
            waiting.verdict.set_result(Accepted(Receipt()))
        return waiting.verdict


class Other(asyncio.Protocol):
    """The general server: keeps what it gets."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True


class Site:
    """A door that listens, and one client."""

    def __init__(self) -> None:
        self.link = Link()
        self.others: list[Other] = []
        self.doors: list[Door] = []
        self.server = Server(Tokens(), self.link, lambda: 0.0, rate=1.0, burst=50)  # type: ignore[arg-type]
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    def door(self) -> Door:
        self.doors.append(Door(self.server, self.other))
        return self.doors[-1]

    def other(self) -> Other:
        self.others.append(Other())
        return self.others[-1]

    async def status(self) -> int:
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            await self.reader.readexactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]))
        return int(head[9:12])


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    listening = await asyncio.get_running_loop().create_server(site.door, "127.0.0.1")
    site.reader, site.writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    yield site
    site.writer.transport.abort()
    listening.close()
    await until(lambda: site.server.under_way == 0 and site.server.bodies.left == BODIES_BYTES)


async def until(holds) -> None:
    """Let the loop run until something holds."""
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0)


async def test_plain_requests_never_reach_the_general_server(site: Site) -> None:
    for _ in range(3):
        site.writer.write(request())
        assert await site.status() == 200
    assert (len(site.link.waiting), site.others) == (3, [])


async def test_a_body_that_comes_in_pieces(site: Site) -> None:
    data = request()
    cut = data.index(b"\r\n\r\n") + 4
    for piece in (data[:cut], data[cut : cut + 10], data[cut + 10 :]):
        site.writer.write(piece)
        await until(lambda sent=piece: sent in site.doors[0]._data or site.link.waiting)
    assert await site.status() == 200
    assert site.others == []


async def test_requests_that_come_together_are_answered_in_order(site: Site) -> None:
    site.writer.write(request() + request(b"{}") + request())
    assert [await site.status() for _ in range(3)] == [200, 400, 200]


async def test_what_is_not_plain_and_all_that_follows_is_the_general_servers(site: Site) -> None:
    odd = request(BODY, "Expect: 100-continue")
    site.writer.write(request() + odd)
    assert await site.status() == 200
    await until(lambda: bool(site.others) and site.others[0].data == odd)
    site.writer.write(request())
    await until(lambda: site.others[0].data == odd + request())
    site.writer.transport.abort()
    await until(lambda: site.others[0].lost)


async def test_a_body_that_does_not_come_is_not_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "BODY_SECONDS", 0.0)
    site.writer.write(request(length=500))
    assert await site.status() == 408
    assert await site.reader.read() == b""
    assert site.link.refused == [Outcome.INVALID]


async def test_a_body_that_came_in_time_is_not_late_while_the_operator_thinks(site: Site) -> None:
    site.link.at_once = False
    site.writer.write(request()[:-1])
    await until(lambda: bool(site.doors) and site.doors[0]._late is not None)
    site.writer.write(request()[-1:])
    await until(lambda: bool(site.link.waiting))
    assert site.doors[0]._late is None
    site.link.waiting[0].verdict.set_result(Accepted(Receipt()))
    assert await site.status() == 200


async def test_only_so_much_is_read_ahead(site: Site) -> None:
    site.link.at_once = False
    site.writer.write(request() * (2**20 // len(request())))
    await until(lambda: site.doors[0]._paused)
    assert len(site.link.waiting) == 1
    assert AHEAD < len(site.doors[0]._data) < AHEAD + 2**18, "and what one read brings"
    site.link.at_once = True
    site.link.waiting[0].verdict.set_result(Accepted(Receipt()))
    assert [await site.status() for _ in range(50)] == [200] * 50


async def test_a_client_that_does_not_read_is_not_answered(site: Site) -> None:
    site.writer.write(request())
    assert await site.status() == 200
    site.doors[0].pause_writing()
    site.writer.write(request())
    await until(lambda: bool(site.doors[0]._data))
    assert len(site.link.waiting) == 1
    site.doors[0].resume_writing()
    assert await site.status() == 200


async def test_a_client_that_has_gone_harms_nobody(site: Site) -> None:
    site.link.at_once = False
    site.writer.write(request())
    await until(lambda: bool(site.link.waiting))
    site.writer.transport.abort()
    await until(lambda: site.server.under_way == 0)
    site.link.waiting[0].verdict.set_result(Accepted(Receipt()))
    await asyncio.sleep(0)


async def test_a_fault_of_ours_ends_the_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_module, "read_head", lambda _data: 1 / 0)
    site.writer.write(request())
    await until(lambda: bool(site.doors) and site.doors[0]._transport.is_closing())
    assert not await site.reader.read()
