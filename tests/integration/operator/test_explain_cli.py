"""`kubectl drumline explain` about jobs that wait for an operator to admit them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import Any

import pytest

from tests.integration.operator.lab import Lab

pytestmark = pytest.mark.cluster


async def _explain(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await lab.plugin("explain", *arguments, "-n", lab.namespace)


async def _data(lab: Lab, name: str) -> dict[str, Any]:
    done = await _explain(lab, name, "-o", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def test_who_would_have_to_end_and_when_it_begins_at_the_latest(lab: Lab) -> None:
    await lab.nodes("3 hosts of h100 in blocks of 3")
    whole = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
    await lab.apply(lab.job("dated", accelerator=whole, workersPerSlice=1, activeDeadlineSeconds=3600))
    await lab.phase("dated", "Running")
    await lab.apply(lab.job("endless", accelerator=whole, workersPerSlice=2))
    await lab.phase("endless", "Running")
    await lab.apply(lab.job("small", accelerator=whole, workersPerSlice=1))
    await lab.phase("small", "Queued")
    await asyncio.sleep(1.1)  # the queue's order is by creation, of which only the second is known
    await lab.apply(lab.job("all", accelerator=whole, workersPerSlice=3))
    await asyncio.sleep(1.1)
    await lab.apply(lab.job("never", accelerator=whole, workersPerSlice=4))
    for name in ("all", "never"):
        await lab.until(name, lambda j: "insufficient" in json.dumps(j.get("status", {})).lower())

    def mine(names: list[str]) -> list[str]:
        return [n.partition("/")[2] for n in names if n.startswith(f"{lab.namespace}/")]

    small = await _data(lab, "small")
    assert small["condition"].startswith("InsufficientAccelerators: ")
    assert (small["fitsNow"], small["reason"], small["never"]) == (False, "InsufficientAccelerators", None)
    assert [h["name"] for h in small["wouldHaveToEnd"]] == [f"{lab.namespace}/dated"]
    assert small["latest"] is not None
    assert mine(small["ahead"]) == []

    every = await _data(lab, "all")
    assert {h["name"] for h in every["wouldHaveToEnd"]} == {
        f"{lab.namespace}/dated",
        f"{lab.namespace}/endless",
    }
    assert every["latest"] is None
    assert mine(every["ahead"]) == ["small"]

    text = " ".join((await _explain(lab, "never")).stdout.split())
    assert f"{lab.namespace}/never waits" in text
    assert "Ever: not in this cluster: needs 32 × nvidia-h100-80gb" in text.replace(" x ", " × ")
    assert "even if every other gang ended" in text

    runs = await _explain(lab, "dated")
    assert (runs.returncode, runs.stdout) == (3, "")
    assert runs.stderr == f"error: {lab.namespace}/dated does not wait for admission: it is Running\n"
    assert (await _explain(lab, "nobody")).returncode == 3
