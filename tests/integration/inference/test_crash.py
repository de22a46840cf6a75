"""The operator is killed around writes of a service's life, or never hears their answers: nobody misses a group."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from e2e.cluster.provider import Cluster
from e2e.cluster.proxy import Hooks, WriteProxy
from tests.integration.inference.services import Services, groups, is_ready
from tests.integration.inference.test_rollout import image
from tests.integration.inference.watching import watching
from tests.integration.operator.test_crash import Crew, crew, cut, killing, proxy
from tests.integration.operators import make_lab

__all__ = ["crew", "proxy"]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

EVERY = 8  # of the writes is one around which the operator is killed; the moments begin with another one
DEAF = 3  # … whose answer is lost


@pytest.mark.parametrize(("moment", "first"), [("before", 1), ("during", 4), ("after", 7)])
async def test_killed_around_writes_of_a_rollout(
    moment: str,
    first: int,
    own_cluster: Cluster,
    proxy: WriteProxy,
    crew: Crew,
) -> None:
    async with make_lab(own_cluster) as lab:
        services = Services(lab)
        await lab.nodes("1 hosts of h100 in blocks of 1")
        total = await _live(services, f"{moment}-0", proxy, Hooks())
        assert total > 15
        for number in range(first, total + 1, EVERY):
            await _live(services, f"{moment}-{number}", proxy, killing(crew, moment, number))
            await crew.order()
        await _holds_nothing(services, proxy)


async def test_answers_lost_around_writes_of_a_rollout(
    own_cluster: Cluster,
    proxy: WriteProxy,
    crew: Crew,
) -> None:
    """The API server acts, the operator never hears of it."""
    async with make_lab(own_cluster) as lab:
        services = Services(lab)
        await lab.nodes("1 hosts of h100 in blocks of 1")
        total = await _live(services, "deaf-0", proxy, Hooks())
        for number in range(1, total + 1, DEAF):
            await _live(services, f"deaf-{number}", proxy, Hooks(during=cut(number)))
        await _holds_nothing(services, proxy)
        assert crew.leader.process.poll() is None


async def _live(services: Services, name: str, proxy: WriteProxy, hooks: Hooks) -> int:
    """Made, ready, changed, ready again, deleted. Returns how many writes of the operator it took."""
    uids: dict[str, set[str]] = {}
    watch = asyncio.create_task(_record(services, name, uids))
    proxy.reset(hooks)
    await services.apply(services.service(name, services.role(groupSize=2)))
    first = await services.ready(name)
    async with watching(services, name) as seen:
        await services.patch(name, image("2"))
        found = await services.until(
            name,
            lambda s: is_ready(s) and s["status"]["currentRevision"] != first["status"]["currentRevision"],
            "no rollout",
        )
    writes = len(proxy.writes)
    await services.lab.delete("inferenceservices", name)
    await services.until_no_pods(name)
    watch.cancel()
    assert min(seen.ready) >= 1
    assert min(seen.endpoints) >= 1
    assert [(g["id"], g["attempt"]) for g in groups(found)] == [(1, 1)]
    assert set(uids) == {f"{name}-serve-1-{g}-{w}" for g in (0, 1) for w in (0, 1)}
    assert all(len(each) == 1 for each in uids.values()), uids
    return writes


async def _holds_nothing(services: Services, proxy: WriteProxy) -> None:
    """Whatever became of the services before it, one that needs the whole node gets it."""
    proxy.reset()
    whole = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
    await services.apply(services.service("whole", services.role(accelerator=whole)))
    await services.ready("whole")


async def _record(services: Services, name: str, uids: dict[str, set[str]]) -> None:
    """Every pod that ever was, by name."""
    path = f"/api/v1/namespaces/{services.lab.namespace}/pods"
    version = (await services.lab.client.request("GET", path))["metadata"]["resourceVersion"]
    selector = f"drumline.dev/service={name}"
    params = {"watch": "1", "resourceVersion": version, "labelSelector": selector}
    async for line in services.lab.client.stream_lines(path, params):
        metadata = orjson.loads(line)["object"]["metadata"]
        uids.setdefault(metadata["name"], set()).add(metadata["uid"])
