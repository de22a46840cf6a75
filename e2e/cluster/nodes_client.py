"""The few requests that fake nodes need, many at a time over a few connections.

A node is created whole, status included. Admission adds the taint ``node.kubernetes.io/not-ready``, which the
node lifecycle controller removes in its own time, at its own request rate; to have thousands of nodes at once
it is removed here.
"""

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import yaml

LOST_LABEL = "fake.drumline.dev/kubelet"
LOST_VALUE = "lost"

_CONCURRENCY = 32
_SECONDS = 30
_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_UNREACHABLE = "node.kubernetes.io/unreachable"

_T = TypeVar("_T")


class RequestError(RuntimeError):
    """The API server's refusal: HTTP ``code`` and what it said."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class NodeApi:
    """Requests on nodes and leases; made by ``connect``."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def create_nodes(self, manifests: Iterable[Mapping[str, Any]]) -> None:
        """Create the nodes, and wait until none of them bears the ``not-ready`` taint."""
        await _each(self._create_node, list(manifests))

    async def lose_node(self, name: str) -> None:
        """What ``nodes.lose_node`` says."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251  (an edge of the program)
        # First the label: kwok then leaves the node, its lease and its pods alone.
        node = await self.patch(_path(name), {"metadata": {"labels": {LOST_LABEL: LOST_VALUE}}}, _MERGE)
        conditions = [
            {**condition, **_UNKNOWN, "lastTransitionTime": now}
            for condition in node["status"]["conditions"]
            if condition["type"] != "NetworkUnavailable"
        ]
        await self.patch(f"{_path(name)}/status", {"status": {"conditions": conditions}}, _STRATEGIC)
        await self._taint_unreachable(name, now)
        await self._unready_pods(name, now)

    async def restore_node(self, name: str) -> None:
        """What ``nodes.restore_node`` says."""
        await self.patch(_path(name), {"metadata": {"labels": {LOST_LABEL: None}}}, _MERGE)

    async def delete_node(self, name: str) -> None:
        """Delete the node if it is there."""
        await self._send("DELETE", _path(name), allowed=(404,))

    async def delete_nodes(self, names: Sequence[str]) -> None:
        """Delete all nodes of these names that are there."""
        await _each(self.delete_node, names)

    async def patch(self, path: str, body: Any, content_type: str) -> dict[str, Any]:
        """Patch an object and return it."""
        return await self._send("PATCH", path, body, content_type)

    async def _create_node(self, manifest: Mapping[str, Any]) -> None:
        created = await self._send("POST", "/api/v1/nodes", manifest, allowed=(409,))
        wanted = manifest["spec"].get("taints", [])
        if created["kind"] == "Node" and created["spec"].get("taints", []) != wanted:
            name = manifest["metadata"]["name"]
            await self.patch(_path(name), {"spec": {"taints": wanted}}, _MERGE)

    async def _taint_unreachable(self, name: str, now: str) -> None:
        # The node lifecycle controller may write the same taints at the same time; the last list wins, and
        # both lists hold them.
        node = await self._send("GET", _path(name))
        others = [taint for taint in node["spec"].get("taints", []) if taint["key"] != _UNREACHABLE]
        ours = [
            {"key": _UNREACHABLE, "effect": effect, "timeAdded": now}
            for effect in ("NoSchedule", "NoExecute")
        ]
        await self.patch(_path(name), {"spec": {"taints": [*others, *ours]}}, _MERGE)

    async def _unready_pods(self, node: str, now: str) -> None:
        pods = await self._send("GET", f"/api/v1/pods?fieldSelector=spec.nodeName={node}")
        unready = {"type": "Ready", "status": "False", "lastTransitionTime": now}
        for pod in pods["items"]:
            meta, conditions = pod["metadata"], pod["status"].get("conditions", [])
            if any(
                condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
            ):
                path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
                await self.patch(path, {"status": {"conditions": [unready]}}, _STRATEGIC)

    async def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        allowed: tuple[int, ...] = (),
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type}
        async with self._session.request(method, path, data=data, headers=headers) as answer:
            if answer.status >= 400 and answer.status not in allowed:
                raise RequestError(answer.status, await answer.text())
            parsed: dict[str, Any] = await answer.json()
            return parsed


_UNKNOWN = {
    "status": "Unknown",
    "reason": "NodeStatusUnknown",
    "message": "Kubelet stopped posting node status.",
}


@asynccontextmanager
async def connect(kubeconfig: Path) -> AsyncIterator[NodeApi]:
    """Open connections as the kubeconfig's current user, who has a client certificate or a token.

    Raises ``ValueError`` for a kubeconfig with other credentials.
    """
    server, tls, headers = _credentials(kubeconfig)
    connector = aiohttp.TCPConnector(ssl=tls, limit=_CONCURRENCY)
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(
        server, connector=connector, headers=headers, timeout=timeout
    ) as session:
        yield NodeApi(session)


def _credentials(kubeconfig: Path) -> tuple[str, ssl.SSLContext, dict[str, str]]:
    config = yaml.safe_load(kubeconfig.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    token = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    return cluster["server"], _tls(cluster, user, kubeconfig.parent), token


def _named(entries: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _tls(cluster: Mapping[str, str], user: Mapping[str, str], folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=_read(cluster, "certificate-authority", folder))
    if "client-certificate" in user or "client-certificate-data" in user:
        # The standard library takes a client's key from files only.
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:
            pem.write(f"{_read(user, 'client-certificate', folder)}\n{_read(user, 'client-key', folder)}")
            pem.flush()
            context.load_cert_chain(pem.name)
    elif "token" not in user:
        raise ValueError(f"a client certificate or a token is needed; this user has {sorted(user)}")
    return context


def _read(entry: Mapping[str, str], key: str, folder: Path) -> str:
    if f"{key}-data" in entry:
        return base64.b64decode(entry[f"{key}-data"]).decode()
    return (folder / entry[key]).read_text()


async def _each(work: Callable[[_T], Awaitable[None]], items: Sequence[_T]) -> None:
    """Do the work for every item, at most ``_CONCURRENCY`` at a time; the first failure stops the rest."""
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(_CONCURRENCY, len(items))):
            group.create_task(worker())


def _path(name: str) -> str:
    return f"/api/v1/nodes/{name}"
