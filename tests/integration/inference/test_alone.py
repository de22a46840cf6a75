"""Operators that a test starts and ends itself: killed in the middle, told to wait less."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2e.cluster.provider import Cluster
from tests.integration.inference.services import Services, groups, is_ready
from tests.integration.inference.test_eviction import cordon
from tests.integration.inference.test_rollout import image
from tests.integration.inference.watching import watching
from tests.integration.operators import PATIENT, make_lab, start_operator

pytestmark = pytest.mark.cluster

SOON = ("--lease-duration", "20", "--lease-renew-deadline", "15", "--lease-retry", "2")


@pytest.fixture
async def alone(own_cluster: Cluster) -> AsyncIterator[Services]:
    """What a test asks of services on a cluster whose operator it starts and ends itself."""
    async with make_lab(own_cluster) as lab:
        yield Services(lab)


async def test_an_operator_killed_in_the_middle_of_a_rollout_goes_on_where_it_was(
    alone: Services, tmp_path: Path
) -> None:
    kubeconfig = alone.lab.cluster.kubeconfig
    await alone.lab.nodes("2 hosts of h100 in blocks of 2")
    first = start_operator(kubeconfig, tmp_path / "first")
    try:
        first.wait_leading()
        role = alone.role(groupSize=2, replicas=4, annotations={"start-seconds": "1"})
        await alone.apply(alone.service("chat", role))
        before = await alone.ready("chat")
        async with watching(alone, "chat") as seen:
            await alone.patch("chat", image("2"))
            await alone.until("chat", lambda s: any(g["id"] > 4 for g in groups(s)), "no rollout")
            first.process.kill()
            first.process.wait()
            second = start_operator(kubeconfig, tmp_path / "second", *SOON)
            try:
                found = await alone.until(
                    "chat",
                    lambda s: (
                        is_ready(s) and s["status"]["currentRevision"] != before["status"]["currentRevision"]
                    ),
                    "the rollout does not go on",
                )
            finally:
                second.stop()
        assert "Traceback" not in (tmp_path / "second").read_text()
    finally:
        first.stop()
    assert min(seen.ready) >= 4
    assert max(seen.ready) <= 5
    assert all(g["attempt"] == 1 for g in groups(found))
    assert [g["id"] for g in groups(found)] == [4, 5, 6, 7]


async def test_a_group_with_nowhere_to_go_leaves_its_cordoned_node_after_a_while(
    alone: Services, tmp_path: Path
) -> None:
    (node,) = await alone.lab.nodes("1 hosts of h100 in blocks of 1")
    operator = start_operator(alone.lab.cluster.kubeconfig, tmp_path / "log", *PATIENT, "--evacuate", "3")
    try:
        operator.wait_leading()
        await alone.apply(alone.service("chat"))
        await alone.ready("chat")
        await cordon(alone, node)
        await alone.until_no_pods("chat")
        found = await alone.until("chat", lambda s: any(g.get("phase") == "Waiting" for g in groups(s)))
        assert not is_ready(found)
        await cordon(alone, node, value=False)
        await alone.ready("chat")
    finally:
        operator.stop()
