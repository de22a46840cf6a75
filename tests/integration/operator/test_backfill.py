"""Small gangs go ahead of a big one that does not fit, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2e.cluster.provider import Cluster
from tests.integration.operator.conftest import PATIENT, make_lab, start_operator
from tests.integration.operator.lab import Lab, condition

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

WHOLE_HOST = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
HEAD_WAIT = 12
AGING = 5
SMALL = 30


@pytest.fixture
async def lab(own_cluster: Cluster, tmp_path: Path) -> AsyncIterator[Lab]:
    """A lab whose operator lets the head of the queue, and low priorities, wait for a short time only."""
    flags = (*PATIENT, "--head-wait", str(HEAD_WAIT), "--aging", str(AGING))
    operator = start_operator(own_cluster.kubeconfig, tmp_path / "log", *flags)
    try:
        operator.wait_leading()
        async with make_lab(own_cluster) as made:
            yield made
    finally:
        operator.stop()


async def _began(lab: Lab, name: str) -> str:
    """When a job's first attempt began; "" while it has none."""
    attempts = (await lab.get(name)).get("status", {}).get("attempts") or ()
    return str(attempts[0]["startedAt"]) if attempts else ""


async def test_a_big_gang_is_not_starved_by_small_ones(lab: Lab) -> None:
    """One of two hosts is busy for long; small gangs keep the other busy until room is kept for the big one."""
    await lab.nodes("2 hosts of h100 in blocks of 2")
    await lab.apply(
        lab.job("long", {"run-seconds": str(2 * HEAD_WAIT)}, accelerator=WHOLE_HOST, workersPerSlice=1)
    )
    await lab.phase("long", "Running")
    await lab.apply(lab.job("big", accelerator=WHOLE_HOST, workersPerSlice=2))
    await lab.until(
        "big", lambda j: condition(j, "QuotaReserved").get("reason") == "InsufficientAccelerators"
    )
    small = [f"small-{i}" for i in range(SMALL)]
    for name in small:
        await lab.apply(lab.job(name, {"run-seconds": "2"}, accelerator=WHOLE_HOST, workersPerSlice=1))
    job = await lab.until(
        "big", lambda j: "kept for it" in condition(j, "QuotaReserved").get("message", ""), "nothing is kept"
    )
    assert "first in line, with 2 of the nodes" in condition(job, "QuotaReserved")["message"]
    await lab.phase("big", "Running", 120)
    began = await _began(lab, "big")
    times = [await _began(lab, name) for name in small]
    assert any(t and t < began for t in times), "none went ahead while the big gang could wait"
    assert times.count("") > 0, "the big gang began only after all that came later"
    assert not any(t > began for t in times), "the big gang has both hosts"


async def test_a_low_priority_is_not_starved_by_a_high_one(lab: Lab) -> None:
    """What has waited for long begins before what is worth more and came later."""
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    high = {"metadata": {"name": "backfill-high"}, "value": 1000, "preemptionPolicy": "Never"}
    await lab.client.request("POST", path, body=high)
    await lab.nodes("1 hosts of h100 in blocks of 1")
    one = {"accelerator": WHOLE_HOST, "workersPerSlice": 1}
    await lab.apply(lab.job("runs", {"run-seconds": str(3 * AGING)}, **one))
    await lab.phase("runs", "Running")
    await lab.apply(lab.job("low", {"run-seconds": "1"}, **one))
    await asyncio.sleep(1.1)  # an object's age counts whole seconds
    await lab.apply(lab.job("high", {"run-seconds": "1"}, priorityClassName="backfill-high", **one))
    for name in ("low", "high"):
        await lab.phase(name, "Succeeded", 120)
    assert await _began(lab, "low") < await _began(lab, "high")
