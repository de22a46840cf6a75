"""Too little room, lost nodes, bad revisions, and pods that nobody places."""

from __future__ import annotations

import pytest

from e2e.cluster import nodes
from tests.integration.inference.services import Services, groups, is_ready
from tests.integration.inference.watching import watching
from tests.integration.operator.lab import Lab, condition, node_of
from tests.integration.operators import accounted

pytestmark = pytest.mark.cluster

WHOLE_HOST = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
TEMPLATE = "/spec/roles/0/template/metadata/annotations"


async def test_a_group_waits_whole_until_there_is_room_and_a_job_goes_first(services: Services) -> None:
    await services.lab.nodes("2 hosts of h100 in blocks of 2")
    await services.lab.apply(services.lab.job("train", accelerator=WHOLE_HOST, workersPerSlice=1))
    await services.lab.phase("train", "Running")
    await services.apply(services.service("chat", services.role(groupSize=2, accelerator=WHOLE_HOST)))
    found = await services.until(
        "chat", lambda s: any("InsufficientAccelerators" in (g.get("message") or "") for g in groups(s))
    )
    assert groups(found)[0]["phase"] == "Waiting"
    assert await services.pods("chat") == []
    await services.lab.delete("trainingjobs", "train")
    await services.ready("chat")


async def test_a_group_whose_node_is_lost_comes_up_elsewhere(services: Services) -> None:
    await services.lab.nodes("3 hosts of h100 in blocks of 3")
    await services.apply(services.service("chat", services.role(groupSize=2, accelerator=WHOLE_HOST)))
    found = await services.ready("chat")
    lost = groups(found)[0]["nodes"][1]
    await nodes.lose_node(services.lab.cluster, lost)
    found = await services.until(
        "chat", lambda s: is_ready(s) and groups(s)[0]["attempt"] == 2, "not elsewhere"
    )
    assert lost not in groups(found)[0]["nodes"]
    assert groups(found)[0]["cause"] == "NodeLost"


async def test_a_canary_that_never_gets_ready_is_refused_and_nobody_missed(services: Services) -> None:
    await services.lab.nodes("1 hosts of h100 in blocks of 1")
    analysis = {"minSeconds": 1, "readySeconds": 10}
    rollout = {"canary": {"replicas": 1, "analysis": analysis}}
    await services.apply(services.service("chat", services.role(replicas=2), rollout=rollout))
    first = await services.ready("chat")
    async with watching(services, "chat") as seen:
        never = {"fake.drumline.dev/never-ready": "true"}
        await services.patch("chat", {"op": "add", "path": TEMPLATE, "value": never})
        found = await services.until(
            "chat",
            lambda s: s["status"]["rollout"].get("phase") == "RolledBack" and len(groups(s)) == 2,
            "not refused",
        )
    assert min(seen.ready) == 2
    assert found["status"]["currentRevision"] == first["status"]["currentRevision"]
    assert [g["id"] for g in groups(found)] == [0, 1]
    assert condition(found, "Available")["status"] == "True"


async def test_a_canary_that_is_well_is_promoted(services: Services) -> None:
    await services.lab.nodes("1 hosts of h100 in blocks of 1")
    rollout = {"canary": {"replicas": 1, "analysis": {"minSeconds": 1}}}
    await services.apply(services.service("chat", services.role(replicas=3), rollout=rollout))
    first = await services.ready("chat")
    async with watching(services, "chat") as seen:
        await services.patch("chat", {"op": "add", "path": TEMPLATE, "value": {"a": "b"}})
        await services.until(
            "chat",
            lambda s: is_ready(s) and s["status"]["currentRevision"] != first["status"]["currentRevision"],
            "not promoted",
        )
    assert min(seen.ready) >= 3


async def test_a_namespace_that_is_deleted_takes_its_services_along(services: Services) -> None:
    """Its pods may go before the service does. The operator's fixture wants a log without a trace of it."""
    lab = services.lab
    await lab.nodes("1 hosts of h100 in blocks of 1")
    name = f"{lab.namespace}-other"
    await lab.client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
    there = Services(Lab(lab.cluster, lab.client, name, lab.prefix))
    await accounted(there.lab)
    await there.apply(there.service("chat", there.role(replicas=3)))
    await there.ready("chat")
    await lab.client.request("DELETE", f"/api/v1/namespaces/{name}")
    await there.until_no_pods("chat")
    whole = services.role(accelerator=WHOLE_HOST)
    await services.apply(services.service("next", whole))
    await services.ready("next")


async def test_on_the_edge_the_scheduler_places_and_the_kubelet_restarts(services: Services) -> None:
    (node,) = await services.lab.nodes("1 hosts of h100 in blocks of 1")
    await services.apply(services.service("chat", services.role(), profile="edge"))
    await services.ready("chat")
    (pod,) = await services.pods("chat")
    assert node_of(pod) == node
    assert pod["spec"]["restartPolicy"] == "Always"
    assert "affinity" not in pod["spec"]


async def test_what_serves_lives_on_while_an_edit_does_not_hold(services: Services) -> None:
    await services.lab.nodes("1 hosts of h100 in blocks of 1")
    await services.apply(services.service("chat", services.role(replicas=2)))
    first = await services.ready("chat")
    kind = "/spec/roles/0/accelerator/type"
    await services.patch("chat", {"op": "replace", "path": kind, "value": "nvidia-none"})
    found = await services.until("chat", lambda s: condition(s, "Ready").get("reason") == "InvalidSpec")
    assert "nvidia-none" in condition(found, "Ready")["message"]
    await services.fail("chat-serve-1-0-0")
    found = await services.until(
        "chat",
        lambda s: groups(s)[0]["attempt"] == 2 and all(g["phase"] == "Serving" for g in groups(s)),
        "no restart",
    )
    assert condition(found, "Ready")["reason"] == "InvalidSpec"
    assert condition(found, "Available")["status"] == "True"
    await services.patch("chat", {"op": "replace", "path": kind, "value": "nvidia-h100-80gb"})
    found = await services.ready("chat")
    assert [g["id"] for g in groups(found)] == [0, 1]
    assert found["status"]["updateRevision"] == first["status"]["updateRevision"]
