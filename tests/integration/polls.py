"""A gang's pods without anybody who runs them, and polls of their launchers over connections of their own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import orjson

from drumline.api.meta import API_VERSION, TRAINING_JOBS
from drumline.api.orders import ORDERS_PATH
from drumline.api.report import AUDIENCE
from drumline.runtime.controller import Controller
from drumline.runtime.http_paths import resource_path
from tests.integration.ingest import IngestLab

AT_ONCE = 32


@dataclass
class Worker:
    """A pod of the gang, and a token bound to it."""

    index: int
    name: str
    uid: str
    token: str


@dataclass
class Gang:
    """A job whose first attempt runs, as its status says; nobody runs its pods."""

    lab: IngestLab
    controller: Controller
    name: str
    uid: str = ""
    workers: list[Worker] = field(default_factory=list)

    async def make(self, size: int) -> None:
        template = {"spec": {"containers": [{"name": "train", "image": "none"}]}}
        accelerator = {"accelerator": {"type": "cpu"}, "workersPerSlice": size, "template": template}
        body = {
            "apiVersion": API_VERSION,
            "kind": "TrainingJob",
            "metadata": {"name": self.name},
            "spec": accelerator,
        }
        made = await self.lab.client.request("POST", self.path, body=body)
        self.uid = str(made["metadata"]["uid"])
        await self.write(attempt=1, attempts=[{"attempt": 1, "startedAt": "2026-01-01T00:00:00Z"}])
        slots = asyncio.Semaphore(AT_ONCE)
        self.workers = list(await asyncio.gather(*(self._worker(i, slots) for i in range(size))))
        async with asyncio.timeout(60):
            while not self._mirrored():
                await asyncio.sleep(0.05)

    @property
    def path(self) -> str:
        return resource_path(TRAINING_JOBS, self.lab.namespace)

    def _mirrored(self) -> bool:
        record = self.controller.world.jobs.store.get(self.lab.namespace, self.name)
        pods = self.controller.world.pods.store.by("job", self.uid)
        return record is not None and record.status.attempt == 1 and len(pods) == len(self.workers)

    async def write(self, **status: Any) -> None:
        await self.lab.client.request(
            "PATCH",
            f"{self.path}/{self.name}/status",
            body={"status": status},
            content_type="application/merge-patch+json",
        )

    async def _worker(self, index: int, slots: asyncio.Semaphore) -> Worker:
        labels = {"job": self.name, "attempt": "1", "slice": "0", "worker": str(index), "role": "worker"}
        owner = {
            "apiVersion": API_VERSION,
            "kind": "TrainingJob",
            "name": self.name,
            "uid": self.uid,
            "controller": True,
        }
        metadata = {
            "name": f"{self.name}-1-0-{index}",
            "labels": {f"drumline.dev/{k}": v for k, v in labels.items()},
            "ownerReferences": [owner],
        }
        spec = {
            "containers": [{"name": "train", "image": "none"}],
            "nodeSelector": {"drumline.dev/test": "nowhere"},
        }
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        async with slots:
            made = await self.lab.client.request("POST", resource_path("pods", self.lab.namespace), body=body)
            name, uid = made["metadata"]["name"], made["metadata"]["uid"]
            return Worker(index, name, uid, await self._token(name, uid))

    async def _token(self, name: str, uid: str) -> str:
        bound = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
        spec = {"audiences": [AUDIENCE], "expirationSeconds": 3600, "boundObjectRef": bound}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{self.lab.namespace}/serviceaccounts/default/token"
        return str((await self.lab.client.request("POST", path, body=body))["status"]["token"])

    def muster(self, pod: Worker, **fields: Any) -> bytes:
        job = {"namespace": self.lab.namespace, "name": self.name, "uid": self.uid}
        whole = {"version": 1, "job": job, "attempt": 1, "origin": pod.uid, "state": "Running", **fields}
        return orjson.dumps(whole)


class Poll:
    """One launcher's connection."""

    def __init__(self, gang: Gang, worker: Worker) -> None:
        self._gang = gang
        self._worker = worker
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, **fields: Any) -> None:
        lab, body = self._gang.lab, self._gang.muster(self._worker, **fields)
        if self._streams is None:
            address = f"127.1.{self._worker.index // 250}.{1 + self._worker.index % 250}"
            self._streams = await asyncio.open_connection(
                "127.0.0.1", lab.port, ssl=lab.tls, server_hostname=lab.host, local_addr=(address, 0)
            )
        head = f"POST {ORDERS_PATH} HTTP/1.1\r\nHost: {lab.host}\r\nAuthorization: Bearer {self._worker.token}\r\n"
        self._streams[1].write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def answer(self) -> tuple[int, Any]:
        assert self._streams is not None
        head = (await self._streams[0].readuntil(b"\r\n\r\n")).decode()
        length = int(head.partition("Content-Length: ")[2].split("\r\n")[0])
        return int(head.split()[1]), orjson.loads(await self._streams[0].readexactly(length))

    async def told(self, epoch: int) -> None:
        """Until it is told that epoch; a machine that is busy may hold it for longer than a hold lasts."""
        status, body = await self.answer()
        while body.get("epoch") != epoch:
            assert status == 200, body
            await self.ask(digest=body["digest"])
            status, body = await self.answer()

    def hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
