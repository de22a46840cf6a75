"""The executor against a real API server: creating twice, strangers in the way, deleting, applying, status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from drumline.core.gang.plan import Apply, Create, Delete, Event, Plan
from drumline.runtime.errors import Conflict, Forbidden, Invalid, NameConflict
from drumline.runtime.executor import Executor, Owner
from drumline.runtime.expectations import Expectations
from drumline.runtime.http_paths import resource_path
from drumline.runtime.kube import Client, connect
from drumline.runtime.limiter import Limiter


@pytest.fixture
async def client(cluster) -> AsyncIterator[Client]:
    async with await connect(str(cluster.kubeconfig), limiter=Limiter(in_flight=16), timeout=60) as client:
        yield client


@pytest.fixture
def executor(client: Client) -> Executor:
    return Executor(client, Expectations(time.monotonic), now=lambda: 1000.0, concurrency=16)


@pytest.fixture
async def owner(client: Client, namespace: str) -> Owner:
    """A Service plays the owner: it has a status, which nobody else writes."""
    return await make_owner(client, namespace, "job")


async def make_owner(client: Client, namespace: str, name: str) -> Owner:
    manifest = {"metadata": {"name": name}, "spec": {"clusterIP": "None"}}
    made = (await client.request("POST", resource_path("services", namespace), body=manifest))["metadata"]
    return Owner("v1", "Service", "services", namespace, name, made["uid"], made["resourceVersion"])


def pod_spec() -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "none"}], "nodeSelector": {"never": "matches"}}


def metadata(owner: Owner, name: str, attempt: str = "1") -> dict[str, Any]:
    reference = {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
    }
    labels = {"drumline.dev/attempt": attempt}
    return {"namespace": owner.namespace, "name": name, "labels": labels, "ownerReferences": [reference]}


def pod(owner: Owner, name: str, attempt: str = "1") -> Create:
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(owner, name, attempt),
        "spec": pod_spec(),
    }
    return Create("pods", manifest)


def configmap(owner: Owner, name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(owner, name), "data": data}


def endpointslice(owner: Owner, name: str, *addresses: str) -> dict[str, Any]:
    endpoints = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata(owner, name, attempt=str(len(addresses))),
        "addressType": "IPv4",
        "endpoints": endpoints,
    }


async def get(client: Client, resource: str, namespace: str, name: str) -> Any:
    return await client.request("GET", resource_path(resource, namespace, name))


async def test_applying_a_plan_twice_creates_once(client, executor, owner) -> None:
    plan = Plan(actions=(tuple(pod(owner, f"p-{i}") for i in range(30)),))
    first = await executor.apply(owner, plan)
    second = await executor.apply(owner, plan)
    assert (len(first.created), first.error) == (30, None)
    assert (second.created, len(second.found), second.error) == ([], 30, None)


async def test_two_replicas_at_once_create_each_pod_once(client, owner) -> None:
    plan = Plan(actions=(tuple(pod(owner, f"p-{i}") for i in range(20)),))
    executors = [Executor(client, Expectations(time.monotonic), now=lambda: 0.0) for _ in range(2)]
    outcomes = await asyncio.gather(*(executor.apply(owner, plan) for executor in executors))
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert sum(len(outcome.created) for outcome in outcomes) == 20


async def test_stranger_of_the_same_name_is_a_conflict_and_stays(client, executor, owner, namespace) -> None:
    other = await make_owner(client, namespace, "other")
    await executor.apply(other, Plan(actions=((pod(other, "p-1"),),)))
    outcome = await executor.apply(owner, Plan(actions=((pod(owner, "p-1"),),)))
    assert isinstance(outcome.error, NameConflict)
    assert "Service other" in outcome.error.message
    found = await get(client, "pods", namespace, "p-1")
    assert found["metadata"]["ownerReferences"][0]["uid"] == other.uid


async def test_refused_pod_stops_the_gang(client, executor, owner, namespace) -> None:
    names = [f"p-{i:03}" for i in range(200)]
    names[20] = "Not-A-Name"
    outcome = await executor.apply(owner, Plan(actions=(tuple(pod(owner, name) for name in names),)))
    assert isinstance(outcome.error, Invalid)
    assert outcome.failed == "pods/Not-A-Name"
    assert len(outcome.created) < 60


async def test_namespace_quota_is_a_final_refusal_and_its_races_are_not(
    client, executor, owner, namespace
) -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "50"}}}
    await client.request("POST", resource_path("resourcequotas", namespace), body=quota)
    async with asyncio.timeout(120):
        while not (await get(client, "resourcequotas", namespace, "q")).get("status", {}).get("hard"):
            await asyncio.sleep(0.1)
    outcome = await executor.apply(owner, Plan(actions=(tuple(pod(owner, f"p-{i}") for i in range(50)),)))
    assert (len(outcome.created), outcome.error) == (50, None)
    refused = await executor.apply(owner, Plan(actions=((pod(owner, "one-more"),),)))
    assert isinstance(refused.error, Forbidden)
    assert "exceeded quota" in refused.error.message


async def test_delete_takes_the_very_object_only(client, executor, owner, namespace) -> None:
    await executor.apply(owner, Plan(actions=((pod(owner, "p-1"),),)))
    uid = (await get(client, "pods", namespace, "p-1"))["metadata"]["uid"]
    wrong = Delete("pods", namespace, "p-1", "another-uid", grace_seconds=0)
    gone = Delete("pods", namespace, "never-was", "u")
    outcome = await executor.apply(owner, Plan(actions=((wrong, gone),)))
    assert (outcome.error, outcome.deleted) == (None, [])
    assert (await get(client, "pods", namespace, "p-1"))["metadata"]["uid"] == uid
    right = Delete("pods", namespace, "p-1", uid, grace_seconds=0)
    assert (await executor.apply(owner, Plan(actions=((right,),)))).deleted == ["pods/p-1"]


async def test_apply_creates_changes_and_is_repeatable(client, executor, owner, namespace) -> None:
    for addresses in (("10.0.0.1",), ("10.0.0.1", "10.0.0.2"), ("10.0.0.1", "10.0.0.2"), ()):
        plan = Plan(actions=((Apply("endpointslices", endpointslice(owner, "s", *addresses)),),))
        outcome = await executor.apply(owner, plan)
        assert outcome.error is None, outcome.error
        found = await get(client, "endpointslices", namespace, "s")
        assert [e["addresses"][0] for e in found.get("endpoints") or ()] == list(addresses)
        assert found["metadata"]["labels"]["drumline.dev/attempt"] == str(len(addresses))


async def test_apply_keeps_what_others_added(client, executor, owner, namespace) -> None:
    plan = Plan(actions=((Apply("configmaps", configmap(owner, "c", ours="1")),),))
    await executor.apply(owner, plan)
    body = {"metadata": {"labels": {"theirs": "yes"}}}
    path = resource_path("configmaps", namespace, "c")
    await client.request("PATCH", path, body=body, content_type="application/merge-patch+json")
    changed = Plan(actions=((Apply("configmaps", configmap(owner, "c", ours="2")),),))
    assert (await executor.apply(owner, changed)).error is None
    found = await get(client, "configmaps", namespace, "c")
    assert (found["data"], found["metadata"]["labels"]["theirs"]) == ({"ours": "2"}, "yes")


@pytest.mark.parametrize("known", [True, False])
async def test_apply_never_touches_a_stranger(client, executor, owner, namespace, known: bool) -> None:
    """Also not one that took the name of an object of ours after we had written it."""
    plan = Plan(actions=((Apply("configmaps", configmap(owner, "c", ours="1")),),))
    path = resource_path("configmaps", namespace)
    if known:
        await executor.apply(owner, plan)
        await client.request("DELETE", f"{path}/c")
    await client.request("POST", path, body={"metadata": {"name": "c"}, "data": {"theirs": "1"}})
    outcome = await executor.apply(owner, plan)
    assert isinstance(outcome.error, NameConflict)
    assert (await get(client, "configmaps", namespace, "c"))["data"] == {"theirs": "1"}


async def test_apply_makes_anew_what_was_deleted(client, executor, owner, namespace) -> None:
    plan = Plan(actions=((Apply("configmaps", configmap(owner, "c", ours="1")),),))
    await executor.apply(owner, plan)
    await client.request("DELETE", resource_path("configmaps", namespace, "c"))
    assert (await executor.apply(owner, plan)).error is None
    assert (await get(client, "configmaps", namespace, "c"))["data"] == {"ours": "1"}


async def test_status_needs_the_version_that_was_decided_upon(client, executor, owner) -> None:
    condition = {"type": "Test", "status": "True", "reason": "First", "message": ""}
    condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    plan = Plan(intent={"conditions": [condition]}, status={"conditions": [condition | {"status": "False"}]})
    outcome = await executor.apply(owner, plan)
    stale = await executor.apply(owner, plan)
    assert outcome.error is None, outcome.error
    assert isinstance(stale.error, Conflict)
    assert stale.failed == "status"
    found = await client.request("GET", owner.path)
    assert found["metadata"]["resourceVersion"] == outcome.resource_version
    assert found["status"]["conditions"][0]["status"] == "False"


async def test_status_is_replaced_as_a_whole(client, executor, owner) -> None:
    condition = {"type": "Test", "status": "True", "reason": "First", "message": ""}
    condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    outcome = await executor.apply(
        owner, Plan(intent={"conditions": [condition]}, status={"loadBalancer": {}})
    )
    assert outcome.error is None, outcome.error
    assert (await client.request("GET", owner.path))["status"] == {"loadBalancer": {}}


async def test_events_are_written_once_by_all_replicas(client, owner, namespace) -> None:
    plan = Plan(events=(Event("Normal", "Placed", "16 workers on 16 nodes"),))
    for _ in range(2):
        executor = Executor(client, Expectations(time.monotonic), now=lambda: 1_800_000_000.0)
        assert (await executor.apply(owner, plan)).error is None
    params = {"fieldSelector": f"involvedObject.uid={owner.uid},reason=Placed"}
    found = await client.request("GET", resource_path("events", namespace), params=params)
    assert [event["message"] for event in found["items"]] == ["16 workers on 16 nodes"]


async def test_owner_is_deleted_by_uid(client, executor, owner) -> None:
    wrong = replace(owner, uid="another-uid")
    assert (await executor.apply(wrong, Plan(delete_self=True))).error is None
    assert (await client.request("GET", owner.path))["metadata"]["uid"] == owner.uid
    assert (await executor.apply(owner, Plan(delete_self=True))).error is None
