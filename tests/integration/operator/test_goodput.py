"""A job's ledger on fake pods: it adds up to the millisecond, whatever happens to the job or to the operator."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from tests.integration.operator.lab import Lab, Manifest

pytestmark = pytest.mark.cluster

NOT_HELD = ("suspended", "queued", "provisioning")


def millis(text: str) -> int:
    """Unix milliseconds."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def states_of(job: Manifest) -> dict[str, int]:
    """Accelerator-milliseconds by state."""
    return {s["state"]: s["ms"] for s in job["status"]["goodput"]["states"]}


def assert_balanced(job: Manifest, lanes: int = 2) -> None:
    """Every state together is lanes times elapsed time, exactly."""
    found = job["status"]["goodput"]
    lived = millis(found["at"]) - millis(job["metadata"]["creationTimestamp"])
    assert found["elapsedMs"] == lanes * lived
    assert sum(states_of(job).values()) + found["provisionalMs"] == lanes * lived
    held = sum(ms for state, ms in states_of(job).items() if state not in NOT_HELD)
    assert found["heldMs"] == held + found["provisionalMs"]
    wall = sum(int(entry.split(":")[1]) for entry in found["timeline"])
    assert wall == lived


def assert_grown(before: Manifest, after: Manifest) -> None:
    """No counter has fallen."""
    now = states_of(after)
    assert all(now.get(state, 0) >= ms for state, ms in states_of(before).items())


async def test_from_the_queue_through_a_failure_to_success(lab: Lab) -> None:
    failing = {"run-seconds": "6", "exit-code": "7", "only-attempts": "1", "only-ranks": "1"}
    await lab.apply(lab.job("account", failing))
    await lab.until("account", lambda j: bool(j.get("status", {}).get("conditions")), "nothing is said of it")
    await asyncio.sleep(2)
    await lab.nodes("2 hosts of h100 in blocks of 2")
    await lab.phase("account", "Running")
    job = await lab.until("account", lambda j: j["status"]["attempt"] == 2, "no second attempt")
    assert_balanced(job)
    before = await lab.phase("account", "Running")
    assert_balanced(before)
    assert_grown(job, before)
    await asyncio.sleep(2)
    for pod in await lab.pods():
        await succeed(lab, pod)
    job = await lab.phase("account", "Succeeded")
    assert_balanced(job)
    assert_grown(before, job)
    found, states = job["status"]["goodput"], states_of(job)
    assert found["provisionalMs"] == 0
    assert found["at"] == job["status"]["completionTime"]
    assert states["queued"] >= 2 * 2000
    assert states["productive"] >= 2 * 1500, "the second attempt, which succeeded"
    assert states["lost_progress"] >= 2 * 2500, "the first, of which no checkpoint is known"
    restarts = {s["state"]: s["restartMs"] for s in found["states"] if s["restartMs"]}
    assert restarts
    assert set(restarts) <= {"draining", "binding", "pod_init", "image_pull", "gang_wait"}


async def test_suspended_time_is_nobodys(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    await lab.apply(lab.job("paused"))
    await lab.phase("paused", "Running")
    await lab.patch("paused", {"op": "replace", "path": "/spec/suspend", "value": True})
    await lab.phase("paused", "Suspended")
    await asyncio.sleep(2)
    await lab.patch("paused", {"op": "replace", "path": "/spec/suspend", "value": False})
    job = await lab.phase("paused", "Running")
    assert_balanced(job)
    assert states_of(job)["suspended"] >= 2 * 2000


async def succeed(lab: Lab, pod: Manifest) -> None:
    """What the pod's kubelet would write when its container ends well."""
    status: dict[str, Any] = {"status": {"phase": "Succeeded"}}
    path = f"/api/v1/namespaces/{lab.namespace}/pods/{pod['metadata']['name']}/status"
    await lab.client.request("PATCH", path, body=status, content_type="application/merge-patch+json")
