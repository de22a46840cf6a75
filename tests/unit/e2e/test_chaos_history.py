"""The history of a cluster goes on after whatever etcd answers while it ends or begins."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from typing import cast

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from e2e.chaos.history import History
from e2e.cluster.embedded import EmbeddedCluster


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


POD = {"metadata": {"name": "one"}}
ENTRY = {
    "key": _encoded("/registry/pods/default/one"),
    "mod_revision": "7",
    "value": _encoded(json.dumps(POD)),
}
ANSWERS = [
    {"error": {"grpc_code": 14, "http_code": 503, "message": "etcdserver: server stopped"}},
    {"result": {"created": True, "canceled": True, "cancel_reason": "etcdserver: no leader"}},
    {"result": {"events": [{"kv": ENTRY}]}},
]


class _Etcd:
    """Gives one answer to each watch, the last of which stays open."""

    def __init__(self) -> None:
        self.answers = list(ANSWERS)

    async def watch(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(json.dumps(self.answers.pop(0)).encode() + b"\n")
        await asyncio.Event().wait()
        return answer


async def test_a_watch_that_is_refused_or_cancelled_is_begun_again() -> None:
    etcd, app = _Etcd(), web.Application()
    app.router.add_post("/v3/watch", etcd.watch)
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        history = History(cast(EmbeddedCluster, None))
        seen = asyncio.Event()
        history.change = lambda *_: seen.set()
        history._session = session
        following = asyncio.create_task(history._follow())
        await asyncio.wait_for(seen.wait(), 60)
        assert history.all("pods") == [POD]
        following.cancel()
