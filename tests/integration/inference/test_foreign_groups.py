"""Services whose groups others let in: Kubernetes' own scheduler for real, Kueue as documented.

On a cluster of their own with the feature gates on and Kueue's kinds there, and with an operator of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from e2e.cluster import build
from e2e.cluster.components import GANG_VERSIONS, native_gangs
from e2e.cluster.provider import Cluster
from tests.integration import foreign_schedulers
from tests.integration.inference.services import Services, groups, is_ready
from tests.integration.operator.kueue_double import Kueue, install_webhook
from tests.integration.operator.lab import Manifest, condition, node_of, reason
from tests.integration.operators import Operator, leading, make_lab

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

KUBERNETES = build.kubernetes()
CLUSTER = native_gangs(KUBERNETES)
GROUPS = f"podgroups.{GANG_VERSIONS[KUBERNETES][0]}.scheduling.k8s.io"
NATIVE = {"backend": "native"}
KUEUE = {"backend": "kueue", "backendQueue": "serving"}
WHOLE = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}


@pytest.fixture(scope="module")
def foreign(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator on a cluster that has both."""
    foreign_schedulers.install(own_cluster)
    install_webhook(own_cluster)
    with leading(own_cluster.kubeconfig, tmp_path_factory.mktemp("operator") / "log") as running:
        yield running


@pytest.fixture
async def services(foreign: Operator, own_cluster: Cluster) -> AsyncIterator[Services]:
    async with make_lab(own_cluster) as made:
        yield Services(made)


def says(text: str) -> Any:
    """Whether a group of the service says so."""
    return lambda service: any(text in g.get("message", "") for g in groups(service))


async def objects(services: Services) -> set[str]:
    """Names of the PodGroups of Kubernetes' own that are there."""
    found = await services.lab.list(GROUPS)
    return {g["metadata"]["name"] for g in found if not g["metadata"].get("deletionTimestamp")}


async def until_objects(services: Services, names: set[str]) -> None:
    """Until these PodGroups are there and no others."""

    async def there() -> bool:
        return await objects(services) == names

    await Kueue(services.lab).until(there, f"PodGroups {sorted(names)}")


async def until_settled(services: Services, name: str, count: int) -> Manifest:
    """The service once it has so many groups, all in service."""
    return await services.until(name, lambda s: is_ready(s) and len(groups(s)) == count, f"not {count}")


async def test_a_group_that_does_not_fit_is_bound_in_no_part_until_a_node_comes(services: Services) -> None:
    await services.lab.nodes("2 hosts of h100")
    role = services.role(accelerator=WHOLE, groupSize=3)
    await services.apply(services.service("chat", role, scheduling=NATIVE))
    waiting = await services.until("chat", says("PodGroup chat-serve-1-0-g has no nodes"), "no word of it")
    pods = await services.pods("chat")
    assert [node_of(p) for p in pods] == [""] * 3
    assert {p["spec"]["schedulingGroup"]["podGroupName"] for p in pods} == {"chat-serve-1-0-g"}
    assert reason(waiting, "Ready")[0] == "False"
    assert "has no nodes" in condition(waiting, "Ready")["message"]
    (group,) = groups(waiting)
    assert (group["backend"], set(group["nodes"])) == ("native", {""})
    await services.lab.nodes("3 hosts of h100")
    await services.ready("chat")
    assert len({node_of(p) for p in await services.pods("chat")}) == 3


async def test_groups_scale_roll_restart_and_go_with_their_pod_groups(services: Services) -> None:
    await services.lab.nodes("3 hosts of h100")
    role = services.role(accelerator=WHOLE, replicas=2)
    await services.apply(services.service("chat", role, scheduling=NATIVE))
    await services.ready("chat")
    await until_objects(services, {"chat-serve-1-0-g", "chat-serve-1-1-g"})

    await services.fail("chat-serve-1-1-0")
    await services.until("chat", lambda s: is_ready(s) and groups(s)[1]["attempt"] == 2, "no restart")
    await until_objects(services, {"chat-serve-1-0-g", "chat-serve-2-1-g"})

    image = "/spec/roles/0/template/spec/containers/0/image"
    await services.patch("chat", {"op": "replace", "path": image, "value": "engine:2"})
    rolled = await services.until("chat", lambda s: is_ready(s) and groups(s)[0]["id"] >= 2, "no rollout")
    names = {f"chat-serve-{g['attempt']}-{g['id']}-g" for g in groups(rolled)}
    await until_objects(services, names)

    await services.patch("chat", {"op": "replace", "path": "/spec/roles/0/replicas", "value": 1})
    left = await until_settled(services, "chat", 1)
    await until_objects(services, {f"chat-serve-{g['attempt']}-{g['id']}-g" for g in groups(left)})
    await services.lab.delete("inferenceservices", "chat")
    await until_objects(services, set())


async def test_what_native_can_not_do_is_refused_by_name(services: Services) -> None:
    role = services.role(accelerator={"type": "nvidia-gb200"}, groupSize=2, parallelism={"tensor": 8})
    await services.apply(services.service("first", role, scheduling=NATIVE))
    found = await services.until("first", lambda s: reason(s, "Ready")[1] == "InvalidSpec", "not refused")
    assert "spec.roles[0].parallelism.scaleUp" in condition(found, "Ready")["message"]
    await services.apply(services.service("none", scheduling={"backend": "kueue"}))
    found = await services.until("none", says("no LocalQueue of Kueue is named"), "not refused")
    assert reason(found, "Ready") == ("False", "UnsupportedScheduling")
    assert await services.pods("none") == []


async def test_a_group_of_kueue_waits_serves_is_evicted_and_comes_back(services: Services) -> None:
    await services.lab.nodes("2 hosts of h100")
    kueue = Kueue(services.lab)
    role = services.role(accelerator=WHOLE, groupSize=2)
    await services.apply(services.service("chat", role, scheduling=KUEUE))
    await kueue.queue("chat-serve-1-0-g", "WaitingForQuota", "insufficient unused quota for nvidia.com/gpu")
    text = "QueueQuotaExceeded: at Kueue's gate in LocalQueue serving: insufficient unused quota"
    await services.until("chat", says(text), "no word of it")
    await kueue.admit("chat-serve-1-0-g")
    await services.ready("chat")

    await kueue.evict("chat-serve-1-0-g")
    await asyncio.gather(
        kueue.let_go("chat-serve-1-0-g"),
        services.until("chat", lambda s: [g["attempt"] for g in groups(s)] == [2], "no second attempt"),
    )
    again = await services.get("chat")
    assert groups(again)[0].get("restarts", 0) == 0
    assert {r["cause"]: r["count"] for r in again["status"]["restarts"]} == {"Preempted": 1}
    await kueue.queue("chat-serve-2-0-g", "Pending", "waits")
    await kueue.admit("chat-serve-2-0-g")
    await services.ready("chat")

    await services.patch("chat", {"op": "add", "path": "/spec/suspend", "value": True})
    await kueue.let_go("chat-serve-2-0-g")

    async def none_is_left() -> bool:
        return not await kueue.workloads()

    await kueue.until(none_is_left, "no Workload")
    await services.until_no_pods("chat")
