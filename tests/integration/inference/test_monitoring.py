"""A real Prometheus scrapes a real operator: every documented metric of services and every panel has data."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from e2e.cluster.prometheus import Prometheus
from tests.integration.inference.load import Load
from tests.integration.inference.services import Services, roles
from tests.integration.monitoring import lint, missing_metrics, silent_panels, unhealthy, until_empty
from tests.integration.operators import Operator

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SLO = {"ttftSeconds": 0.5, "tpotSeconds": 0.05}
SCALED = {"minReplicas": 1, "maxReplicas": 2, "metrics": [{"name": "waiting", "target": 2}]}


async def play(services: Services, load: Load) -> None:
    """Two roles under load: one is scaled by its metrics, one failed once."""
    await services.lab.nodes("4 hosts of h100 in blocks of 4")
    heard = {"pod-ip": load.address}
    failing = {"run-seconds": "3", "exit-code": "7", "only-attempts": "1"}
    pair = (
        services.role("prefill", {**heard, **failing}, port=load.port),
        services.role("decode", heard, port=load.port, autoscaling=SCALED),
    )
    model = {"name": "llama-3-8b"}
    await services.apply(services.service("chat", *pair, slo=SLO, queue="chats", model=model))
    await services.until("chat", lambda s: s.get("status", {}).get("restarts"), "no restart")
    await services.until("chat", lambda s: roles(s)["decode"].get("ready") == 2, "not scaled")


async def test_prometheus_shows_everything_that_is_promised_of_services(
    services: Services, operator: Operator, tmp_path: Path
) -> None:
    target = operator.metrics_url.removeprefix("http://").removesuffix("/metrics")
    variables = {"namespace": services.lab.namespace, "service": "chat"}
    load = Load()
    async with load.serving():
        with Prometheus(tmp_path / "prometheus", [target]) as prometheus:
            await play(services, load)
            await until_empty(missing_metrics, prometheus, serving=True)
            await until_empty(silent_panels, prometheus, ["inference"], variables)
            assert unhealthy(prometheus) == []
            check = await asyncio.to_thread(lint, operator.metrics())
            assert check.returncode == 0, check.stdout + check.stderr
