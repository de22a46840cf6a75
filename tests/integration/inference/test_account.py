"""An operator that is killed loses nothing of a service's account, and counts nothing twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from drumline.cli.cluster import OK
from drumline.cli.main import main
from drumline.runtime.metrics import read_series
from e2e.cluster.provider import Cluster
from tests.integration.inference.load import TOKENS_A_SECOND, Load
from tests.integration.inference.services import Services
from tests.integration.operator.lab import Lab
from tests.integration.operator.test_goodput_restart import Replica
from tests.integration.operators import make_lab

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

TOKENS = "drumline_serving_generation_tokens_total"
WRITTEN_SECONDS = 30.0  # between two accounts
SCRAPED_SECONDS = 15.0  # between two looks at an engine
BUSY_SECONDS = 15.0  # from a look at an engine to ours at the metrics, on a busy machine

Series = dict[tuple[str, ...], float]


@pytest.fixture
def replica(own_cluster: Cluster, tmp_path: Path) -> Iterator[Replica]:
    running = Replica(own_cluster, tmp_path)
    try:
        yield running
    finally:
        running.kill()


def counters(replica: Replica) -> Series:
    """Every counter of services as it is exported now."""
    lines = (line for line in replica.operator.metrics().splitlines() if line.startswith("drumline_serving_"))
    samples = read_series("\n".join([*lines, ""]))
    return {(name, *labels.values()): value for name, labels, value in samples if name.endswith("_total")}


def tokens(found: Series) -> float:
    return sum(value for key, value in found.items() if key[0] == TOKENS)


async def counted(replica: Replica, more_than: float = 0.0) -> Series:
    """The counters once there are more tokens than that."""
    async with asyncio.timeout(4 * WRITTEN_SECONDS):
        while tokens(found := await asyncio.to_thread(counters, replica)) <= more_than:
            await asyncio.sleep(0.2)
    return found


def grown(before: Series, after: Series) -> None:
    assert before.keys() <= after.keys()
    fallen = {key: (value, after[key]) for key, value in before.items() if after[key] < value}
    assert fallen == {}


async def shown(lab: Lab, capsys: pytest.CaptureFixture[str]) -> dict[str, float | bool]:
    """What the command line derives of the account."""
    access = ("-n", lab.namespace, "--kubeconfig", str(lab.cluster.kubeconfig))
    assert await asyncio.to_thread(main, ["goodput", "chat", *access, "-o", "json"]) == OK
    derived: dict[str, float | bool] = json.loads(capsys.readouterr().out)["derived"]
    return derived


async def test_killed_while_a_service_is_under_load(
    own_cluster: Cluster, replica: Replica, capsys: pytest.CaptureFixture[str]
) -> None:
    load = Load()
    async with make_lab(own_cluster) as lab, load.serving():
        services = Services(lab)
        await lab.nodes("2 hosts of h100 in blocks of 2")
        role = services.role("serve", {"pod-ip": load.address}, port=load.port, groupSize=2)
        await services.apply(services.service("chat", role, slo={"tpotSeconds": 0.05}))
        await services.ready("chat")
        first = await counted(replica)
        replica.kill()
        await asyncio.sleep(4)
        replica.again()
        await asyncio.to_thread(replica.operator.wait_leading)
        second = await counted(replica)
        grown(first, second)
        third = await counted(replica, tokens(second))
        put_out = TOKENS_A_SECOND * load.seconds()
        grown(second, third)
        assert put_out - TOKENS_A_SECOND * (SCRAPED_SECONDS + BUSY_SECONDS) <= tokens(third) <= put_out
        derived = await shown(lab, capsys)
        assert derived["balanced"] is True
        await lab.client.request(
            "DELETE", f"/apis/drumline.dev/v1alpha1/namespaces/{lab.namespace}/inferenceservices"
        )
