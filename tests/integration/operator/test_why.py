"""`kubectl drumline why` about jobs that an operator runs."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.integration.operator.lab import SECONDS, Lab

pytestmark = pytest.mark.cluster


async def _why(lab: Lab, *arguments: str) -> str:
    """What kubectl's plugin prints."""
    done = await lab.plugin("why", *arguments, "-n", lab.namespace)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def _told(lab: Lab, reason: str) -> None:
    """Once there is such an event: events follow the status."""
    async with asyncio.timeout(SECONDS):
        while not any(e["reason"] == reason for e in await lab.list("events")):
            await asyncio.sleep(0.1)


async def test_a_job_that_failed_for_good(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    await lab.apply(lab.job("hungry", {"run-seconds": "1", "oom": "true", "only-ranks": "1"}))
    await lab.phase("hungry", "Failed")
    await _told(lab, "OutOfMemoryRepeated")
    text = " ".join((await _why(lab, "hungry")).split())
    assert (
        f"{lab.namespace}/hungry: Failed, attempt 2 OutOfMemoryRepeated: OutOfMemory: container train" in text
    )
    assert "Next: nothing: the job has failed" in text
    assert "OutOfMemory RestartGang 1 137" in text
    assert "OutOfMemory Fail 1 137" in text
    assert "maxRestarts 2 3 1" in text
    assert "Warning OutOfMemoryRepeated: OutOfMemory: container train" in text


async def test_a_job_that_waits_for_its_next_attempt(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    policy = {"backoff": {"initialSeconds": 600}}
    await lab.apply(lab.job("patient", {"run-seconds": "1", "exit-code": "9"}, failurePolicy=policy))
    await lab.phase("patient", "Restarting")
    await _told(lab, "GangRestarting")
    body = json.loads(await _why(lab, "patient", "-o", "json"))
    (attempt,) = body["attempts"]
    assert (attempt["cause"], attempt["exitCode"], attempt["action"]) == ("ApplicationExit", 9, "RestartGang")
    assert body["next"].startswith(f"attempt 2 at {body['nextAttemptAt']}")
    assert body["budgets"] == [
        {"name": "maxRestarts", "used": 1, "allowed": 10, "windowSeconds": None, "left": 9}
    ]
    assert [e["reason"] for e in body["events"]][-1] == "GangRestarting"


async def test_the_events_of_an_earlier_job_of_that_name_are_its_own(lab: Lab) -> None:
    before = await lab.apply(lab.job("again", {"run-seconds": "1"}, suspend=True))
    await lab.phase("again", "Suspended")
    await _told(lab, "SuspendedBySpec")
    old = json.loads(await _why(lab, "again", "-o", "json"))
    assert [e["reason"] for e in old["events"]] == ["SuspendedBySpec"]
    await lab.delete("trainingjobs", "again")
    async with asyncio.timeout(SECONDS):
        while any(j["metadata"]["uid"] == before["metadata"]["uid"] for j in await lab.list("trainingjobs")):
            await asyncio.sleep(0.1)
    await lab.apply(lab.job("again", {"run-seconds": "1"}))
    await lab.until("again", lambda job: "status" in job, "looked at")
    new = json.loads(await _why(lab, "again", "-o", "json"))
    assert "SuspendedBySpec" not in {e["reason"] for e in new["events"]}
