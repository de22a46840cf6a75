"""A real Prometheus scrapes a real operator: every documented metric, every rule, every panel has data."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drumline.api.report import Report, Span, SpanKind
from drumline.runtime.ingest.verdicts import Reporter
from e2e.cluster import build
from e2e.cluster.prometheus import ROOT, Prometheus
from e2e.cluster.provider import Cluster
from tests.integration.operator.conftest import make_lab
from tests.integration.operator.lab import Lab, Manifest
from tests.integration.operator.test_goodput_restart import Replica, own_cluster, report_of

__all__ = ["own_cluster"]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

DASHBOARDS = sorted((ROOT / "charts" / "drumline" / "dashboards").glob("*.json"))
DOCUMENTED = re.compile(r"^\| `(drumline_\w+)` \| (\w+) \|", re.MULTILINE)
SECONDS = 100  # a status with a ledger is written every 30 seconds; two of them make a rate
MODEL = {"parameters": 8e9, "layers": 32, "heads": 32, "headDim": 128, "sequenceLength": 8192}


@pytest.fixture
def replica(own_cluster: Cluster, tmp_path: Path) -> Iterator[Replica]:
    running = Replica(own_cluster, tmp_path)
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


async def play(lab: Lab, replica: Replica) -> None:
    """One job that restarted and reports, one that is over, one that waits."""
    await lab.nodes("4 hosts of h100 in blocks of 4")
    await lab.apply(lab.job("over", {"run-seconds": "1"}))
    failing = {"run-seconds": "2", "exit-code": "7", "only-attempts": "1", "only-ranks": "1"}
    await lab.apply(lab.job("told", failing, model=MODEL, checkpoint={"intervalSeconds": 60}))
    await lab.until("told", lambda j: j.get("status", {}).get("attempt") == 2, "no second attempt")
    job = await lab.phase("told", "Running")
    await lab.apply(lab.job("waits", workersPerSlice=100))
    await asyncio.sleep(2)
    metadata = (await lab.pods("drumline.dev/job=told"))[0]["metadata"]
    reporter = Reporter(metadata["namespace"], metadata["name"], metadata["uid"])
    await replica.send(told(job), reporter)


def missing_metrics(prometheus: Prometheus) -> set[str]:
    """Documented metrics that it has not seen."""
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    found = prometheus.names()
    suffix = {"histogram": "_bucket", "counter": "", "gauge": ""}
    return {name for name, kind in DOCUMENTED.findall(text) if name + suffix[kind] not in found}


def silent_panels(prometheus: Prometheus, namespace: str) -> set[str]:
    """Panels of which some query returns nothing."""
    silent = set()
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                query = target["expr"].replace("$namespace", namespace).replace("$job", "told")
                if not prometheus.query(query):
                    silent.add(f"{path.stem}/{panel['title']}: {query}")
    return silent


def unhealthy(prometheus: Prometheus) -> list[tuple[str, Any]]:
    """Rules that could not be evaluated."""
    return [
        (r["name"], r.get("lastError")) for r in prometheus.rules() if r["health"] not in ("ok", "unknown")
    ]


def lint(metrics: str) -> subprocess.CompletedProcess[str]:
    """promtool's judgement."""
    command = [str(build.binary("promtool")), "check", "metrics"]
    return subprocess.run(command, input=metrics, capture_output=True, text=True, check=False)


async def until_empty(what: Any, *arguments: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while left := await asyncio.to_thread(what, *arguments):
        assert time.monotonic() < deadline, f"after {SECONDS} s: {sorted(left)}"
        await asyncio.sleep(2)


async def test_prometheus_shows_everything_that_is_promised(
    own_cluster: Cluster,
    replica: Replica,
    tmp_path: Path,
) -> None:
    target = replica.operator.metrics_url.removeprefix("http://").removesuffix("/metrics")
    async with make_lab(own_cluster) as lab:
        with Prometheus(tmp_path / "prometheus", [target]) as prometheus:
            await asyncio.to_thread(replica.operator.wait_leading)
            await play(lab, replica)
            await until_empty(missing_metrics, prometheus)
            await until_empty(silent_panels, prometheus, lab.namespace)
            assert unhealthy(prometheus) == []
        check = await asyncio.to_thread(lint, replica.operator.metrics())
        assert check.returncode == 0, check.stdout + check.stderr
