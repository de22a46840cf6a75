"""A job's life on fake nodes: from apply to completion, through failure, suspension and its end."""

from __future__ import annotations

import pytest

from drumline.runtime.errors import NotFound
from e2e.cluster import nodes
from tests.integration.operator.lab import Lab, condition, env_of, node_of, reason

pytestmark = pytest.mark.cluster


async def test_from_apply_to_completion(lab: Lab) -> None:
    hosts = await lab.nodes("2 hosts of h100 in blocks of 2")
    await lab.apply(lab.job("llama", {"run-seconds": "3"}))
    job = await lab.phase("llama", "Running")
    assert job["status"]["workers"] == {"desired": 2, "ready": 2, "succeeded": 0, "failed": 0}
    assert [c["metadata"]["name"] for c in await lab.pods()] == ["llama-1-0-0", "llama-1-0-1"]
    assert {node_of(p) for p in await lab.pods()} <= set(hosts)
    job = await lab.phase("llama", "Succeeded")
    assert reason(job, "Complete") == ("True", "Completed")
    assert (job["status"]["attempt"], job["status"]["restarts"]) == (1, [])
    assert job["metadata"].get("finalizers") is None
    assert set(job["metadata"].get("annotations", {})) == set()


async def test_names_resolve_to_the_running_attempt(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    await lab.apply(lab.job("named"))
    await lab.phase("named", "Running")
    await lab.settle("named")
    (service,) = await lab.list("services")
    assert service["spec"]["clusterIP"] == "None"
    assert "selector" not in service["spec"]
    (found,) = await lab.list("endpointslices")
    assert found["metadata"]["labels"]["kubernetes.io/service-name"] == "named"
    published = {e["hostname"]: e["addresses"] for e in found["endpoints"]}
    assert published == {p["spec"]["hostname"]: [p["status"]["podIP"]] for p in await lab.pods()}
    assert env_of((await lab.pods())[1])["MASTER_ADDR"].startswith("named-0-0.named")


async def test_a_failed_rank_restarts_the_whole_gang_on_its_nodes(lab: Lab) -> None:
    await lab.nodes("2 hosts of h100 in blocks of 2")
    failing = {"run-seconds": "1", "exit-code": "7", "only-attempts": "1", "only-ranks": "1"}
    await lab.apply(lab.job("flaky", failing))
    await lab.until("flaky", lambda j: j.get("status", {}).get("attempt") == 2, "no second attempt")
    job = await lab.phase("flaky", "Running")
    first = job["status"]["attempts"][0]
    assert (first["cause"], first["rank"], first["exitCode"], first["pod"]) == (
        "ApplicationExit",
        1,
        7,
        "flaky-1-0-1",
    )
    assert job["status"]["restarts"] == [{"cause": "ApplicationExit", "count": 1}]
    assert reason(job, "Restarting") == ("False", "Recovered")
    assert [p["metadata"]["name"] for p in await lab.pods()] == ["flaky-2-0-0", "flaky-2-0-1"]
    assert len(await lab.list("controllerrevisions")) == 1


async def test_restarts_end_with_the_budget(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    policy = {"maxRestarts": 1, "backoff": {"initialSeconds": 0, "maxSeconds": 0}}
    await lab.apply(lab.job("broken", {"run-seconds": "0", "exit-code": "2"}, failurePolicy=policy))
    job = await lab.phase("broken", "Failed")
    assert reason(job, "Failed") == ("True", "MaxRestartsExceeded")
    assert "exited with 2" in condition(job, "Failed")["message"]
    assert job["status"]["attempt"] == 2


async def test_suspend_and_resume(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    await lab.apply(lab.job("pausing"))
    await lab.phase("pausing", "Running")
    await lab.patch("pausing", {"op": "replace", "path": "/spec/suspend", "value": True})
    job = await lab.phase("pausing", "Suspended")
    assert "placement" not in job["status"]
    await lab.settle("pausing", 1.0)
    assert await lab.pods() == []
    await lab.patch("pausing", {"op": "replace", "path": "/spec/suspend", "value": False})
    job = await lab.phase("pausing", "Running")
    assert (job["status"]["attempt"], job["status"]["restarts"]) == (2, [])


async def test_a_lost_node_is_replaced(lab: Lab) -> None:
    await lab.nodes("3 hosts of h100 in blocks of 3")
    job = lab.job("moving", accelerator={"type": "nvidia-h100-80gb", "chipsPerWorker": 8})
    await lab.apply(job)
    await lab.phase("moving", "Running")
    lost = node_of((await lab.pods())[1])
    await nodes.delete_node(lab.cluster, lost)
    await lab.until("moving", lambda j: j["status"]["attempt"] == 2, "no second attempt")
    await lab.phase("moving", "Running")
    assert lost not in {node_of(p) for p in await lab.pods() if p["metadata"]["name"].startswith("moving-2-")}


async def test_completed_pods_deleted_with_their_node_restart_nothing(lab: Lab) -> None:
    await lab.nodes("2 hosts of h100 in blocks of 2")
    done = {"run-seconds": "1", "only-ranks": "1"}
    job = lab.job("half", done, accelerator={"type": "nvidia-h100-80gb", "chipsPerWorker": 8})
    await lab.apply(job)
    await lab.until("half", lambda j: j.get("status", {}).get("workers", {}).get("succeeded") == 1)
    pod = (await lab.pods())[1]
    await nodes.delete_node(lab.cluster, node_of(pod))
    await lab.delete("pods", pod["metadata"]["name"], gracePeriodSeconds=0)
    job = await lab.settle("half", 3.0)
    assert (job["status"]["attempt"], job["status"]["phase"]) == (1, "Running")
    assert job["status"]["restarts"] == []


async def test_the_deadline_fails_the_job_and_the_ttl_removes_it(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    await lab.apply(lab.job("late", activeDeadlineSeconds=3, ttlSecondsAfterFinished=2))
    job = await lab.phase("late", "Failed")
    assert reason(job, "Failed") == ("True", "DeadlineExceeded")
    with pytest.raises(NotFound):
        await lab.until("late", lambda _: False, "it is still there")


async def test_a_helper_waits_for_the_workers_and_goes_with_them(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1", "1 hosts of cpu")
    template = {"spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "h", "image": "pause"}]}}
    helper = {"name": "eval", "replicas": 1, "dependsOn": [{"name": "workers"}], "template": template}
    await lab.apply(lab.job("helped", {"start-seconds": "2", "run-seconds": "4"}, helpers=[helper]))
    await lab.until("helped", lambda j: len(j.get("status", {}).get("attempts", ())) == 1)
    await lab.until("helped", lambda j: j["status"]["workers"]["ready"] == 2)
    job = await lab.phase("helped", "Running")
    assert [p["metadata"]["name"] for p in await lab.pods()][-1] == "helped-1-eval-0"
    job = await lab.phase("helped", "Succeeded")
    assert job["status"]["workers"]["succeeded"] == 2
