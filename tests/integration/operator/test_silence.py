"""A launcher that does not run is missed, on time and once; one that says hello is not. Pods that run nothing are mute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drumline.api.report import JobRef, Report, ReportSource
from drumline.core.gang.clock import unix
from drumline.runtime.ingest.verdicts import Accepted, Reporter
from drumline.runtime.ledger_keeper import HELD_SECONDS
from e2e.cluster.provider import Cluster
from tests.integration.desk import hand_over
from tests.integration.operator.conftest import PATIENT, make_lab, start_operator
from tests.integration.operator.lab import Lab, Manifest, condition

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SILENCE_SECONDS = 10
LAUNCHER = ("--report-url", "https://ingest.svc/v1/report", "--launcher-image", "drumline/operator:1")


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    """Where the operator takes reports."""
    return tmp_path / "reports.sock"


@pytest.fixture
async def lab(own_cluster: Cluster, tmp_path: Path, socket: Path) -> AsyncIterator[Lab]:
    """A lab whose operator has a launcher, and little patience with it."""
    options = [
        *PATIENT,
        *LAUNCHER,
        "--launcher-silence",
        str(SILENCE_SECONDS),
        "--report-socket",
        str(socket),
    ]
    operator = start_operator(own_cluster.kubeconfig, tmp_path / "log", *options)
    try:
        operator.wait_leading()
        async with make_lab(own_cluster) as made:
            await made.nodes("2 hosts of h100 in blocks of 2")
            yield made
        assert "Traceback" not in operator.log.read_text()
    finally:
        operator.stop()


def launched(lab: Lab, name: str) -> Manifest:
    """A job of one worker that is to run under the launcher."""
    job = lab.job(name, workersPerSlice=1, progress={"source": "launcher"})
    job["spec"]["template"]["spec"]["containers"][0]["command"] = ["torchrun", "train.py"]
    return job


async def said(lab: Lab, name: str) -> str:
    """Why no progress is reported."""
    return str(condition(await lab.get(name), "ProgressReported").get("reason", ""))


async def ran_for(lab: Lab, job: Manifest) -> float:
    """Seconds from the start of its only container to the last write of a job's status."""
    pod = (await lab.pods(f"drumline.dev/job={job['metadata']['name']}"))[0]
    started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    written = max(m["time"] for m in job["metadata"]["managedFields"] if m.get("subresource") == "status")
    return unix(written) - unix(started)


async def greet(lab: Lab, name: str, socket: Path, **more: Any) -> None:
    """What a launcher's first report does, in the name of the job's only pod."""
    job = (await lab.get(name))["metadata"]
    pod = (await lab.pods(f"drumline.dev/job={name}"))[0]["metadata"]
    whose = JobRef(namespace=job["namespace"], name=name, uid=job["uid"])
    report = Report(version=1, job=whose, attempt=1, source=ReportSource.LAUNCHER, sent_ms=3, **more)
    reporter = Reporter(pod["namespace"], pod["name"], pod["uid"])
    assert isinstance(await hand_over(socket, report, reporter), Accepted)


async def test_the_mute_are_missed_and_they_alone(lab: Lab, socket: Path) -> None:
    for name, more in (("greets", {}), ("old", {"old_python": "3.6.9"})):
        await lab.apply(launched(lab, name))
        await lab.phase(name, "Running")
        await greet(lab, name, socket, **more)
    await lab.apply(launched(lab, "mute"))
    job = await lab.until(
        "mute", lambda j: condition(j, "ProgressReported").get("reason") == "LauncherSilent"
    )
    reported = condition(job, "ProgressReported")
    assert (reported["status"], "no Python 3.9 or newer" in reported["message"]) == ("False", True)
    # when it was due, and not when figures are written anyway; both times are whole seconds
    assert SILENCE_SECONDS - 1 <= await ran_for(lab, job) < HELD_SECONDS
    job = await lab.until("old", lambda j: condition(j, "ProgressReported").get("reason") == "NoPython")
    assert "the image's is 3.6.9" in condition(job, "ProgressReported")["message"]
    await asyncio.sleep(SILENCE_SECONDS)
    assert await said(lab, "greets") == "NoReports"
