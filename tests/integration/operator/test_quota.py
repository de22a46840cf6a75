"""A namespace's quota holds for gangs as a whole: two that do not fit it together are not begun together."""

from __future__ import annotations

import asyncio

import pytest

from drumline.runtime.preflight_quota import QUOTA_SECONDS
from tests.integration.operator.lab import Lab, condition, reason

pytestmark = pytest.mark.cluster


async def _quota(lab: Lab, pods: int) -> None:
    path = f"/api/v1/namespaces/{lab.namespace}/resourcequotas"
    body = {"metadata": {"name": "team"}, "spec": {"hard": {"pods": str(pods)}}}
    await lab.client.request("POST", path, body=body)
    for _ in range(1000):
        found = await lab.client.request("GET", f"{path}/team")
        if found.get("status", {}).get("hard"):
            return
        await asyncio.sleep(0.1)
    raise TimeoutError("the quota got no status")


async def _pods_ever(lab: Lab, job: str, seconds: float) -> set[str]:
    """Names of a job's pods seen while watching for a while."""
    seen: set[str] = set()
    for _ in range(int(seconds / 0.1)):
        seen |= {p["metadata"]["name"] for p in await lab.pods(f"drumline.dev/job={job}")}
        await asyncio.sleep(0.1)
    return seen


async def test_of_two_gangs_that_a_quota_has_no_room_for_together_one_waits_and_creates_no_pod(
    lab: Lab,
) -> None:
    await lab.nodes("2 hosts of h100 in blocks of 2")
    await _quota(lab, 10)
    await asyncio.gather(*(lab.apply(lab.job(n, workersPerSlice=6)) for n in "ab"))
    phases = await lab.phases("ab", ["Queued", "Running"])
    running, waiting = sorted("ab", key=lambda n: phases[n], reverse=True)
    job = await lab.until(
        waiting, lambda j: reason(j, "QuotaReserved") == ("False", "NamespaceQuotaExceeded")
    )
    assert "pods: the gang needs" in condition(job, "QuotaReserved")["message"]
    assert await _pods_ever(lab, waiting, 3.0) == set()
    assert job["status"].get("attempt", 0) == 0
    await lab.delete("trainingjobs", running)
    await lab.phase(waiting, "Running")
    assert (await lab.get(waiting))["status"]["attempt"] == 1


async def test_a_gang_that_waited_for_nodes_meets_the_quota_of_the_day(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    await lab.apply(lab.job("first", workersPerSlice=8))
    await lab.phase("first", "Running")
    await lab.apply(lab.job("second", workersPerSlice=8))
    await lab.until(
        "second", lambda j: condition(j, "QuotaReserved").get("reason") == "InsufficientAccelerators"
    )
    await _quota(lab, 7)
    await asyncio.sleep(QUOTA_SECONDS + 0.5)  # the operator may go by an older list for so long
    await lab.delete("trainingjobs", "first")
    await lab.until(
        "second", lambda j: condition(j, "QuotaReserved").get("reason") == "NamespaceQuotaExceeded"
    )
    assert await _pods_ever(lab, "second", 2.0) == set()
