"""What counts as success: rank 0 alone, or every role."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.operator.lab import Lab, condition, reason

pytestmark = pytest.mark.cluster

GRACE_SECONDS = 30  # survivors of a success get this long


def helper(**annotations: str) -> dict[str, Any]:
    """A CPU helper `eval` that does as told."""
    fake = {f"fake.drumline.dev/{k.replace('_', '-')}": v for k, v in annotations.items()}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [{"name": "h", "image": "pause"}]}
    return {"name": "eval", "replicas": 1, "template": {"metadata": {"annotations": fake}, "spec": pod}}


def succeeded(count: int) -> Any:
    """That many workers are on record as succeeded."""
    return lambda j: j.get("status", {}).get("workers", {}).get("succeeded") == count


async def phases(lab: Lab) -> dict[str, str]:
    """Pod → phase, of pods that nobody is deleting."""
    pods = [p for p in await lab.pods() if "deletionTimestamp" not in p["metadata"]]
    return {p["metadata"]["name"]: p["status"]["phase"] for p in pods}


async def test_rank_0_ends_the_job_and_survivors_go_after_a_grace(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    done = {"run-seconds": "1", "only-ranks": "0"}
    await lab.apply(lab.job("lead", done, successPolicy={"type": "Rank0"}))
    job = await lab.phase("lead", "Succeeded")
    assert reason(job, "Complete") == ("True", "Completed")
    assert "1 of 1 pods of successPolicy Rank0" in condition(job, "Complete")["message"]
    assert (job["status"]["attempt"], job["status"]["restarts"]) == (1, [])
    assert "lead-1-0-1" in await phases(lab), "a survivor may finish what it is at"
    await lab.until_pods(lambda pods: "lead-1-0-1" not in pods, seconds=4 * GRACE_SECONDS)
    assert (await phases(lab)).get("lead-1-0-0", "Succeeded") == "Succeeded"


async def test_success_of_another_rank_is_not_enough_for_rank_0(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    done = {"run-seconds": "1", "only-ranks": "1"}
    await lab.apply(lab.job("lead", done, successPolicy={"type": "Rank0"}))
    await lab.until("lead", succeeded(1))
    job = await lab.settle("lead")
    assert (job["status"]["phase"], job["status"]["restarts"]) == ("Running", [])


async def test_rank_0_that_fails_restarts_the_gang_though_others_succeeded(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    failing = {"run-seconds": "1", "exit-code": "5", "only-attempts": "1", "only-ranks": "0"}
    await lab.apply(lab.job("lead", failing, successPolicy={"type": "Rank0"}))
    job = await lab.until("lead", lambda j: j.get("status", {}).get("attempt") == 2)
    assert job["status"]["attempts"][0]["exitCode"] == 5
    await lab.phase("lead", "Running")


async def test_every_role_has_to_succeed_where_the_policy_says_so(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1", "1 hosts of cpu")
    job = lab.job(
        "all", {"run-seconds": "1"}, successPolicy={"type": "Roles"}, helpers=[helper(run_seconds="15")]
    )
    await lab.apply(job)
    found = await lab.until("all", succeeded(2))
    assert found["status"]["phase"] == "Running", "the helper has not succeeded yet"
    found = await lab.phase("all", "Succeeded")
    assert "3 of 3 pods of successPolicy Roles" in condition(found, "Complete")["message"]


async def test_a_helper_that_goes_on_keeps_no_job_from_success_of_all_workers(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1", "1 hosts of cpu")
    await lab.apply(lab.job("some", {"run-seconds": "1"}, helpers=[helper()]))
    found = await lab.phase("some", "Succeeded")
    assert "2 of 2 pods of successPolicy AllWorkers" in condition(found, "Complete")["message"]
