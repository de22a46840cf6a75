"""``POST /v1/orders`` over TLS, before the listener that the ingest has."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from drumline.api.orders import ORDERS_PATH, Muster, Orders
from drumline.runtime.ingest import polls as polls_module
from drumline.runtime.ingest import server as server_module
from drumline.runtime.ingest import wire
from drumline.runtime.ingest.authority import Certificates, advance
from drumline.runtime.ingest.listener import Listener
from drumline.runtime.ingest.musters import Musters
from drumline.runtime.ingest.plain import Door
from drumline.runtime.ingest.polls import AGAIN_SECONDS, BURST, MAX_MUSTER_BYTES, Polls
from drumline.runtime.ingest.server import Connections, Server
from drumline.runtime.ingest.verdicts import (
    Forbidden,
    Heard,
    MusterVerdict,
    NotLeader,
    Stale,
    Told,
    Unavailable,
)

from .test_musters import GANG, until
from .test_server import FakeLink, FakeTokens

MOST = 2


class Site:
    """A listening ingest, and an operator that is asked at once."""

    def __init__(self, tls: ssl.SSLContext, trust: ssl.SSLContext) -> None:
        self.tokens, self.musters, self.now = FakeTokens(), Musters(), 0.0
        self.heard: list[Muster] = []
        self.verdict: MusterVerdict = Heard()
        self.server = Server(self.tokens, FakeLink(), lambda: self.now, rate=1.0, burst=1)  # type: ignore[arg-type]
        self.application = self.server.application()
        Polls(self.server, self.musters, lambda: self.now, MOST).add_to(self.application)
        self.runner = web.AppRunner(self.application, auto_decompress=False, lingering_time=0.1)
        self._tls = tls
        self.trust = trust
        self.port = 0
        self.musters.connected(self.hear)

    async def start(self) -> None:
        await self.runner.setup()
        general = self.runner.server
        assert general is not None
        self.listener = Listener(lambda: Door(self.server, general), self._tls, 20, 20)
        self.port = self.listener.start("127.0.0.1", 0)
        self.server.connections = Connections(self.listener.guard, lambda: self.listener.crowded)
        connector = aiohttp.TCPConnector(ssl=self.trust)
        self.client = aiohttp.ClientSession(f"https://127.0.0.1:{self.port}", connector=connector)

    async def stop(self) -> None:
        await self.client.close()
        await self.listener.stop()
        await self.runner.cleanup()

    def hear(self, data: bytes) -> None:
        for kind, payload in wire.Frames().feed(data):
            assert kind == wire.MUSTER
            number, _, raw = wire.read_muster(payload)
            self.heard.append(Muster.model_validate_json(raw))
            asyncio.get_running_loop().call_soon(
                self.musters.take_hearing, wire.hearing_frame(number, self.verdict)[5:]
            )

    def tell(self, orders: Orders | None, *, over: bool = False) -> None:
        self.musters.take_orders(wire.orders_frame(Told(*GANG, orders, over=over))[5:])

    async def ask(self, document: Any = None, pod: str = "pod-a", **kwargs: Any) -> Any:
        """(status, body, headers)."""
        data = document if isinstance(document, bytes) else orjson.dumps(document or muster())
        headers = {"Authorization": f"Bearer {pod}", **kwargs.pop("headers", {})}
        answer = await self.client.post(
            ORDERS_PATH, data=data, headers=headers, server_hostname="ingest", **kwargs
        )
        return answer.status, await answer.json(), answer.headers

    async def held(self, count: int) -> None:
        await until(lambda: self.musters.held == count)


def muster(**fields: Any) -> dict[str, Any]:
    job = {"namespace": "ns", "name": "llama", "uid": "job-uid"}
    return {"version": 1, "job": job, "attempt": 1, "origin": "one", "state": "Running", **fields}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    certificates = advance(Certificates(), ["ingest"], datetime.now(UTC))  # noqa: TID251 - a real handshake
    assert certificates.serving is not None
    file = tmp_path / "pair"
    file.write_bytes(certificates.serving.certificate_pem + certificates.serving.key_pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    made = Site(tls, ssl.create_default_context(cadata=certificates.bundle.decode()))
    await made.start()
    yield made
    await made.stop()
    await until(lambda: made.musters.held == 0)


async def test_orders_that_are_not_known_are_answered_at_once(site: Site) -> None:
    orders = Orders(epoch=2, go=False, number=3)
    site.tell(orders)
    status, body, _ = await site.ask(muster(unknownField=1))
    assert (status, Orders.model_validate(body), body["digest"]) == (200, orders, orders.digest)
    assert site.heard == [Muster.model_validate(muster())]


async def test_a_poll_is_held_until_orders_change(site: Site) -> None:
    poll = asyncio.create_task(site.ask())
    await site.held(1)
    site.tell(Orders(epoch=1))
    status, body, _ = await poll
    assert (status, body["epoch"]) == (200, 1)


async def test_a_poll_is_not_held_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polls_module, "HOLD_SECONDS", 0.01)
    assert (await site.ask())[:2] == (200, {"digest": ""})
    site.tell(Orders(epoch=1))
    status, body, _ = await site.ask(muster(digest=Orders(epoch=1).digest))
    assert (status, body["epoch"]) == (200, 1), "all of it, though it is known"


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    ("verdict", "status", "headers"),
    [
        (Stale("over"), 409, {}),
        (Forbidden("not yours"), 403, {}),
        (NotLeader(1.2), 503, {"Retry-After": "2", "Connection": "close"}),
        (Unavailable("away", 3.0), 503, {"Retry-After": "3"}),
    ],
)
async def test_the_operators_word_is_the_answer(
    site: Site, verdict: MusterVerdict, status: int, headers: dict[str, str], waits: bool
) -> None:
    if waits:
        poll = asyncio.create_task(site.ask())
        await site.held(1)
        for hold in site.musters._all_holds():
            hold.end(verdict)
        got, body, found = await poll
    else:
        site.verdict = verdict
        got, body, found = await site.ask()
    assert (got, set(body)) == (status, {"error"})
    assert headers.items() <= found.items()


async def test_an_attempt_that_is_over_and_an_operator_that_goes(site: Site) -> None:
    polls = [asyncio.create_task(site.ask(pod=f"pod-{name}")) for name in "ab"]
    await site.held(2)
    site.tell(None, over=True)
    assert [(await poll)[0] for poll in polls] == [409, 409]
    poll = asyncio.create_task(site.ask())
    await site.held(1)
    site.musters.lost()
    assert (await poll)[0] == 503


async def test_a_pod_that_has_gone_is_forgotten(site: Site) -> None:
    site.verdict = Forbidden("gone", gone=True)
    assert (await site.ask())[0] == 403
    assert site.tokens.forgotten == ["uid-of-pod-a"]


async def test_without_a_good_token_nothing_is_read(site: Site) -> None:
    for token, status in (("bad", 401), ("many", 429), ("away", 503)):
        assert (await site.ask(b"no JSON", token))[0] == status
    assert site.heard == []


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "JSON"),
        (orjson.dumps(muster(attempt=0)), "attempt: "),
        (orjson.dumps(muster(state="Sleeping")), "state: "),
        (orjson.dumps(muster(exitCode=256)), "exitCode: "),
        (orjson.dumps(muster(text="x" * 5000)), "text: "),
    ],
)
async def test_what_is_no_muster_is_named(site: Site, body: bytes, complaint: str) -> None:
    status, answer, _ = await site.ask(body)
    assert (status, complaint in answer["error"]) == (400, True), answer


async def test_sizes_and_namespaces(site: Site) -> None:
    assert (await site.ask(b"x" * (MAX_MUSTER_BYTES + 1)))[0] == 413
    assert (await site.ask(b"x", headers={"Content-Encoding": "gzip"}))[0] == 415
    elsewhere = muster(job={"namespace": "other", "name": "llama", "uid": "job-uid"})
    assert (await site.ask(elsewhere))[0] == 403


async def test_a_body_that_stops_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "BODY_SECONDS", 0.05)
    reader, writer = await raw(site)
    writer.write(request(muster())[:-5])
    assert (await answer(reader))[0] == 408
    assert await reader.read() == b""
    writer.close()


async def test_a_pod_has_its_rate_and_spends_nothing_of_its_reports(site: Site) -> None:
    site.tell(Orders(epoch=1))
    assert [(await site.ask())[0] for _ in range(BURST)] == [200] * BURST
    status, _, headers = await site.ask()
    assert (status, headers["Retry-After"]) == (429, "1")
    site.server.admit(await site.server.reporter("Bearer pod-a", "127.0.0.1"))


async def test_without_room_to_wait_it_is_answered_at_once(site: Site) -> None:
    polls = [asyncio.create_task(site.ask(pod=f"pod-{i}")) for i in range(MOST)]
    await site.held(MOST)
    status, body, headers = await site.ask(pod="pod-more")
    assert (status, body, headers["Connection"]) == (200, {"digest": ""}, "close")
    assert headers["Retry-After"] == f"{AGAIN_SECONDS:.0f}"
    site.tell(Orders(epoch=1))
    await asyncio.gather(*polls)


async def test_a_gang_with_fewer_polls_takes_the_room_of_one_with_more(site: Site) -> None:
    polls = [asyncio.create_task(site.ask(pod=f"pod-{i}")) for i in range(MOST)]
    await site.held(MOST)
    other = muster(job={"namespace": "ns", "name": "other", "uid": "other"})
    waits = asyncio.create_task(site.ask(other, pod="pod-more"))
    done, left = await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED, timeout=60)
    (status, body, headers) = next(iter(done)).result()
    assert (status, body, headers["Retry-After"]) == (200, {"digest": ""}, f"{AGAIN_SECONDS:.0f}")
    await site.held(MOST)
    assert (len(done), waits.done()) == (1, False)
    site.tell(Orders(epoch=1))
    await asyncio.gather(*left)
    waits.cancel()


async def raw(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", site.port, ssl=site.trust, server_hostname="ingest")


def request(document: dict[str, Any]) -> bytes:
    body = json.dumps(document)
    head = f"POST {ORDERS_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer pod-a\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


async def answer(reader: asyncio.StreamReader) -> tuple[int, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(head.partition("Content-Length: ")[2].split("\r\n")[0])
    return int(head.split()[1]), json.loads(await reader.readexactly(length))


async def test_the_next_request_ends_the_wait_of_the_last(site: Site) -> None:
    reader, writer = await raw(site)
    writer.write(request(muster()))
    await site.held(1)
    for count, state in enumerate(("Ended", "Held"), 2):
        writer.write(request(muster(state=state)))
        assert await answer(reader) == (200, {"digest": ""})
        await until(lambda count=count: len(site.heard) == count and site.musters.held == 1)
    site.tell(Orders(epoch=1))
    assert (await answer(reader))[1]["epoch"] == 1
    assert [m.state.value for m in site.heard] == ["Running", "Ended", "Held"]
    writer.transport.abort()


async def test_who_hangs_up_waits_no_more(site: Site) -> None:
    _, writer = await raw(site)
    writer.write(request(muster()))
    await site.held(1)
    writer.transport.abort()
    await site.held(0)


async def test_a_poll_that_waits_is_not_silent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from drumline.runtime.ingest import listener as listener_module  # noqa: PLC0415

    monkeypatch.setattr(listener_module, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(listener_module, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(polls_module, "HOLD_SECONDS", 0.6)
    reader, writer = await raw(site)
    writer.write(request(muster()))
    assert (await answer(reader))[0] == 200
    assert await reader.read() == b"", "afterwards it is"
    writer.close()
