"""The raw client: the HTTP library that the operator uses, and nothing around it."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from drumline.runtime.kube import Credentials

CONCURRENCY = 64
MERGE = "application/merge-patch+json"


class RawClient:
    """Concurrent requests over one session."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def request(self, method: str, path: str, body: Any = None, content_type: str = "") -> Any:
        """One JSON request, a PATCH as a merge unless `content_type` says otherwise.

        Raises RuntimeError for a refusal other than 404 and 409.
        """
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        headers = {"Content-Type": content_type or (MERGE if method == "PATCH" else "application/json")}
        async with self._session.request(method, path, data=data, headers=headers) as answer:
            content = await answer.read()
            if answer.status >= 400 and answer.status not in (404, 409):
                raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]!r}")
            return orjson.loads(content) if answer.content_type == "application/json" else content.decode()

    async def each(self, requests: Iterable[tuple[str, str, Any]]) -> None:
        """Send all of them, a bounded number at a time, started in order."""
        waiting = iter(list(requests))

        async def work() -> None:
            for method, path, body in waiting:
                await self.request(method, path, body)

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))

    async def watch_pods(
        self, namespace: str, until: Callable[[Mapping[str, Any]], bool], seconds: float
    ) -> float:
        """Watch a namespace's pods; returns the monotonic time at which `until(phases)` held.

        `phases` maps the names of the pods that exist to (phase, ready). Raises TimeoutError.
        """
        phases: dict[str, tuple[str, bool]] = {}
        async with asyncio.timeout(seconds):
            async for kind, pod in self._events(namespace):
                name = pod["metadata"]["name"]
                if kind == "DELETED":
                    phases.pop(name, None)
                else:
                    phases[name] = (pod.get("status", {}).get("phase", ""), is_ready(pod))
                if until(phases):
                    return time.monotonic()
        raise TimeoutError(f"the watch of {namespace} ended")

    async def _events(self, namespace: str) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        path = f"/api/v1/namespaces/{namespace}/pods"
        listed = await self.request("GET", path)
        for item in listed["items"]:
            yield "ADDED", item
        async for event in self.events(path, listed["metadata"]["resourceVersion"]):
            yield event["type"], event["object"]

    async def events(self, path: str, version: str) -> AsyncIterator[Any]:
        """What a watch from a resource version on shows, for ever."""
        while True:
            params = {"watch": "1", "resourceVersion": version}
            async with self._session.get(
                path, params=params, timeout=aiohttp.ClientTimeout(total=None)
            ) as answer:
                buffer = b""
                async for chunk in answer.content.iter_any():
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in lines:
                        event = orjson.loads(line)
                        version = event["object"]["metadata"].get("resourceVersion", version)
                        yield event


def is_ready(thing: Mapping[str, Any]) -> bool:
    """Whether a pod or node says that it is ready."""
    conditions = thing.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


@asynccontextmanager
async def connect(kubeconfig: str) -> AsyncIterator[RawClient]:
    """A client for a kubeconfig file."""
    credentials = await Credentials.load(kubeconfig)
    tls: ssl.SSLContext | bool = credentials.tls or True
    connector = aiohttp.TCPConnector(limit=0, ssl=tls)
    async with aiohttp.ClientSession(credentials.host, connector=connector, read_bufsize=2**20) as session:
        yield RawClient(session)
