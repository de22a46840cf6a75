"""A name of ours that somebody else has ends the job in words, whichever of its names it is."""

from __future__ import annotations

import pytest

from tests.integration.operator.lab import Lab, condition, reason

pytestmark = pytest.mark.cluster


async def test_a_stranger_with_the_name_of_rank_zero_is_a_name_conflict(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    pod = {"metadata": {"name": "squat-1-0-0"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    path = f"/api/v1/namespaces/{lab.namespace}/pods"
    before = await lab.client.request("POST", path, body=pod)
    await lab.apply(lab.job("squat"))
    job = await lab.phase("squat", "Failed")
    assert reason(job, "Failed") == ("True", "NameConflict")
    assert "squat-1-0-0" in condition(job, "Failed")["message"]
    await lab.settle("squat", 1.0)
    assert await lab.pods() == []
    after = await lab.client.request("GET", f"{path}/squat-1-0-0")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
