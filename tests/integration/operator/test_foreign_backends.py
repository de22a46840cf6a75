"""Jobs whose gangs others let in: Kueue, Volcano, coscheduling, KAI, each played by the test as documented.

On a cluster of their own with an operator of their own, which finds the kinds of all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from drumline.runtime.http import MERGE_PATCH, STRATEGIC_PATCH
from drumline.runtime.http_paths import resource_path
from e2e.cluster.provider import Cluster
from tests.integration import foreign_schedulers
from tests.integration.operator.conftest import leading, make_lab
from tests.integration.operator.kueue_double import PREFIX, Kueue, install_webhook
from tests.integration.operator.lab import SECONDS, Lab, Manifest, condition, reason
from tests.integration.operators import Operator

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]
NO_RESTARTS = {"maxRestarts": 0, "backoff": {"initialSeconds": 0, "maxSeconds": 0}}


@pytest.fixture(scope="module")
def foreign(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator on a cluster that has all their kinds."""
    foreign_schedulers.install(own_cluster)
    install_webhook(own_cluster)
    with leading(own_cluster.kubeconfig, tmp_path_factory.mktemp("operator") / "log") as running:
        yield running


@pytest.fixture
async def lab(foreign: Operator, own_cluster: Cluster) -> AsyncIterator[Lab]:
    async with make_lab(own_cluster) as made:
        yield made


def handed(lab: Lab, backend: str, annotations: dict[str, str] | None = None, **spec: Any) -> Manifest:
    """A job of two workers, on nodes with room for both, that is left to a backend."""
    scheduling = {"backend": backend, "backendQueue": "research"}
    return lab.job("train", annotations, scheduling=scheduling, **spec)


def waits(text: str) -> Any:
    """Whether a job says that its pods are not ready, and why."""
    return lambda job: text in condition(job, "PodsReady").get("message", "")


async def test_a_gang_of_kueue_waits_runs_leaves_and_comes_back(lab: Lab) -> None:
    await lab.nodes("2 hosts of h100")
    kueue = Kueue(lab)
    await lab.apply(handed(lab, "kueue", failurePolicy=NO_RESTARTS))
    await kueue.queue("train-1", "WaitingForQuota", "insufficient unused quota for nvidia.com/gpu")
    text = "at Kueue's gate in LocalQueue research: insufficient unused quota for nvidia.com/gpu"
    waiting = await lab.until("train", waits(text))
    assert reason(waiting, "PodsReady") == ("False", "QueueQuotaExceeded")
    assert waiting["status"]["workers"]["ready"] == 0
    await kueue.admit("train-1")
    await lab.phase("train", "Running")

    await kueue.evict("train-1")
    await kueue.let_go("train-1")
    again = await lab.until("train", lambda j: j["status"]["attempt"] == 2, "no second attempt")
    assert again["status"]["attempts"][0]["cause"] == "Preempted"
    pods = {p["metadata"]["name"] for p in await kueue.whole("train-2")}
    assert pods == {"train-2-0-0", "train-2-0-1"}
    await kueue.queue("train-2", "Pending", "waits")
    await kueue.admit("train-2")
    await lab.phase("train", "Running")


async def test_a_group_of_kueue_is_over_when_the_job_fails(lab: Lab) -> None:
    await lab.nodes("2 hosts of h100")
    kueue = Kueue(lab)
    fails = {"run-seconds": "1", "exit-code": "3", "only-ranks": "1"}
    await lab.apply(handed(lab, "kueue", fails, failurePolicy=NO_RESTARTS))
    await kueue.queue("train-1", "Pending", "waits")
    await kueue.admit("train-1")
    failed = await lab.phase("train", "Failed")
    assert failed["status"]["attempts"][0]["cause"] == "ApplicationExit"
    await kueue.let_go("train-1")


async def test_a_gang_that_is_suspended_at_the_gate_leaves_no_workload(lab: Lab) -> None:
    kueue = Kueue(lab)
    await lab.apply(handed(lab, "kueue"))
    await kueue.queue("train-1", "Pending", "waits")
    await lab.patch("train", {"op": "add", "path": "/spec/suspend", "value": True})
    await lab.phase("train", "Suspended")

    async def none_is_left() -> bool:
        return not await kueue.workloads()

    await kueue.until(none_is_left, "no Workload")


