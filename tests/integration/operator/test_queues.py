"""Queues: which one a job waits in, what it may have there, what the queue says of it, and what outlives the operator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from e2e.cluster.provider import Cluster
from tests.integration.operator.conftest import PATIENT, Operator, make_lab, start_operator
from tests.integration.operator.lab import SECONDS, Lab, Manifest, condition, reason
from tests.integration.operator.queues import QueueDesk, active, desk, quotas, usage

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture
async def queues(lab: Lab) -> AsyncIterator[QueueDesk]:
    async with desk(lab) as made:
        yield made


def said(job: Manifest) -> str:
    return str(condition(job, "QuotaReserved")["message"])


async def test_the_default_queue_takes_who_names_none_and_its_quota_holds(
    lab: Lab, queues: QueueDesk
) -> None:
    await lab.nodes("2 hosts of h100 in blocks of 2")
    name = await queues.make("standard", default=True, quotas=quotas(4))
    await lab.apply(lab.job("first"))
    job = await lab.phase("first", "Running")
    assert job["status"]["queue"] == name
    await lab.apply(lab.job("second", workersPerSlice=3))
    job = await lab.until("second", lambda j: reason(j, "QuotaReserved") == ("False", "QueueQuotaExceeded"))
    assert f"needs 3 × nvidia-h100-80gb; queue {name} may take 2 more: quota 4, 2 used" in said(job)
    assert "queue" not in job["status"]
    queue = await queues.until(
        name,
        lambda q: (
            usage(q).get("used") == 2 and q["status"].get("head", {}).get("reason") == "QueueQuotaExceeded"
        ),
    )
    assert active(queue) == ("True", "QueueActive")
    assert (queue["status"]["pending"], queue["status"]["admitted"]) == (1, 1)
    head = queue["status"]["head"]
    assert (head["job"], head["reason"]) == (f"{lab.namespace}/second", "QueueQuotaExceeded")
    await queues.change(name, quotas=quotas(5))
    await lab.phase("second", "Running")
    queue = await queues.until(name, lambda q: usage(q).get("used") == 5)
    assert "head" not in queue["status"]
    await lab.patch("first", {"op": "add", "path": "/spec/suspend", "value": True})
    await queues.until(name, lambda q: usage(q).get("used") == 3 and q["status"]["admitted"] == 1)
    assert "queue" not in (await lab.until("first", lambda j: "queue" not in j["status"]))["status"]


async def test_a_queue_is_named_by_field_or_label_and_has_to_be_there_and_for_the_namespace(
    lab: Lab, queues: QueueDesk
) -> None:
    await lab.nodes("2 hosts of h100 in blocks of 2")
    research = await queues.make("research", quotas=quotas(8))
    elsewhere = await queues.make(
        "elsewhere", quotas=quotas(8), namespaceSelector={"matchLabels": {"no": "1"}}
    )
    missing = queues.name("missing")
    labelled = lab.job("labelled")
    labelled["metadata"]["labels"] = {"drumline.dev/queue": research}
    torn = lab.job("torn", queue=elsewhere)
    torn["metadata"]["labels"] = {"drumline.dev/queue": research}
    jobs = [
        labelled,
        torn,
        lab.job("lost", queue=missing),
        lab.job("alien", queue=elsewhere),
        lab.job("free"),
    ]
    await asyncio.gather(*map(lab.apply, jobs))
    assert (await lab.phase("labelled", "Running"))["status"]["queue"] == research
    assert "queue" not in (await lab.phase("free", "Running"))["status"], "no queue is for it: no quota"
    lost = await lab.until("lost", lambda j: reason(j, "QuotaReserved") == ("False", "QueueNotFound"))
    assert f"there is no AcceleratorQueue {missing}" in said(lost)
    alien = await lab.until("alien", lambda j: reason(j, "QuotaReserved") == ("False", "QueueNotAllowed"))
    assert f"{elsewhere} is not for namespace {lab.namespace}" in said(alien)
    both = await lab.until("torn", lambda j: reason(j, "QuotaReserved") == ("False", "QueueAmbiguous"))
    assert f"spec.queue names queue {elsewhere} and the label drumline.dev/queue names {research}" in said(
        both
    )
    await queues.make("missing", quotas=quotas(2))
    assert (await lab.phase("lost", "Running"))["status"]["queue"] == missing
    await lab.client.request(
        "PATCH",
        f"/api/v1/namespaces/{lab.namespace}",
        body={"metadata": {"labels": {"no": "1"}}},
        content_type="application/merge-patch+json",
    )
    assert (await lab.phase("alien", "Running"))["status"]["queue"] == elsewhere


async def test_two_defaults_are_a_fault_of_both_and_nobody_guesses(lab: Lab, queues: QueueDesk) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    one, two = [await queues.make(short, default=True, quotas=quotas(4)) for short in ("one", "two")]
    await lab.apply(lab.job("unsure"))
    job = await lab.until("unsure", lambda j: reason(j, "QuotaReserved") == ("False", "QueueAmbiguous"))
    assert f"queues {one}, {two} are each the default of namespace {lab.namespace}" in said(job)
    for name in (one, two):
        await queues.until(name, lambda q: active(q) == ("False", "QueueAmbiguous"))
    await lab.apply(lab.job("sure", queue=two))
    assert (await lab.phase("sure", "Running"))["status"]["queue"] == two
    await queues.change(two, default=False)
    assert (await lab.phase("unsure", "Running"))["status"]["queue"] == one
    for name in (one, two):
        await queues.until(name, lambda q: active(q) == ("True", "QueueActive"))


async def test_a_cohort_lends_and_says_so_and_a_queue_without_a_known_accelerator_too(
    lab: Lab, queues: QueueDesk
) -> None:
    await lab.nodes("2 hosts of h100 in blocks of 2")
    cohort = lab.namespace
    poor = await queues.make("poor", cohort=cohort, quotas=quotas(2, borrowingLimit=3))
    rich = await queues.make(
        "rich",
        cohort=cohort,
        quotas=[*quotas(8, lendingLimit=4), {"accelerator": "abacus", "nominalQuota": 1}],
    )
    await queues.until(rich, lambda q: active(q) == ("False", "UnknownAccelerator"))
    await lab.apply(lab.job("borrower", queue=poor, workersPerSlice=4))
    await lab.phase("borrower", "Running")
    queue = await queues.until(poor, lambda q: usage(q).get("used") == 4)
    assert (usage(queue)["borrowed"], usage(queue)["lent"], queue["status"]["share"]) == (2, 0, "0.3333")
    queue = await queues.until(rich, lambda q: usage(q).get("lent") == 2)
    assert (usage(queue)["used"], usage(queue)["nominal"]) == (0, 8)
    await lab.apply(lab.job("greedy", queue=poor))
    job = await lab.until("greedy", lambda j: reason(j, "QuotaReserved") == ("False", "QueueQuotaExceeded"))
    assert "may take 1 more: quota 2, 4 used, 2 of them borrowed" in said(job)
    await lab.delete("trainingjobs", "borrower")
    await lab.phase("greedy", "Running")
    await queues.until(poor, lambda q: (usage(q).get("used"), usage(q).get("borrowed")) == (2, 0))


async def test_what_runs_outlives_its_queue_and_counts_in_one_of_that_name(
    lab: Lab, queues: QueueDesk
) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    other = await queues.make("other", quotas=quotas(8))  # so that there are queues at any time
    name = await queues.make("brief", quotas=quotas(2))
    await lab.apply(lab.job("stays", queue=name))
    await lab.phase("stays", "Running")
    await queues.remove(name)
    await lab.apply(lab.job("late", queue=name))
    await lab.until("late", lambda j: reason(j, "QuotaReserved") == ("False", "QueueNotFound"))
    assert (await lab.get("stays"))["status"]["phase"] == "Running"
    await queues.make("brief", quotas=quotas(3))
    await lab.until("late", lambda j: reason(j, "QuotaReserved") == ("False", "QueueQuotaExceeded"))
    await queues.until(name, lambda q: usage(q).get("used") == 2 and q["status"]["admitted"] == 1)
    assert usage(await queues.until(other, lambda q: "usage" in q.get("status", {})))["used"] == 0


async def _queues_of_groups(lab: Lab, path: str) -> list[str | None]:
    service = await lab.client.request("GET", path)
    return [group.get("queue") for group in service["status"]["roles"][0]["groups"]]


async def test_groups_of_a_service_count_too(lab: Lab, queues: QueueDesk) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    name = await queues.make("serving", quotas=quotas(3))
    template = lab.job("x")["spec"]["template"]
    role = {
        "name": "serve",
        "replicas": 2,
        "workersPerGroup": 1,
        "accelerator": {"type": "nvidia-h100-80gb", "chipsPerWorker": 2},
        "template": template,
    }
    body = {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "chat"},
        "spec": {"engine": "custom", "queue": name, "roles": [role]},
    }
    path = f"/apis/drumline.dev/v1alpha1/namespaces/{lab.namespace}/inferenceservices"
    await lab.client.request("POST", path, body=body)
    queue = await queues.until(
        name,
        lambda q: (
            usage(q).get("used") == 2 and q["status"].get("head", {}).get("reason") == "QueueQuotaExceeded"
        ),
    )
    assert (queue["status"]["admitted"], queue["status"]["pending"]) == (1, 1)
    assert queue["status"]["head"]["reason"] == "QueueQuotaExceeded"
    await queues.change(name, quotas=quotas(4))
    await queues.until(name, lambda q: usage(q).get("used") == 4 and q["status"]["pending"] == 0)
    deadline = time.monotonic() + SECONDS  # it counts from its grant, which is written a moment later
    while await _queues_of_groups(lab, f"{path}/chat") != [name, name]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    await lab.client.request("DELETE", f"{path}/chat")
    await queues.until(name, lambda q: usage(q).get("used") == 0 and q["status"]["admitted"] == 0)


@pytest.fixture
def crew(own_cluster: Cluster, tmp_path: Path) -> Iterator[list[Operator]]:
    """Operators that the test starts one after the other."""
    running: list[Operator] = []
    yield running
    for operator in running:
        operator.stop()
        assert "Traceback" not in operator.log.read_text(errors="replace"), operator.tail(80)


async def test_a_successor_knows_what_is_used_before_it_lets_anybody_in(
    own_cluster: Cluster, crew: list[Operator], tmp_path: Path
) -> None:
    async def begin(name: str) -> None:
        crew.append(start_operator(own_cluster.kubeconfig, tmp_path / name, *PATIENT))
        await asyncio.to_thread(crew[-1].wait_leading)

    await begin("first")
    async with make_lab(own_cluster) as lab, desk(lab) as queues:
        await lab.nodes("2 hosts of h100 in blocks of 2")
        name = await queues.make("small", quotas=quotas(5))
        await lab.apply(lab.job("before", queue=name))
        await lab.apply(lab.job("deleted", {"hang-terminating": "true"}, queue=name))
        await lab.phase("before", "Running")
        await lab.phase("deleted", "Running")
        await asyncio.to_thread(crew[-1].stop)
        # its pods go on for a while, and nobody leads who knew it
        await lab.delete("trainingjobs", "deleted")
        await lab.apply(lab.job("after", queue=name))
        await begin("second")
        await lab.until("after", lambda j: reason(j, "QuotaReserved") == ("False", "QueueQuotaExceeded"))
        queue = await queues.until(name, lambda q: q["status"].get("pending") == 1)
        assert (usage(queue)["used"], queue["status"]["admitted"]) == (4, 2)
        await lab.delete("trainingjobs", "before")
        await lab.phase("after", "Running")
