"""What the API server says to an object of ours: dry-run creations, many at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from drumline.api.meta import API_VERSION, GROUP, TRAINING_JOB, TRAINING_JOBS
from drumline.runtime.kube import Credentials
from e2e.cluster.provider import Cluster

CONCURRENCY = 16
CRDS = Path(__file__).parents[2] / "crds"
STRICT = {"dryRun": "All", "fieldValidation": "Strict"}


@dataclass(frozen=True)
class Answer:
    """Status code and message of a refusal, or the object."""

    code: int
    body: dict[str, Any]

    @property
    def accepted(self) -> bool:
        return self.code < 300

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


def manifest(spec: Any, name: str = "llama") -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": TRAINING_JOB, "metadata": {"name": name}, "spec": spec}


class Admission:
    """One namespace's objects of one kind, or the cluster's ("" = no namespace), asked over one connection pool."""

    def __init__(self, session: aiohttp.ClientSession, namespace: str, plural: str = TRAINING_JOBS) -> None:
        self._session = session
        scope = f"namespaces/{namespace}/" if namespace else ""
        self._path = f"/apis/{API_VERSION}/{scope}{plural}"

    async def ask(self, document: dict[str, Any]) -> Answer:
        """Dry-run creation, unknown fields refused."""
        return await self._send("POST", self._path, document, STRICT)

    async def ask_all(self, documents: Iterable[dict[str, Any]]) -> list[Answer]:
        return await asyncio.gather(*(self.ask(document) for document in documents))

    async def create(self, document: dict[str, Any]) -> Answer:
        return await self._send("POST", self._path, document, {"fieldValidation": "Strict"})

    async def patch(self, name: str, body: dict[str, Any], subresource: str = "") -> Answer:
        """Merge patch."""
        return await self._send(
            "PATCH", f"{self._path}/{name}{subresource}", body, {"fieldValidation": "Strict"}
        )

    async def _send(self, method: str, path: str, body: dict[str, Any], params: dict[str, str]) -> Answer:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        deadline = asyncio.get_running_loop().time() + 120
        while True:
            async with self._session.request(
                method, path, data=json.dumps(body), params=params, headers={"Content-Type": kind}
            ) as answer:
                found = Answer(answer.status, await answer.json())
            # a new CRD's storage answers 429 or 404 for a moment
            if found.code not in (404, 429) or asyncio.get_running_loop().time() > deadline:
                return found
            await asyncio.sleep(0.1)


@asynccontextmanager
async def admission(
    cluster: Cluster, namespace: str, plural: str = TRAINING_JOBS
) -> AsyncIterator[Admission]:
    credentials = await Credentials.load(str(cluster.kubeconfig))
    authorization = await credentials.authorization()
    headers = {"Authorization": authorization} if authorization else {}
    connector = aiohttp.TCPConnector(ssl=credentials.tls or True, limit=CONCURRENCY)
    async with aiohttp.ClientSession(credentials.host, connector=connector, headers=headers) as session:
        yield Admission(session, namespace, plural)


def install(cluster: Cluster, plural: str = TRAINING_JOBS) -> None:
    """Install the CRD and wait until it is served."""
    file = CRDS / f"{GROUP}_{plural}.yaml"
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(file))
    deadline = time.monotonic() + 120
    # `kubectl wait` fails on a CRD that has no conditions yet
    while not _established(cluster.get("crd", f"{plural}.{GROUP}")):
        assert time.monotonic() < deadline, "the CRD is not established after 120 s"
        time.sleep(0.1)


def _established(crd: dict[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
