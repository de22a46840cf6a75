"""A real HorizontalPodAutoscaler on the scale subresource of an InferenceRole gets the right number of groups."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from e2e.cluster.embedded import ClusterOptions
from e2e.cluster.pki import Pki
from e2e.cluster.provider import Cluster
from tests.integration.inference.engines import own_address
from tests.integration.inference.services import Services, groups, is_ready
from tests.integration.operator.lab import Manifest
from tests.integration.operators import PATIENT, make_lab, start_operator

pytestmark = pytest.mark.cluster

CLUSTER = ClusterOptions(controller_flags=("--horizontal-pod-autoscaler-sync-period=2s",))
GROUP = "external.metrics.k8s.io"
VERSION = f"{GROUP}/v1beta1"


class Queue:
    """An external metrics API of one metric, as KEDA's or the Prometheus adapter's."""

    def __init__(self) -> None:
        self.length = 2
        self.asked = 0

    async def resources(self, _request: web.Request) -> web.Response:
        """What it has."""
        found = {"name": "externalmetrics", "singularName": "", "namespaced": True, "verbs": ["get"]}
        found["kind"] = "ExternalMetricValueList"
        body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": VERSION, "resources": [found]}
        return web.json_response(body)

    async def metric(self, request: web.Request) -> web.Response:
        """Its value now."""
        self.asked += 1
        item = {
            "metricName": request.match_info["metric"],
            "metricLabels": {},
            "timestamp": _now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "value": str(self.length),
        }
        body = {"kind": "ExternalMetricValueList", "apiVersion": VERSION, "metadata": {}, "items": [item]}
        return web.json_response(body)


@pytest.fixture
async def alone(own_cluster: Cluster, tmp_path: Path) -> AsyncIterator[Services]:
    """Services on a cluster whose autoscalers look every other second, with an operator."""
    operator = start_operator(own_cluster.kubeconfig, tmp_path / "log", *PATIENT)
    try:
        operator.wait_leading()
        async with make_lab(own_cluster) as lab:
            yield Services(lab)
    finally:
        operator.stop()


@pytest.fixture
async def queue(alone: Services, tmp_path: Path) -> AsyncIterator[Queue]:
    """The metrics API, registered."""
    made, address = Queue(), own_address()
    pair = Pki(tmp_path / "pki", _now()).server("metrics", [address])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.cert, pair.key)
    application = web.Application()
    application.router.add_get(f"/apis/{VERSION}", made.resources)
    application.router.add_get(f"/apis/{VERSION}/namespaces/{{namespace}}/{{metric}}", made.metric)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, address, 0, ssl_context=tls).start()
    try:
        await _register(alone, address, runner.addresses[0][1])
        yield made
    finally:
        await runner.cleanup()


async def _register(services: Services, address: str, port: int) -> None:
    client, namespace = services.lab.client, services.lab.namespace
    outside = {"metadata": {"name": "metrics"}, "spec": {"type": "ExternalName", "externalName": address}}
    await client.request("POST", f"/api/v1/namespaces/{namespace}/services", body=outside)
    spec = {
        "group": GROUP,
        "version": "v1beta1",
        "service": {"name": "metrics", "namespace": namespace, "port": port},
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    body = {"metadata": {"name": f"v1beta1.{GROUP}"}, "spec": spec}
    await client.request("POST", "/apis/apiregistration.k8s.io/v1/apiservices", body=body)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - what a real API server is told must be of its time


def autoscaler(role: str) -> Manifest:
    """Two queued requests a group."""
    metric = {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "2"}}
    return {
        "metadata": {"name": "chat"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "drumline.dev/v1alpha1", "kind": "InferenceRole", "name": role},
            "minReplicas": 1,
            "maxReplicas": 4,
            "metrics": [{"type": "External", "external": metric}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    }


async def test_an_hpa_counts_groups_and_not_pods(alone: Services, queue: Queue) -> None:
    await alone.lab.nodes("1 hosts of h100 in blocks of 1")
    scaled = alone.role(groupSize=2, autoscaling={"mode": "External", "maxReplicas": 4})
    await alone.apply(alone.service("chat", scaled))
    await alone.ready("chat")
    path = f"/apis/autoscaling/v2/namespaces/{alone.lab.namespace}/horizontalpodautoscalers"
    await alone.lab.client.request("POST", path, body=autoscaler("chat-serve"))
    queue.length = 6
    await alone.until("chat", lambda s: is_ready(s) and len(groups(s)) == 3, "not three groups")
    assert len(await alone.pods("chat")) == 6
    seen = (await alone.lab.client.request("GET", f"{path}/chat"))["status"]
    assert seen["desiredReplicas"] == 3
    assert queue.asked
    queue.length = 2
    await alone.until("chat", lambda s: is_ready(s) and len(groups(s)) == 1, "not one group")
