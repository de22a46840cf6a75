"""Accelerators to fall back on: a job that gets none of the first has the next, and stays there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.operator.lab import POOL, Lab, condition, node_of

pytestmark = pytest.mark.cluster

H100 = "nvidia-h100-80gb"


def choosing(lab: Lab, *pools: str) -> dict[str, Any]:
    """An accelerator of two chips a worker, to be looked for in these pools of the test's own in turn."""
    first, *others = (
        {"type": H100, "chipsPerWorker": 2, "nodeSelector": {POOL: f"{lab.prefix}{pool}"}} for pool in pools
    )
    return {**first, "candidates": others, "fallbackSeconds": 1}


def unbound_template() -> dict[str, Any]:
    """A template that names no pool."""
    pod = {"terminationGracePeriodSeconds": 1, "containers": [{"name": "train", "image": "pause:3.10"}]}
    return {"spec": pod}


async def test_a_job_falls_back_and_its_restart_stays(lab: Lab) -> None:
    names = await lab.nodes("2 hosts of h100 in blocks of 2")
    accelerator = choosing(lab, "reserved", "spot", "h100")
    await lab.apply(lab.job("llama", accelerator=accelerator, template=unbound_template()))
    job = await lab.phase("llama", "Running")
    assert job["status"]["candidate"] == 2
    assert "refusedSince" not in job["status"]
    assert "3 of 3 accelerators" in condition(job, "QuotaReserved")["message"]
    pods = await lab.pods("drumline.dev/job=llama")
    assert {node_of(p) for p in pods} <= set(names)
    assert {p["spec"]["nodeSelector"][POOL] for p in pods} == {f"{lab.prefix}h100"}
    events = {e["message"] for e in await lab.list("events") if e["reason"] == "AcceleratorFallback"}
    assert len(events) == 2
    await lab.delete("pods", pods[0]["metadata"]["name"], gracePeriodSeconds=0)
    again = await lab.until(
        "llama", lambda j: j["status"]["attempt"] == 2 and j["status"]["phase"] == "Running", "no restart"
    )
    assert again["status"]["candidate"] == 2


async def test_it_comes_round_to_the_first_once_that_has_room(lab: Lab) -> None:
    await lab.apply(
        lab.job("patient", accelerator=choosing(lab, "h100", "spot"), template=unbound_template())
    )
    await lab.until("patient", lambda j: j.get("status", {}).get("candidate") == 1, "it asks for no other")
    assert await lab.pods("drumline.dev/job=patient") == []
    shown = await lab.plugin("explain", "patient", "-n", lab.namespace)
    assert "patient" in shown.stdout, shown.stderr
    queued_at = (await lab.get("patient"))["status"]["queuedAt"]
    await lab.nodes("2 hosts of h100 in blocks of 2")
    job = await lab.phase("patient", "Running")
    assert job["status"]["candidate"] == 0
    assert job["status"]["joinedAt"] == queued_at
