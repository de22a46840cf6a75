"""Every change of a control plane, in order, from etcd itself: no restart of the API server hides any.

The cluster must store objects as JSON (`OPTIONS`). etcd's revisions are the resource versions, and it keeps all of
them, so a watch that broke is taken up where it ended.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, Self

import aiohttp

from e2e.cluster.embedded import ClusterOptions, EmbeddedCluster

Document = dict[str, Any]
Change = Callable[[float, str, Document | None, Document | None], None]  # at, resource, before, after
OPTIONS = ClusterOptions(
    scheduler_qps=500,
    scheduler_burst=1000,
    controller_qps=300,
    controller_burst=600,
    apiserver_flags=("--storage-media-type=application/json", "--etcd-compaction-interval=0"),
)
PREFIXES = {
    "/registry/drumline.dev/trainingjobs/": "trainingjobs",
    "/registry/drumline.dev/inferenceservices/": "inferenceservices",
    "/registry/drumline.dev/inferenceroles/": "inferenceroles",
    "/registry/pods/": "pods",
    "/registry/minions/": "nodes",
}


class History:
    """Follows etcd while it is entered. `change` is called with monotonic seconds, resource, before and after."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self._cluster = cluster
        self._objects: dict[str, Document] = {}
        self._revision = 0  # all up to here was seen
        self.change: Change = lambda *_: None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        pair = self._cluster.layout.etcd_client
        tls = ssl.create_default_context(cafile=str(self._cluster.ca))
        tls.load_cert_chain(pair.cert, pair.key)
        connector = aiohttp.TCPConnector(ssl=tls)
        self._session = aiohttp.ClientSession(self._cluster.layout.etcd_url, connector=connector)
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._session.close()

    def all(self, resource: str) -> list[Document]:
        """The objects of a resource, as far as was seen."""
        prefix = next(p for p, r in PREFIXES.items() if r == resource)
        return [document for key, document in self._objects.items() if key.startswith(prefix)]

    async def caught_up(self, seconds: float = 60) -> None:
        """Return once everything that is there now was seen. TimeoutError: it was not."""
        deadline = time.monotonic() + seconds
        body = {"key": _encoded("/registry/"), "range_end": _encoded("/registry0"), "limit": 1}
        async with self._session.post("/v3/kv/range", json=body) as answer:
            revision = int((await answer.json())["header"]["revision"])
        while self._revision < revision:
            if time.monotonic() > deadline:
                raise TimeoutError(f"etcd is at revision {revision}, and {self._revision} was seen")
            await asyncio.sleep(0.05)

    async def _follow(self) -> None:
        while True:
            try:
                await self._watch()
            except (aiohttp.ClientError, OSError, json.JSONDecodeError):
                await asyncio.sleep(0.1)

    async def _watch(self) -> None:
        request = {
            "key": _encoded("/registry/"),
            "range_end": _encoded("/registry0"),
            "start_revision": self._revision + 1,
            "progress_notify": True,
        }
        timeout = aiohttp.ClientTimeout(total=None)
        body = {"create_request": request}
        async with self._session.post("/v3/watch", json=body, timeout=timeout) as answer:
            async for line in _lines(answer.content):
                said = json.loads(line)
                if "result" not in said or said["result"].get("canceled"):  # an etcd that ends or begins
                    raise aiohttp.ClientError(line.decode(errors="replace"))
                self._read(said["result"])

    def _read(self, result: Document) -> None:
        for event in result.get("events") or ():
            entry = event["kv"]
            self._revision = max(self._revision, int(entry["mod_revision"]))
            self._seen(b64decode(entry["key"]).decode(), event.get("type") == "DELETE", entry)

    def _seen(self, key: str, deleted: bool, entry: Document) -> None:
        resource = next((r for prefix, r in PREFIXES.items() if key.startswith(prefix)), None)
        if resource is None:
            return
        before = self._objects.pop(key, None)
        after = None
        if not deleted:
            after = self._objects[key] = json.loads(b64decode(entry["value"]))
        self.change(time.monotonic(), resource, before, after)


async def _lines(content: aiohttp.StreamReader) -> Any:
    tail = b""
    async for chunk in content.iter_any():
        *lines, tail = (tail + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()
