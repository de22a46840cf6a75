"""A real Prometheus scrapes a real operator: every documented metric but those of services has data, and every rule and panel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from drumline.api.report import Report, Span, SpanKind
from drumline.runtime.ingest.verdicts import Reporter
from e2e.cluster.prometheus import Prometheus
from e2e.cluster.provider import Cluster
from tests.integration.monitoring import (
    DASHBOARDS,
    lint,
    missing_metrics,
    silent_panels,
    unhealthy,
    until_empty,
)
from tests.integration.operator.conftest import CATALOG, make_lab
from tests.integration.operator.lab import Lab, Manifest
from tests.integration.operator.queues import QueueDesk, desk, quotas
from tests.integration.operator.test_goodput_restart import Replica, report_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

OF_JOBS = DASHBOARDS.keys() - {"inference"}
MODEL = {"parameters": 8e9, "layers": 32, "heads": 32, "headDim": 128, "sequenceLength": 8192}


@pytest.fixture
def replica(own_cluster: Cluster, tmp_path: Path) -> Iterator[Replica]:
    running = Replica(own_cluster, tmp_path, "--catalog-config-map", CATALOG)
    try:
        yield running
    finally:
        running.kill()


def told(job: Manifest) -> Report:
    """Steps, and a checkpoint that was read before them and one that was saved after them."""
    report = report_of(job)
    end = report.sent_ms
    more = (
        Span(kind=SpanKind.CHECKPOINT_RESTORE, start_ms=0, duration_ms=50),
        *(s.model_copy(update={"start_ms": s.start_ms + 50}) for s in report.spans),
        Span(kind=SpanKind.CHECKPOINT_SAVE, start_ms=end + 50, duration_ms=70),
    )
    return report.model_copy(update={"spans": more, "sent_ms": end + 200})


async def play(lab: Lab, replica: Replica, queues: QueueDesk) -> None:
    """One job that restarted and reports, one that is over, one that waits in a queue; a power budget."""
    budgets = {"catalog.yaml": "{}", "power.yaml": "[{level: block, watts: 1000000}]"}
    body = {"metadata": {"name": CATALOG}, "data": budgets}
    await lab.client.request("POST", "/api/v1/namespaces/default/configmaps", body=body)
    await lab.nodes("4 hosts of h100 in blocks of 4")
    await lab.apply(lab.job("over", {"run-seconds": "1"}))
    failing = {"run-seconds": "2", "exit-code": "7", "only-attempts": "1", "only-ranks": "1"}
    await lab.apply(lab.job("told", failing, model=MODEL, checkpoint={"intervalSeconds": 60}))
    await lab.until("told", lambda j: j.get("status", {}).get("attempt") == 2, "no second attempt")
    job = await lab.phase("told", "Running")
    await queues.make("short", cohort="all", quotas=quotas(1))
    await lab.apply(lab.job("waits", workersPerSlice=100, queue=queues.name("short")))
    await asyncio.sleep(2)
    metadata = (await lab.pods("drumline.dev/job=told"))[0]["metadata"]
    reporter = Reporter(metadata["namespace"], metadata["name"], metadata["uid"])
    await replica.send(told(job), reporter)


async def test_prometheus_shows_everything_that_is_promised(
    own_cluster: Cluster,
    replica: Replica,
    tmp_path: Path,
) -> None:
    target = replica.operator.metrics_url.removeprefix("http://").removesuffix("/metrics")
    async with make_lab(own_cluster) as lab, desk(lab) as queues:
        with Prometheus(tmp_path / "prometheus", [target]) as prometheus:
            await asyncio.to_thread(replica.operator.wait_leading)
            await play(lab, replica, queues)
            await until_empty(missing_metrics, prometheus, serving=False)
            await until_empty(silent_panels, prometheus, OF_JOBS, {"namespace": lab.namespace, "job": "told"})
            assert unhealthy(prometheus) == []
        check = await asyncio.to_thread(lint, replica.operator.metrics())
        assert check.returncode == 0, check.stdout + check.stderr
