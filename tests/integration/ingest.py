"""The ingest as a process beside a cluster, an operator's end that knows the pods of the API, and reporters."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from drumline.api.meta import API_VERSION, TRAINING_JOBS
from drumline.api.report import AUDIENCE, REPORT_PATH, Receipt, Report
from drumline.core.gang.projection import project_pod
from drumline.core.gang.types import Pod
from drumline.runtime.config import Config
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.ingest.binding import judge_binding
from drumline.runtime.ingest.bus import Accepted, NotLeader, ReportBus, Reporter, Verdict
from drumline.runtime.ingest.certificates import CaPublisher
from drumline.runtime.ingest.process import certificate_store
from e2e.cluster import ports
from e2e.cluster.provider import Cluster

Manifest = dict[str, Any]
SERVICE = "op-ingest"


@dataclass
class Answer:
    """What came back."""

    status: int
    body: Any
    headers: dict[str, str]


@dataclass
class Desk:
    """The operator's side: it judges by the pods that it was told of, and remembers what it took."""

    pods: dict[tuple[str, str], Pod] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)  # job uid → its present attempt
    taken: list[Report] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    leads: bool = True

    def deliver(self, report: Report, reporter: Reporter, since: int) -> Verdict:
        assert since == 0
        if not self.leads:
            return NotLeader()
        pod = self.pods.get((reporter.namespace, reporter.pod))
        refusal = judge_binding(report, reporter, pod, self.attempts.get(report.job.uid, 0))
        if refusal is not None:
            return refusal
        self.taken.append(report)
        return Accepted(Receipt(durable_ms=report.sent_ms))

    def count(self, outcome: str, more: int) -> None:
        self.counts[outcome] += more


class IngestLab:
    """One ingest process, its desk, and the pods of one namespace."""

    def __init__(
        self, cluster: Cluster, client: Client, namespace: str, folder: Path, operator: Client | None = None
    ) -> None:
        self.cluster = cluster
        self.client = client
        self.namespace = namespace
        self.desk = Desk()
        self.socket = folder / "reports.sock"
        self.log = folder / "ingest.log"
        self.port = ports.reserve().number
        self.bus = ReportBus(self.socket, self.desk.deliver, self.desk.count)
        self.process: asyncio.subprocess.Process | None = None
        self.tls: ssl.SSLContext = ssl.create_default_context()
        self._operator = operator or client
        self._store = certificate_store(self.config, self._operator, namespace)

    @property
    def config(self) -> Config:
        return Config(lease_namespace=self.namespace, ingest_service=SERVICE)

    async def start(self, kubeconfig: Path | None = None) -> None:
        """Start the process and wait until it serves what the published authority vouches for."""
        await self.bus.start()
        arguments = ["--kubeconfig", str(kubeconfig or self.cluster.kubeconfig)]
        arguments += ["--report-socket", str(self.socket)]
        arguments += ["--ingest-host", "127.0.0.1", "--ingest-port", str(self.port)]
        arguments += ["--ingest-service", SERVICE, "--lease-namespace", self.namespace]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "drumline", "ingest", *arguments, stdout=log, stderr=log
            )
        await CaPublisher(self._operator, self._store, time.monotonic).ensure(self.namespace)
        path = resource_path("configmaps", self.namespace, "drumline-ca")
        bundle = (await self.client.request("GET", path))["data"]["ca.crt"]
        self.tls = ssl.create_default_context(cadata=bundle)
        await self.until_healthy()

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await asyncio.wait_for(self.process.wait(), 20)
        await self.bus.stop()

    async def until_healthy(self) -> None:
        for _ in range(300):
            with contextlib.suppress(ConnectionRefusedError, aiohttp.ClientConnectorError):
                async with self.session() as session:
                    answer = await session.get(self.url("/healthz"), server_hostname=self.host)
                    assert answer.status == 200
                    return
            await asyncio.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def url(self, path: str = REPORT_PATH) -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.tls))

    @property
    def host(self) -> str:
        return f"{SERVICE}.{self.namespace}.svc"

    async def send(self, token: str, body: Any, **kwargs: Any) -> Answer:
        """POST a report over a connection of its own."""
        data = {"data": body} if isinstance(body, bytes) else {"json": body}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            self.session() as session,
            session.post(self.url(), headers=headers, server_hostname=self.host, **data, **kwargs) as answer,
        ):
            text = await answer.json(content_type=None)
            return Answer(answer.status, text, dict(answer.headers))

    async def job(self, name: str) -> str:
        """A TrainingJob that no operator looks after; its uid."""
        spec = {
            "accelerator": {"type": "cpu"},
            "managedBy": "example.com/nobody",
            "template": {"spec": {"containers": [{"name": "train", "image": "none"}]}},
        }
        body = {"apiVersion": API_VERSION, "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec}
        made = await self.client.request("POST", resource_path(TRAINING_JOBS, self.namespace), body=body)
        return str(made["metadata"]["uid"])

    async def pod(self, job: str, job_uid: str, attempt: int = 1) -> Pod:
        """A pod of that job, which the desk knows."""
        labels = {"job": job, "attempt": str(attempt), "slice": "0", "worker": "0", "role": "worker"}
        owner = {
            "apiVersion": API_VERSION,
            "kind": "TrainingJob",
            "name": job,
            "uid": job_uid,
            "controller": True,
        }
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{job}-{attempt}-0-0",
                "labels": {f"drumline.dev/{k}": v for k, v in labels.items()},
                "ownerReferences": [owner],
            },
            "spec": {
                "containers": [{"name": "train", "image": "none"}],
                "nodeSelector": {"drumline.dev/test": "nowhere"},
            },
        }
        made = await self.client.request("POST", resource_path("pods", self.namespace), body=body)
        pod = project_pod(made)
        self.desk.pods[pod.namespace, pod.name] = pod
        return pod

    async def token(self, pod: Pod | None, audience: str = AUDIENCE) -> str:
        """A token of the default account, bound to that pod, as the kubelet asks for it."""
        spec: Manifest = {"audiences": [audience], "expirationSeconds": 600}
        if pod is not None:
            reference = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
            spec["boundObjectRef"] = reference
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default/token"
        made = await self.client.request("POST", path, body=body)
        return str(made["status"]["token"])

    def report(self, job: str, job_uid: str, attempt: int = 1, **fields: Any) -> Manifest:
        return {
            "version": 1,
            "job": {"namespace": self.namespace, "name": job, "uid": job_uid},
            "attempt": attempt,
            "origin": "one",
            "sequence": 1,
            "sentMs": 1000,
            "spans": [{"kind": "step", "startMs": 0, "durationMs": 900, "step": 3, "tokens": 4096}],
            **fields,
        }


@asynccontextmanager
async def ingest_lab(
    cluster: Cluster,
    client: Client,
    namespace: str,
    folder: Path,
    kubeconfig: Path | None = None,
    operator: Client | None = None,
) -> AsyncIterator[IngestLab]:
    """A running ingest with the rights of `kubeconfig`, the operator's part done by `operator`.

    Where these are not given, an administrator's.
    """
    lab = IngestLab(cluster, client, namespace, folder, operator)
    try:
        await lab.start(kubeconfig)
        yield lab
        log = lab.log.read_text()
        assert "Traceback" not in log, log
    finally:
        await lab.stop()
