"""Nodes that are asked for by a ProvisioningRequest: the quota first, then all of them or none of the gang.

On a cluster of its own, which does not know the kind at first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.provider import Cluster
from tests.integration.operator.conftest import PATIENT, Operator, leading, make_lab, start_operator
from tests.integration.operator.lab import POOL, Lab, Manifest, condition, node_of, reason
from tests.integration.operator.queues import desk, quotas, usage
from tests.integration.provisioner_double import CLASS, Autoscaler, install

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]
CONSUMES = "autoscaling.x-k8s.io/consume-provisioning-request"
REQUESTED, GIVEN_UP = ("True", "NodesRequested"), ("False", "ProvisioningFailed")


def asking(lab: Lab, name: str, *pools: str, **spec: Any) -> Manifest:
    """A job of four workers on half a host each, in these pools of the test's own in turn, that soon asks for nodes."""
    first, *others = (
        {"type": "nvidia-h100-80gb", "chipsPerWorker": 4, "nodeSelector": {POOL: f"{lab.prefix}{pool}"}}
        for pool in pools or ("h100",)
    )
    pod = {"terminationGracePeriodSeconds": 1, "containers": [{"name": "train", "image": "pause:3.10"}]}
    provisioning = {
        "mode": "ProvisioningRequest",
        "className": CLASS,
        "parameters": {"maxRunDurationSeconds": "3600"},
        "afterSeconds": 1,
    }
    return lab.job(
        name,
        accelerator={**first, "candidates": others},
        workersPerSlice=4,
        template={"spec": pod},
        scheduling={"provisioning": provisioning},
        **spec,
    )


async def test_the_kind_comes_later_and_a_successor_takes_over(own_cluster: Cluster, tmp_path: Path) -> None:
    first = start_operator(own_cluster.kubeconfig, tmp_path / "first", *PATIENT)
    try:
        first.wait_leading()
        async with make_lab(own_cluster) as lab:
            await lab.apply(asking(lab, "early"))
            job = await lab.until(
                "early", lambda j: reason(j, "QuotaReserved") == ("False", "ProvisioningUnavailable")
            )
            text = condition(job, "QuotaReserved")["message"]
            assert "does not serve ProvisioningRequest (autoscaling.x-k8s.io/v1)" in text
            install(own_cluster)
            request = await Autoscaler(lab).request("early-nodes-1")
            assert request["spec"]["parameters"] == {"maxRunDurationSeconds": "3600"}
            assert await lab.pods() == []
            first.process.kill()
            first.process.wait()
            own_cluster.kubectl(
                "delete", "lease", "drumline", "--namespace=default"
            )  # nobody waits for it to end
            nodes = await Autoscaler(lab).provision("early-nodes-1")
            with leading(own_cluster.kubeconfig, tmp_path / "second", *PATIENT):
                await placed(lab, "early", nodes)
    finally:
        first.stop()


async def placed(lab: Lab, name: str, nodes: list[str]) -> None:
    """The job runs pinned on these nodes, by its one request; suspended, it has none."""
    job = await lab.phase(name, "Running")
    assert job["status"]["attempt"] == 1
    request = job["status"]["provisioning"]["request"]
    pods = await lab.pods(f"drumline.dev/job={name}")
    assert sorted(map(node_of, pods)) == sorted([*nodes, *nodes])
    for pod in pods:
        assert pod["metadata"]["annotations"][CONSUMES] == request
        assert "nodeAffinity" in pod["spec"]["affinity"]
    await lab.patch(name, {"op": "add", "path": "/spec/suspend", "value": True})
    await Autoscaler(lab).until_gone(request)


@pytest.fixture(scope="module")
def serving(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator on a cluster that knows the kind."""
    install(own_cluster)
    with leading(own_cluster.kubeconfig, tmp_path_factory.mktemp("operator") / "log") as running:
        yield running


@pytest.fixture
async def lab(serving: Operator, own_cluster: Cluster) -> AsyncIterator[Lab]:
    async with make_lab(own_cluster) as made:
        yield made


async def test_a_scale_up_in_part_leaves_nothing_and_its_quota_was_its_own(lab: Lab) -> None:
    autoscaler = Autoscaler(lab)
    async with desk(lab) as queues:
        queue = await queues.make("research", quotas=quotas(17))
        await lab.apply(asking(lab, "large", queue=queue))
        await autoscaler.request("large-nodes-1")
        await queues.until(queue, lambda q: usage(q).get("used") == 16)
        await lab.apply(lab.job("small", queue=queue))
        await lab.until("small", lambda j: reason(j, "QuotaReserved") == ("False", "QueueQuotaExceeded"))
        await autoscaler.provision("large-nodes-1", hosts=1)
        job = await lab.until(
            "large", lambda j: reason(j, "QuotaReserved") == ("True", "InsufficientAccelerators")
        )
        assert "its nodes are not all there yet" in condition(job, "QuotaReserved")["message"]
        assert job["status"]["phase"] == "Queued"
        assert await lab.pods() == []
        await autoscaler.say("large-nodes-1", Provisioned=True, BookingExpired=True)
        job = await lab.until("large", lambda j: reason(j, "QuotaReserved") == GIVEN_UP)
        assert "BookingExpired: IsBookingExpired" in condition(job, "QuotaReserved")["message"]
        await autoscaler.until_gone("large-nodes-1")
        await lab.phase("small", "Running")
        assert {p["metadata"]["labels"]["drumline.dev/job"] for p in await lab.pods()} == {"small"}
        await queues.until(queue, lambda q: usage(q).get("used") == 2)


async def test_where_it_fails_nodes_are_asked_for_the_next_accelerator(lab: Lab) -> None:
    autoscaler = Autoscaler(lab)
    await lab.apply(asking(lab, "choosy", "reserved", "h100"))
    request = await autoscaler.request("choosy-nodes-1")
    ((count, template),) = await autoscaler.wanted(request)
    assert count == 4
    assert template["spec"]["nodeSelector"][POOL] == f"{lab.prefix}reserved"
    job = await lab.until("choosy", lambda j: reason(j, "QuotaReserved") == REQUESTED)
    assert "status" in job
    await autoscaler.say("choosy-nodes-1", Failed=True)
    ((_, template),) = await autoscaler.wanted(await autoscaler.request("choosy-nodes-2"))
    assert template["spec"]["nodeSelector"][POOL] == f"{lab.prefix}h100"
    await autoscaler.until_gone("choosy-nodes-1")
    await placed(lab, "choosy", await autoscaler.provision("choosy-nodes-2"))
    events = {e["reason"] for e in await lab.list("events")}
    assert {"NodesRequested", "ProvisioningFailed", "AcceleratorFallback", "NodesProvisioned"} <= events
