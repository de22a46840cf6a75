"""Spares on a real control plane with fake nodes: promoted at once, never waited for, lost without harm."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from drumline.core.gang.clock import unix
from drumline.runtime.http import MERGE_PATCH
from drumline.runtime.http_paths import resource_path
from e2e.cluster import nodes
from e2e.cluster.provider import Cluster
from tests.integration.operator.conftest import Operator, leading, make_lab
from tests.integration.operator.lab import POOL, Lab, Manifest, condition, node_of

pytestmark = pytest.mark.cluster

IMAGE = "example.org/drumline:1"
WHOLE_HOSTS = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}


@pytest.fixture(scope="module")
def with_image(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator that has an image for the pods of spares."""
    log = tmp_path_factory.mktemp("spares") / "log"
    with leading(own_cluster.kubeconfig, log, "--launcher-image", IMAGE) as running:
        yield running


@pytest.fixture
async def site(with_image: Operator, own_cluster: Cluster) -> AsyncIterator[Lab]:
    async with make_lab(own_cluster) as made:
        yield made


def gang(lab: Lab, name: str, workers: int, spares: int, **spec: Any) -> Manifest:
    return lab.job(name, **{"accelerator": WHOLE_HOSTS, "workersPerSlice": workers, "spares": spares, **spec})


async def places(lab: Lab, name: str) -> dict[str, str]:
    """Node by pod."""
    pods = await lab.pods(f"drumline.dev/job={name}")
    return {p["metadata"]["name"]: node_of(p) for p in pods if "deletionTimestamp" not in p["metadata"]}


async def bound(lab: Lab, name: str, count: int) -> dict[str, str]:
    """The same once so many pods have a node."""
    await lab.until_pods(lambda names: sum(n.startswith(f"{name}-") for n in names) >= count)
    deadline = time.monotonic() + 60
    while True:
        found = {pod: node for pod, node in (await places(lab, name)).items() if node}
        if len(found) == count:
            return found
        assert time.monotonic() < deadline, found


async def lose(lab: Lab, name: str, node: str) -> tuple[Manifest, float]:
    """The job after it lost a node and runs again, and the seconds from the end of the attempt until then.

    That the node's pods are deleted takes Kubernetes most of a minute, which has nothing to do with spares.
    """
    await nodes.delete_node(lab.cluster, node)
    await lab.until(name, lambda j: j["status"]["attempt"] == 2 and j["status"]["phase"] == "Running")
    job = await lab.get(name)
    first, second = job["status"]["attempts"]
    return job, unix(second["readyAt"]) - unix(first["finishedAt"])


async def leave(lab: Lab, name: str, node: str) -> None:
    """Until the job, of which nothing stays on a node, runs again."""
    taint = {"spec": {"taints": [{"key": "example.com/repair", "effect": "NoExecute"}]}}
    path = f"/api/v1/nodes/{node}"
    await lab.client.request("PATCH", path, body=taint, content_type=MERGE_PATCH)
    await lab.until(name, lambda j: j["status"]["attempt"] == 2 and j["status"]["phase"] == "Running")


async def test_a_spare_takes_a_lost_nodes_place_before_those_who_wait(site: Lab) -> None:
    hosts = await site.nodes("5 hosts of h100 in blocks of 5")
    await site.apply(gang(site, "first", 4, 1))
    await site.phase("first", "Running")
    before = await bound(site, "first", 5)
    assert set(before.values()) == set(hosts)
    await site.apply(gang(site, "second", 1, 0))
    await site.phase("second", "Queued")

    job, seconds = await lose(site, "first", before["first-1-0-1"])
    after = await places(site, "first")
    print(
        f"a node lost, with a spare on a full cluster: running again {seconds:.2f} s after the attempt ended"
    )
    assert after == {
        **{f"first-2-0-{i}": before[f"first-1-0-{i}"] for i in (0, 2, 3)},
        "first-2-0-1": before["first-1-spare-0"],
    }
    assert job["status"]["placement"]["spares"] == 0
    assert (await site.get("second"))["status"]["phase"] == "Queued"
    events = [e["message"] for e in await site.list("events") if e["reason"] == "SparePromoted"]
    assert len(events) == 1
    assert f"spare {before['first-1-spare-0']} takes the place of {before['first-1-0-1']}" in events[0]
    assert {e["reason"] for e in await site.list("events") if e["involvedObject"]["name"] == "second"} <= {
        "InsufficientAccelerators"
    }


async def test_the_same_without_a_spare_for_comparison(site: Lab) -> None:
    await site.nodes("5 hosts of h100 in blocks of 5")
    await site.apply(gang(site, "bare", 4, 0))
    await site.phase("bare", "Running")
    before = await bound(site, "bare", 4)
    _, seconds = await lose(site, "bare", before["bare-1-0-1"])
    print(
        f"a node lost, without a spare and with a node free: running again {seconds:.2f} s after the attempt ended"
    )


