"""What only workers know: which of them is slow, and what rank 0 had done when it died."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from drumline.api.report import JobRef, Report, Span, SpanKind
from drumline.runtime.ingest.verdicts import Reporter
from drumline.worker import client
from drumline.worker.identity import identity
from drumline.worker.transport import Answer
from e2e.cluster.provider import Cluster
from tests.integration.operator.conftest import make_lab
from tests.integration.operator.lab import Lab, Manifest, env_of
from tests.integration.operator.test_goodput import assert_balanced, assert_grown, states_of, succeed
from tests.integration.operator.test_goodput_restart import Replica

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

WORKERS = 4
SLOW = 2
STEPS = 25
STEP_MS = 1000


@pytest.fixture(scope="module")
def replica(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    folder: Path = tmp_path_factory.mktemp("replica")
    running = Replica(own_cluster, folder)
    try:
        yield running
    finally:
        running.kill()


class _Nobody:
    """Takes no report: the test carries them to the operator itself."""

    def send(self, body: bytes) -> Answer:
        raise AssertionError("nothing is sent from here")

    def close(self) -> None:
        pass


def program(pod: Manifest, job: Manifest, own_seconds: float) -> Report:
    """What a program in that pod reports: as many steps, of each of which it is so long busy with its own."""
    now = 0
    environ = {name: value for name, value in env_of(pod).items() if isinstance(value, str)}
    fields = {"DRUMLINE_JOB": job["metadata"]["name"], "DRUMLINE_REPORTER": "all-workers", **environ}
    who = identity({"DRUMLINE_JOB_NAMESPACE": job["metadata"]["namespace"], **fields})
    who = who._replace(uid=job["metadata"]["uid"], attempt=job["status"]["attempt"])
    reporter = client.Reporter(who, _Nobody(), clock=lambda: now)
    for step in range(STEPS):
        with reporter.compute():
            now += round(own_seconds * STEP_MS)
        now = (step + 1) * STEP_MS
        reporter.report_step(step)
    assert who.chosen
    return Report.model_validate_json(reporter.report())


def sender(pod: Manifest) -> Reporter:
    metadata = pod["metadata"]
    return Reporter(metadata["namespace"], metadata["name"], metadata["uid"])


async def test_a_slow_worker_is_named_in_the_status_and_counted(
    own_cluster: Cluster, replica: Replica
) -> None:
    async with make_lab(own_cluster) as lab:
        await lab.nodes(f"{WORKERS} hosts of h100 in blocks of {WORKERS}")
        await lab.apply(lab.job("uneven", workersPerSlice=WORKERS))
        job = await lab.phase("uneven", "Running")
        for index, pod in enumerate(await lab.pods()):
            report = program(pod, job, 0.7 if index == SLOW else 0.4)
            assert report.worker == index
            await replica.send(report, sender(pod))
        job = await lab.until("uneven", lambda j: j["status"]["goodput"]["stragglers"], "nobody is slow")
        found = job["status"]["goodput"]["stragglers"]
        assert [(s["lane"], s["medianMs"]) for s in found] == [(f"0-{SLOW}", 700)]
        assert found[0]["since"].startswith("20")
        assert job["status"]["goodput"]["step"] == STEPS - 1
        assert_balanced(job, WORKERS)
        labels = f'namespace="{lab.namespace}",job="uneven"'
        assert f"drumline_job_stragglers{{{labels}}} 1" in replica.operator.metrics()


async def test_what_rank_0_did_after_its_last_report_is_not_lost_if_it_was_durable(
    own_cluster: Cluster, replica: Replica
) -> None:
    async with make_lab(own_cluster) as lab:
        await lab.nodes("2 hosts of h100 in blocks of 2")
        await lab.apply(lab.job("killed"))
        job = await lab.phase("killed", "Running")
        rank_0 = (await lab.pods())[0]
        await asyncio.sleep(2)
        spans = tuple(Span(kind=SpanKind.STEP, start_ms=i * 100, duration_ms=100, step=i) for i in range(20))
        await replica.send(said(job, spans=spans, sent_ms=2000), sender(rank_0))
        await asyncio.sleep(4)
        await fail(lab, rank_0)
        before = await lab.until("killed", lambda j: j["status"]["attempt"] == 2, "no second attempt")
        before = await lab.phase("killed", "Running")
        assert_balanced(before)
        assert "lost_progress" not in states_of(before)
        assert before["status"]["goodput"]["provisionalMs"] >= 2 * 5000
        pods = await lab.pods()
        await replica.send(said(before, resumed_step=1000, sent_ms=100), sender(pods[0]))
        for pod in pods:
            await succeed(lab, pod)
        job = await lab.phase("killed", "Succeeded")
        assert_balanced(job)
        assert_grown(before, job)
        assert states_of(job)["productive"] >= 2 * 5000
        assert "lost_progress" not in states_of(job)
        assert job["status"]["attempts"][0]["lostSteps"] == 0


def said(job: Manifest, **fields: object) -> Report:
    """A report of rank 0."""
    metadata = job["metadata"]
    whose = JobRef(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"])
    attempt = job["status"]["attempt"]
    return Report.model_validate(
        {"version": 1, "job": whose, "attempt": attempt, "origin": f"life-{attempt}", **fields}
    )


async def fail(lab: Lab, pod: Manifest) -> None:
    """What the pod's kubelet would write when its container ends badly."""
    path = f"/api/v1/namespaces/{lab.namespace}/pods/{pod['metadata']['name']}/status"
    body = {"status": {"phase": "Failed"}}
    await lab.client.request("PATCH", path, body=body, content_type="application/merge-patch+json")
