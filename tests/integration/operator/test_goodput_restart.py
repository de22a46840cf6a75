"""An operator that is killed in the middle of a job loses nothing of its ledger, and counts nothing twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from drumline.api.report import Commit, JobRef, Report, Span, SpanKind
from drumline.runtime.ingest.verdicts import Accepted, Reporter, Verdict
from e2e.cluster.provider import Cluster
from tests.integration.desk import hand_over
from tests.integration.operator.conftest import Operator, make_lab, start_operator
from tests.integration.operator.lab import Lab, Manifest
from tests.integration.operator.test_goodput import (
    assert_balanced,
    assert_grown,
    millis,
    states_of,
    succeed,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

FAST = ("--lease-duration", "3", "--lease-renew-deadline", "2", "--lease-retry", "0.5")
STEPS = 20
STEP_MS = 100
TOKENS = 1024


class Replica:
    """An operator that is killed and started again, and its socket for reports."""

    def __init__(self, cluster: Cluster, folder: Path, *extra: str) -> None:
        self._cluster = cluster
        self._extra = extra
        self._folder = folder
        self._lives = 0
        self.socket = folder / "reports.sock"
        self.operator = self._start()

    def _start(self) -> Operator:
        self._lives += 1
        log = self._folder / f"life-{self._lives}"
        more = (*FAST, *self._extra, "--report-socket", str(self.socket))
        return start_operator(self._cluster.kubeconfig, log, *more)

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.operator.process.pid, signal.SIGKILL)
        self.operator.process.wait()

    def again(self) -> None:
        """Start it again."""
        self.operator = self._start()

    async def send(self, report: Report, reporter: Reporter) -> Accepted:
        """What the ingest passes on, until it is taken."""
        async with asyncio.timeout(60):
            while not isinstance(verdict := await self._send(report, reporter), Accepted):
                await asyncio.sleep(0.2)
        return verdict

    async def _send(self, report: Report, reporter: Reporter) -> Verdict | None:
        try:
            return await hand_over(self.socket, report, reporter)
        except OSError:
            return None


@pytest.fixture
def replica(own_cluster: Cluster, tmp_path: Path) -> Iterator[Replica]:
    running = Replica(own_cluster, tmp_path)
    try:
        yield running
    finally:
        running.kill()


def report_of(job: Manifest) -> Report:
    """Steps from the reporter's first moment on, half of them in a checkpoint."""
    metadata = job["metadata"]
    spans = tuple(
        Span(kind=SpanKind.STEP, start_ms=i * STEP_MS, duration_ms=STEP_MS, step=i, tokens=TOKENS)
        for i in range(STEPS)
    )
    return Report(
        version=1,
        job=JobRef(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"]),
        attempt=job["status"]["attempt"],
        origin="test",
        sent_ms=STEPS * STEP_MS,
        spans=spans,
        commits=(Commit(step=STEPS // 2 - 1, at_ms=STEPS * STEP_MS),),
    )


async def rank_0(lab: Lab) -> Reporter:
    metadata = (await lab.pods())[0]["metadata"]
    return Reporter(metadata["namespace"], metadata["name"], metadata["uid"])


def ready_at(pods: list[Manifest]) -> int:
    """When the last pod became ready, Unix milliseconds."""
    conditions = [c for p in pods for c in p["status"]["conditions"] if c["type"] == "Ready"]
    return max(millis(c["lastTransitionTime"]) for c in conditions)


async def test_killed_while_a_job_runs(own_cluster: Cluster, replica: Replica) -> None:
    async with make_lab(own_cluster) as lab:
        await lab.nodes("2 hosts of h100 in blocks of 2")
        await lab.apply(lab.job("steady"))
        before = await lab.phase("steady", "Running")
        up = ready_at(await lab.pods())
        assert_balanced(before)
        replica.kill()
        await asyncio.sleep(4)
        replica.again()
        await asyncio.to_thread(replica.operator.wait_leading)
        await asyncio.sleep(2)
        for pod in await lab.pods():
            await succeed(lab, pod)
        job = await lab.phase("steady", "Succeeded")
        assert_balanced(job)
        assert_grown(before, job)
        found = states_of(job)
        lived = millis(job["status"]["completionTime"]) - up
        # readiness is told in whole seconds; ranks end one after the other
        assert found["productive"] + found.get("idle_tail", 0) == pytest.approx(2 * lived, abs=2 * 1000)


async def test_reports_are_counted_once_though_the_operator_is_killed(
    own_cluster: Cluster, replica: Replica
) -> None:
    async with make_lab(own_cluster) as lab:
        await lab.nodes("2 hosts of h100 in blocks of 2")
        await lab.apply(lab.job("told"))
        before = await lab.phase("told", "Running")
        await asyncio.sleep(STEPS * STEP_MS / 1000)
        report, reporter = report_of(before), await rank_0(lab)
        first = await replica.send(report, reporter)
        assert first.receipt.durable_ms == 0, "no status holds it yet, so it has to be sent again"
        replica.kill()
        replica.again()
        again = await replica.send(report, reporter)
        assert again.receipt.durable_ms == 0
        twice = await replica.send(report, reporter)
        assert isinstance(twice, Accepted)
        for pod in await lab.pods():
            await succeed(lab, pod)
        job = await lab.phase("told", "Succeeded")
        assert_balanced(job)
        assert_grown(before, job)
        found = job["status"]["goodput"]
        assert found["source"] == "reported"
        assert (found["step"], found["stepTimes"]["count"]) == (STEPS - 1, STEPS)
        assert found["tokens"] == STEPS * TOKENS
        assert states_of(job)["productive"] == pytest.approx(2 * STEPS * STEP_MS, abs=2 * STEP_MS)
        condition = next(c for c in job["status"]["conditions"] if c["type"] == "ProgressReported")
        assert (condition["status"], condition["reason"]) == ("True", "ReportsReceived")
        metrics = replica.operator.metrics()
        labels = f'namespace="{lab.namespace}",job="told"'
        assert f"drumline_job_tokens_total{{{labels}}} {STEPS * TOKENS}" in metrics
        assert 'drumline_reports_total{outcome="accepted"}' in metrics