async def test_on_tpu_a_slice_stands_by(site: Lab) -> None:
    await site.nodes("three v5p 2x2x2 slices")
    job = gang(site, "tpu", 2, 1, framework="jax", accelerator={"type": "tpu-v5p", "topology": "2x2x2"})
    job["spec"]["slices"] = 2
    del job["spec"]["workersPerSlice"]
    job["spec"]["template"]["spec"]["nodeSelector"] = {}
    await site.apply(job)
    await site.phase("tpu", "Running")
    before = await bound(site, "tpu", 6)
    await leave(site, "tpu", before["tpu-1-0-1"])
    after = await places(site, "tpu")
    assert [after[f"tpu-2-0-{i}"] for i in (0, 1)] == [before[f"tpu-1-spare-{i}"] for i in (0, 1)]
    assert [after[f"tpu-2-1-{i}"] for i in (0, 1)] == [before[f"tpu-1-1-{i}"] for i in (0, 1)]


async def test_spares_are_held_but_not_productive(site: Lab) -> None:
    await site.nodes("3 hosts of h100 in blocks of 3")
    await site.apply(gang(site, "kept", 2, 1))
    await site.phase("kept", "Running")
    await site.until("kept", lambda j: j["status"].get("goodput", {}).get("lanes") == 3)
    await site.patch("kept", {"op": "replace", "path": "/spec/suspend", "value": True})
    job = await site.until("kept", lambda j: j["status"]["goodput"]["lanes"] == 2)
    account = job["status"]["goodput"]
    states = {s["state"]: s["ms"] for s in account["states"]}
    assert states["spare"] > 0
    assert sum(states.values()) + account["provisionalMs"] == account["elapsedMs"]
    assert account["heldMs"] >= states["spare"]


async def test_a_lost_spare_harms_nobody_and_its_place_is_free(site: Lab) -> None:
    await site.nodes("3 hosts of h100 in blocks of 3")
    await site.apply(gang(site, "calm", 2, 1))
    await site.phase("calm", "Running")
    await bound(site, "calm", 3)
    await site.apply(gang(site, "next", 1, 0))
    await site.phase("next", "Queued")
    await site.delete("pods", "calm-1-spare-0")
    await site.phase("next", "Running")
    job = await site.get("calm")
    assert (job["status"]["phase"], job["status"]["attempt"]) == ("Running", 1)
    assert job["status"]["placement"]["lostSpares"] == [0]


async def test_spares_come_back_with_a_later_restart(site: Lab) -> None:
    await site.nodes("3 hosts of h100 in blocks of 3")
    await site.apply(gang(site, "again", 2, 1))
    await site.phase("again", "Running")
    before = await bound(site, "again", 3)
    await leave(site, "again", before["again-1-0-0"])
    assert (await site.get("again"))["status"]["placement"]["spares"] == 0
    site.prefix = f"{site.prefix}x-"  # node names of their own; the pool is the same
    (more,) = await nodes.apply(site.cluster, "1 hosts of h100 in blocks of 1", prefix=site.prefix)
    site.hosts.append(more)
    label = {"metadata": {"labels": {POOL: f"{site.prefix.removesuffix('x-')}h100"}}}
    await site.client.request("PATCH", f"/api/v1/nodes/{more}", body=label, content_type=MERGE_PATCH)
    name = "again-2-0-1"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    await site.client.request("POST", resource_path("pods", site.namespace, name, "eviction"), body=eviction)
    await site.until("again", lambda j: j["status"]["attempt"] == 3 and j["status"]["phase"] == "Running")
    after = await bound(site, "again", 3)
    assert after["again-3-spare-0"] == more
    assert {after["again-3-0-0"], after["again-3-0-1"]} == {before["again-1-spare-0"], before["again-1-0-1"]}


async def test_a_quota_costs_spares_before_it_costs_the_gang(site: Lab) -> None:
    await site.nodes("5 hosts of h100 in blocks of 5")
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "3"}}}
    await site.client.request("POST", resource_path("resourcequotas", site.namespace), body=quota)
    await site.apply(gang(site, "modest", 2, 3))
    job = await site.phase("modest", "Running")
    assert condition(job, "QuotaReserved")["message"].endswith("; 1 of 3 spares")
    assert len(await bound(site, "modest", 3)) == 3


async def test_without_an_image_the_queue_alone_keeps_the_place(lab: Lab) -> None:
    await lab.nodes("3 hosts of h100 in blocks of 3")
    await lab.apply(gang(lab, "bare", 2, 1))
    job = await lab.phase("bare", "Running")
    assert "1 of 1 spare (places only" in condition(job, "QuotaReserved")["message"]
    assert len(await lab.pods()) == 2
    await lab.apply(gang(lab, "next", 1, 0))
    await lab.phase("next", "Queued")
    before = await bound(lab, "bare", 2)
    await leave(lab, "bare", before["bare-1-0-0"])
    assert (await lab.get("next"))["status"]["phase"] == "Queued"