async def test_where_kueue_does_not_gate_no_gang_starts_in_part(lab: Lab) -> None:
    await lab.nodes("2 hosts of h100")
    body = {"metadata": {"labels": {"kueue": "away"}}}
    path = resource_path("namespaces", "", lab.namespace)
    await lab.client.request("PATCH", path, body=body, content_type=MERGE_PATCH)
    await lab.apply(handed(lab, "kueue"))
    gate = f"scheduling gate {PREFIX}/admission"

    def told(job: Manifest) -> bool:
        conditions = job.get("status", {}).get("conditions", ())
        return any(gate in c.get("message", "") for c in conditions)

    await lab.until("train", told, "nobody says that the gate is missing")
    assert len(await lab.pods()) < 2


NO_ROOM = {"type": "Unschedulable", "status": "True", "reason": "NotEnoughResources", "message": "1 of 2 fit"}
POOL = {
    "type": "UnschedulableOnNodePool",
    "status": "True",
    "reason": "Unschedulable",
    "message": "1 of 2 fit",
}
OTHERS = [
    ("volcano", "volcano", "volcano.sh", {"phase": "Inqueue", "conditions": [NO_ROOM]}, "1 of 2 fit"),
    ("coscheduling", "scheduler-plugins-scheduler", "x-k8s.io", {"phase": "Scheduling"}, "0 of 2 pods run"),
    ("kai", "kai-scheduler", "run.ai", {"schedulingConditions": [POOL]}, "1 of 2 fit"),
]


async def test_gangs_of_other_schedulers_wait_run_and_are_evicted(lab: Lab) -> None:
    hosts = await lab.nodes("2 hosts of h100")
    await asyncio.gather(*(_of_another(lab, hosts, *other) for other in OTHERS))


async def _of_another(
    lab: Lab, hosts: list[str], backend: str, scheduler: str, domain: str, status: dict[str, Any], text: str
) -> None:
    """A gang is made known to its scheduler, waits for it, is bound by it, and is taken off its nodes by it."""
    job = handed(lab, backend, {"hang-terminating": "true"})
    job["metadata"]["name"] = backend
    await lab.apply(job)
    pods = await _two_pods(lab, backend)
    assert {p["spec"]["schedulerName"] for p in pods} == {scheduler}
    where, name = f"podgroups.scheduling.{domain}", f"{backend}-1"
    group = await asyncio.to_thread(lab.cluster.get, where, name, "-n", lab.namespace)
    assert group["spec"]["minMember"] == 2
    assert group["metadata"]["ownerReferences"][0]["name"] == backend
    await _made_again(lab, where, group)
    await asyncio.to_thread(foreign_schedulers.say, lab.cluster, where, name, lab.namespace, status)
    waiting = await lab.until(backend, waits(text))
    assert condition(waiting, "PodsReady")["status"] == "False"
    for pod, host in zip(pods, hosts, strict=True):
        await _bind(lab, pod["metadata"]["name"], host)
    await lab.phase(backend, "Running")
    await _evict(lab, pods[1]["metadata"]["name"])
    again = await lab.until(backend, lambda j: j["status"]["attempt"] == 2, "no second attempt")
    assert again["status"]["attempts"][0]["cause"] == "Preempted"


async def _made_again(lab: Lab, where: str, group: Manifest) -> None:
    """Somebody deletes the group of a gang that waits, and there is another of the name."""
    name, uid, deadline = group["metadata"]["name"], group["metadata"]["uid"], time.monotonic() + SECONDS
    kubectl, space = lab.cluster.kubectl, ("-n", lab.namespace)
    await asyncio.to_thread(kubectl, "delete", where, name, *space, "--wait=false")
    shown = ("--ignore-not-found", "-o", "jsonpath={.metadata.uid}")
    while await asyncio.to_thread(kubectl, "get", where, name, *space, *shown) in ("", uid):
        assert time.monotonic() < deadline, f"nobody made {where} {name} again"
        await asyncio.sleep(0.1)


async def _two_pods(lab: Lab, job: str) -> list[Manifest]:
    """The pods of a job once both are there."""
    await lab.until_pods(lambda names: sum(n.startswith(f"{job}-1-") for n in names) == 2)
    return await lab.pods(f"drumline.dev/job={job}")


async def _evict(lab: Lab, pod: str) -> None:
    """As their schedulers mark a pod and delete it."""
    # the controller manager takes back a mark of long ago
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    mark = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    path = resource_path("pods", lab.namespace, pod, "status")
    body = {"status": {"conditions": [{**mark, "lastTransitionTime": now}]}}
    await lab.client.request("PATCH", path, body=body, content_type=STRATEGIC_PATCH)
    await lab.delete("pods", pod)


async def _bind(lab: Lab, pod: str, host: str) -> None:
    target = {"apiVersion": "v1", "kind": "Node", "name": host}
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}
    await lab.client.request("POST", resource_path("pods", lab.namespace, pod, "binding"), body=body)
