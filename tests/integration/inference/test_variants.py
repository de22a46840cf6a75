"""A role on several accelerators: the cheapest for its capacity first, the next when that one is full.

By the built-in catalogue an hour of an H100 costs 10.98 dollars and one of an A100 3.43, so the A100 is the cheaper
for its capacity as long as it takes more than 0.31 of what an H100 does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.integration.inference.engines import Engines
from tests.integration.inference.services import Services, groups, is_ready, roles
from tests.integration.operator.lab import POOL, Manifest

pytestmark = pytest.mark.cluster

OWN, VARIANT = 0, 1
H100 = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
A100 = {"type": "nvidia-a100-80gb", "chipsPerWorker": 8}
AT_ONCE = {"stabilizationSeconds": 0, "periodSeconds": 1}


@pytest.fixture
async def engines() -> AsyncIterator[Engines]:
    """Engines that listen where pods are told to be."""
    made = Engines()
    async with made.serving():
        yield made


def role(services: Services, capacity: float, **fields: object) -> Manifest:
    """A role of whole hosts of H100 or A100, on any of this test's nodes."""
    variants = [{"accelerator": A100, "capacity": capacity}]
    made = services.role(accelerator=H100, variants=variants, **fields)
    pools = [f"{services.lab.prefix}{kind}" for kind in ("h100", "a100-80gb")]
    expression = {"key": POOL, "operator": "In", "values": pools}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    pod = made["template"]["spec"]
    del pod["nodeSelector"]
    pod["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return made


async def hosts(services: Services, h100: int, a100: int) -> None:
    """Nodes of both kinds."""
    await services.lab.nodes(f"{h100} hosts of h100 in blocks of {h100}", f"{a100} hosts of a100-80gb")


def variants(service: Manifest) -> Counter[int]:
    """How many groups are on each variant."""
    return Counter(g.get("variant", OWN) for g in groups(service))


def kinds(service: Manifest) -> Counter[str]:
    """How many groups are on each kind of node, by the nodes' names."""
    nodes = [n for g in groups(service) for n in g["nodes"]]
    return Counter("a100" if "a100" in n else "h100" for n in nodes)


async def test_groups_go_to_the_cheaper_accelerator_until_it_is_full(services: Services) -> None:
    await hosts(services, h100=2, a100=2)
    await services.apply(services.service("chat", role(services, capacity=0.5, replicas=3)))
    found = await services.ready("chat")
    assert variants(found) == {VARIANT: 2, OWN: 1}
    assert kinds(found) == {"a100": 2, "h100": 1}
    (alone,) = (g for g in groups(found) if g.get("variant", OWN) == OWN)
    (pod,) = await services.pods("chat", group=str(alone["id"]))
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] in (8, "8")


async def test_what_takes_too_little_for_its_price_comes_last_and_capacity_decides_how_many(
    services: Services, engines: Engines
) -> None:
    await hosts(services, h100=1, a100=2)
    engines.kv = 0.4
    scaling = {
        "minReplicas": 1,
        "maxReplicas": 2,
        "metrics": [{"name": "kvCacheUsage", "target": 0.4}],
        "behavior": {"scaleUp": AT_ONCE, "scaleDown": AT_ONCE},
    }
    made = role(services, capacity=0.25, autoscaling=scaling, port=engines.port)
    made["template"]["metadata"]["annotations"] = {"fake.drumline.dev/pod-ip": engines.address}
    await services.apply(services.service("chat", made))
    found = await services.ready("chat")
    assert kinds(found) == {"h100": 1}
    engines.kv = 0.8
    found = await services.until("chat", lambda s: is_ready(s) and len(groups(s)) == 2, "no growth")
    assert kinds(found) == {"h100": 1, "a100": 1}
    engines.kv = 0.3  # by the number of groups this is load for 1.5 of them, by capacity for 0.94 of an H100
    found = await services.until("chat", lambda s: is_ready(s) and len(groups(s)) == 1, "no way back")
    assert kinds(found) == {"h100": 1}
    assert roles(found)["serve"]["desired"] == 1
