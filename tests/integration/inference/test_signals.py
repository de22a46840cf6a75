"""What the engines say decides: groups follow the load, and go only when they have nothing to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.integration.inference.engines import Engines
from tests.integration.inference.services import Services, groups, is_pod_ready, is_ready, roles
from tests.integration.operator.lab import Manifest

pytestmark = pytest.mark.cluster

AT_ONCE = {"stabilizationSeconds": 0, "periodSeconds": 1}


@pytest.fixture
async def engines() -> AsyncIterator[Engines]:
    """Engines that listen where pods are told to be."""
    made = Engines()
    async with made.serving():
        yield made


def role(services: Services, engines: Engines, **fields: object) -> Manifest:
    """A role whose leaders are these engines."""
    return services.role(annotations={"pod-ip": engines.address}, port=engines.port, **fields)


async def test_groups_follow_the_load_and_the_role_says_so(services: Services, engines: Engines) -> None:
    await services.lab.nodes("1 hosts of h100 in blocks of 1")
    scaling = {
        "minReplicas": 1,
        "maxReplicas": 3,
        "metrics": [{"name": "waiting", "target": 2}],
        "behavior": {"scaleUp": AT_ONCE, "scaleDown": AT_ONCE},
    }
    await services.apply(services.service("chat", role(services, engines, autoscaling=scaling)))
    await services.ready("chat")
    engines.waiting = 10
    found = await services.until("chat", lambda s: is_ready(s) and len(groups(s)) == 3, "no growth")
    assert roles(found)["serve"]["scaling"]["metrics"][0]["name"] == "waiting"
    scaled = await services.get("chat-serve", "inferenceroles")
    assert scaled["spec"]["replicas"] == 3
    engines.waiting = 0
    found = await services.until("chat", lambda s: is_ready(s) and len(groups(s)) == 1, "no way back")
    assert roles(found)["serve"]["desired"] == 1


async def test_a_group_goes_only_when_its_requests_are_answered(services: Services, engines: Engines) -> None:
    await services.lab.nodes("1 hosts of h100 in blocks of 1")
    drain = {"settleSeconds": 0, "timeoutSeconds": 600}
    await services.apply(services.service("chat", role(services, engines, replicas=2), drain=drain))
    await services.ready("chat")
    engines.running = 3
    await services.patch("chat", {"op": "replace", "path": "/spec/roles/0/replicas", "value": 1})
    going = await services.until(
        "chat", lambda s: any(g.get("phase") == "Draining" for g in groups(s)), "no drain"
    )
    (group,) = (g for g in groups(going) if g["phase"] == "Draining")
    await services.until_unready("chat", group["id"])
    await asyncio.sleep(5)
    (leader,) = await services.pods("chat", group=str(group["id"]))
    assert not is_pod_ready(leader)
    assert "deletionTimestamp" not in leader["metadata"]
    engines.running = 0
    await services.until("chat", lambda s: is_ready(s) and len(groups(s)) == 1, "it stays")
