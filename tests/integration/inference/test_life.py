"""A service from its creation to its end: groups come into service, restart as one, and leave nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.inference.services import Services, groups, is_pod_ready, is_ready, roles
from tests.integration.operator.lab import condition, node_of

pytestmark = pytest.mark.cluster


async def _named(services: Services, wanted: set[str]) -> None:
    """Until these hosts have names, and no others; names are published at most once a second."""
    hosts: set[str] = set()
    for _ in range(50):
        slices = await services.lab.list("endpointslices")
        ours = [s for s in slices if s["metadata"]["labels"]["kubernetes.io/service-name"] == "chat-peers"]
        hosts = {e["hostname"] for s in ours for e in s["endpoints"]}
        if hosts == wanted:
            return
        await asyncio.sleep(0.1)
    assert hosts == wanted


async def test_two_roles_become_ready_group_by_group(services: Services) -> None:
    await services.lab.nodes("4 hosts of h100 in blocks of 2")
    pair = (services.role("prefill"), services.role("decode", groupSize=2, replicas=2))
    await services.apply(services.service("chat", *pair))
    found = await services.ready("chat")
    assert {n: (r["ready"], r["replicas"]) for n, r in roles(found).items()} == {
        "prefill": (1, 1),
        "decode": (2, 2),
    }
    pods = await services.pods("chat")
    assert len(pods) == 5
    assert all(is_pod_ready(p) for p in pods)
    for group in groups(found, "decode"):
        members = await services.pods("chat", role="decode", group=str(group["id"]))
        assert [node_of(p) for p in members] == list(group["nodes"])
    await _named(
        services,
        {
            "chat-prefill-0-0",
            "chat-decode-0-0",
            "chat-decode-0-1",
            "chat-decode-1-0",
            "chat-decode-1-1",
        },
    )
    role = await services.get("chat-decode", "inferenceroles")
    assert (role["status"]["replicas"], role["status"]["readyReplicas"]) == (2, 2)


async def test_a_pod_that_fails_restarts_its_group_and_no_other(services: Services) -> None:
    await services.lab.nodes("2 hosts of h100 in blocks of 2")
    await services.apply(services.service("chat", services.role(groupSize=2, replicas=2)))
    await services.ready("chat")
    before = {p["metadata"]["name"]: p["metadata"]["uid"] for p in await services.pods("chat")}
    await services.fail("chat-serve-1-1-1")
    found = await services.until(
        "chat", lambda s: [g.get("attempt") for g in groups(s)] == [1, 2] and is_ready(s), "no restart"
    )
    failed = groups(found)[1]
    assert (failed["restarts"], failed["cause"]) == (1, "ApplicationExit")
    after = {p["metadata"]["name"]: p["metadata"]["uid"] for p in await services.pods("chat")}
    assert sorted(after) == [
        "chat-serve-1-0-0",
        "chat-serve-1-0-1",
        "chat-serve-2-1-0",
        "chat-serve-2-1-1",
    ]
    assert {n: u for n, u in after.items() if n.startswith("chat-serve-1-0-")} == {
        n: u for n, u in before.items() if n.startswith("chat-serve-1-0-")
    }


async def test_a_group_that_fails_again_and_again_stops_at_its_budget_and_says_why(
    services: Services,
) -> None:
    await services.lab.nodes("1 hosts of h100 in blocks of 1")
    policy = {"maxRestarts": 1, "backoff": {"initialSeconds": 0, "maxSeconds": 0}}
    role = services.role(annotations={"exit-code": "3"})
    await services.apply(services.service("chat", role, failurePolicy=policy))
    found = await services.until(
        "chat", lambda s: any(g.get("phase") == "Failed" for g in groups(s)), "does not give up"
    )
    (group,) = groups(found)
    assert group["attempt"] == 2
    assert "maxRestarts" in group["message"] or "restarts" in group["message"]
    assert condition(found, "Ready")["status"] == "False"
    await services.until_no_pods("chat")


async def test_the_scale_subresource_of_a_role_sets_its_groups(services: Services) -> None:
    await services.lab.nodes("2 hosts of h100 in blocks of 2")
    scaled = services.role(autoscaling={"mode": "External", "minReplicas": 1, "maxReplicas": 4})
    await services.apply(services.service("chat", scaled))
    await services.ready("chat")
    await services.scale("chat-serve", 3)
    found = await services.until("chat", lambda s: is_ready(s) and len(groups(s)) == 3, "not three groups")
    assert [g["id"] for g in groups(found)] == [0, 1, 2]
    role = await services.get("chat-serve", "inferenceroles")
    assert role["status"]["replicas"] == 3
    leaders = await services.lab.pods(role["status"]["selector"])
    assert len(leaders) == 3
    await services.scale("chat-serve", 1)
    await services.until("chat", lambda s: is_ready(s) and len(groups(s)) == 1, "not one group")
    assert len(await services.pods("chat")) == 1


async def test_a_service_that_is_deleted_leaves_nothing_behind_and_its_nodes_free(services: Services) -> None:
    await services.lab.nodes("1 hosts of h100 in blocks of 1")
    whole = services.role(accelerator={"type": "nvidia-h100-80gb", "chipsPerWorker": 8})
    await services.apply(services.service("chat", whole))
    await services.ready("chat")
    await services.lab.delete("inferenceservices", "chat")
    await services.apply(services.service("other", whole))
    await services.ready("other")
    for resource in ("pods", "services", "endpointslices", "inferenceroles", "poddisruptionbudgets"):
        await services.until_gone(resource, "chat")
    await services.until_gone("controllerrevisions", "chat")


async def test_a_service_of_the_same_name_starts_anew(services: Services) -> None:
    await services.lab.nodes("1 hosts of h100 in blocks of 1")
    await services.apply(services.service("chat"))
    first = await services.ready("chat")
    await services.lab.delete("inferenceservices", "chat")
    await services.apply(services.service("chat"))
    second = await services.ready("chat")
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    (pod,) = await services.pods("chat")
    assert pod["metadata"]["ownerReferences"][0]["uid"] == second["metadata"]["uid"]


async def test_a_name_that_is_somebody_elses_is_left_alone_until_it_is_free(services: Services) -> None:
    await services.lab.nodes("1 hosts of h100 in blocks of 1")
    theirs = {"metadata": {"name": "chat-serve"}, "spec": {"ports": [{"port": 1}], "selector": {"a": "b"}}}
    path = f"/api/v1/namespaces/{services.lab.namespace}/services"
    await services.lab.client.request("POST", path, body=theirs)
    await services.apply(services.service("chat"))
    found = await services.until(
        "chat", lambda s: condition(s, "Ready").get("reason") == "NameConflict", "no word of the conflict"
    )
    assert "services/chat-serve" in condition(found, "Ready")["message"]
    kept = await services.get("chat-serve", "services")
    assert kept["spec"]["selector"] == {"a": "b"}
    assert "ownerReferences" not in kept["metadata"]
    await services.lab.delete("services", "chat-serve")
    await services.ready("chat")
    made = await services.get("chat-serve", "services")
    assert made["metadata"]["ownerReferences"][0]["name"] == "chat"
