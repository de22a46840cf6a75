"""Weights of a canary at a Gateway, on a cluster that has the Gateway API, and one whose kinds are missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from drumline.runtime.errors import NotFound
from drumline.runtime.http import MERGE_PATCH
from drumline.runtime.http_paths import resource_path
from e2e.cluster.provider import Cluster
from tests.integration import gateway_api
from tests.integration.inference.services import Services, is_ready
from tests.integration.inference.test_canary import canary_serves
from tests.integration.inference.test_rollout import image
from tests.integration.operators import Operator, make_lab, start_operator

pytestmark = pytest.mark.cluster

GATEWAY = {"gateway": {"name": "public"}}


@pytest.fixture(scope="module")
def gateways(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator that may make routes, on a cluster that has HTTPRoutes and no InferencePools."""
    route, _ = gateway_api.crd_files()
    own_cluster.kubectl("apply", "--server-side", "-f", str(route))
    own_cluster.kubectl("wait", "--for=condition=Established", "-f", str(route), "--timeout=60s")
    log = tmp_path_factory.mktemp("operator") / "log"
    running = start_operator(own_cluster.kubeconfig, log, "--gateway", "on")
    running.wait_leading()
    yield running
    running.stop()
    assert "Traceback" not in log.read_text(errors="replace"), running.tail(80)


@pytest.fixture
async def alone(own_cluster: Cluster, gateways: Operator) -> AsyncIterator[Services]:
    """What a test asks of services there."""
    async with make_lab(own_cluster) as lab:
        yield Services(lab)


async def weights(services: Services) -> dict[str, int]:
    """Where the route sends requests."""
    try:
        route = await services.get("chat", "httproutes")
    except NotFound:
        return {}
    (rule,) = route["spec"]["rules"]
    return {b["name"]: b["weight"] for b in rule["backendRefs"]}


async def until_weights(services: Services, expected: dict[str, int]) -> None:
    for _ in range(300):
        if (found := await weights(services)) == expected:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{found}, not {expected}")


def condition(service: dict[str, Any], kind: str) -> str:
    found = service.get("status", {}).get("conditions", ())
    return str(next((c["reason"] for c in found if c["type"] == kind), ""))


async def test_a_gateway_splits_while_a_canary_serves_and_no_longer(alone: Services) -> None:
    await alone.lab.nodes("1 hosts of h100 in blocks of 1")
    canary = {"automatic": False, "weight": 20, "analysis": {"minSeconds": 0}}
    role = alone.role(replicas=2)
    await alone.apply(alone.service("chat", role, rollout={"canary": canary}, routing=GATEWAY))
    found = await alone.ready("chat")
    assert condition(found, "Routed") == "RoutesApplied"
    await until_weights(alone, {"chat": 100})
    await alone.patch("chat", image("2"))
    await alone.until("chat", canary_serves, "no canary")
    await until_weights(alone, {"chat-stable": 80, "chat-canary": 20})
    stable, on_trial = [await alone.get(f"chat-{side}", "services") for side in ("stable", "canary")]
    revisions = [s["spec"]["selector"]["drumline.dev/revision"] for s in (stable, on_trial)]
    found = await alone.get("chat")
    assert revisions == [found["status"]["currentRevision"], found["status"]["updateRevision"]]
    await promote(alone, revisions[1])
    await alone.until("chat", lambda s: is_ready(s) and s["status"]["currentRevision"] == revisions[1])
    await until_weights(alone, {"chat": 100})


async def promote(services: Services, revision: str) -> None:
    """As `kubectl drumline promote` does it."""
    body = {"metadata": {"annotations": {"drumline.dev/promote": revision}}}
    path = resource_path("inferenceservices", services.lab.namespace, "chat")
    await services.lab.client.request("PATCH", path, body=body, content_type=MERGE_PATCH)


async def test_a_kind_that_is_missing_is_told_and_breaks_nothing(alone: Services) -> None:
    await alone.lab.nodes("1 hosts of h100 in blocks of 1")
    routing = {**GATEWAY, "inferencePool": {"endpointPicker": "picker"}}
    await alone.apply(alone.service("chat", routing=routing))
    found = await alone.ready("chat")
    assert condition(found, "Routed") == "GatewayApiMissing"
    await until_weights(alone, {"chat": 100})
    await alone.patch("chat", {"op": "replace", "path": "/spec/routing", "value": {}})
    await alone.until("chat", lambda s: condition(s, "Routed") == "")
    await until_weights(alone, {})
