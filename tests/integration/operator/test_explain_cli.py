"""`kubectl drumline explain` about jobs that wait for an operator to admit them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from drumline.cli.settings import SELECTOR
from drumline.runtime.http import MERGE_PATCH
from tests.integration.operator.conftest import CATALOG, Operator
from tests.integration.operator.lab import Lab, reason
from tests.integration.operator.queues import desk, quotas
from tests.integration.operator.test_catalogue import MAPS, until
from tests.integration.operator.test_power import HOST, WHOLE, budget

pytestmark = pytest.mark.cluster


async def _explain(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await lab.plugin("explain", *arguments, "-n", lab.namespace)


async def _data(lab: Lab, name: str) -> dict[str, Any]:
    done = await _explain(lab, name, "-o", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def test_who_would_have_to_end_and_when_it_begins_at_the_latest(lab: Lab) -> None:
    await lab.nodes("3 hosts of h100 in blocks of 3")
    whole = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
    await lab.apply(lab.job("dated", accelerator=whole, workersPerSlice=1, activeDeadlineSeconds=3600))
    await lab.phase("dated", "Running")
    await lab.apply(lab.job("endless", accelerator=whole, workersPerSlice=2))
    await lab.phase("endless", "Running")
    await lab.apply(lab.job("small", accelerator=whole, workersPerSlice=1))
    await lab.phase("small", "Queued")
    await asyncio.sleep(1.1)  # the queue's order is by creation, of which only the second is known
    await lab.apply(lab.job("all", accelerator=whole, workersPerSlice=3))
    await asyncio.sleep(1.1)
    await lab.apply(lab.job("never", accelerator=whole, workersPerSlice=4))
    for name in ("all", "never"):
        await lab.until(name, lambda j: "insufficient" in json.dumps(j.get("status", {})).lower())

    def mine(names: list[str]) -> list[str]:
        return [n.partition("/")[2] for n in names if n.startswith(f"{lab.namespace}/")]

    small = await _data(lab, "small")
    assert small["condition"].startswith("InsufficientAccelerators: ")
    assert (small["fitsNow"], small["reason"], small["never"]) == (False, "InsufficientAccelerators", None)
    assert [h["name"] for h in small["wouldHaveToEnd"]] == [f"{lab.namespace}/dated"]
    assert small["latest"] is not None
    assert mine(small["ahead"]) == []

    every = await _data(lab, "all")
    assert {h["name"] for h in every["wouldHaveToEnd"]} == {
        f"{lab.namespace}/dated",
        f"{lab.namespace}/endless",
    }
    assert every["latest"] is None
    assert mine(every["ahead"]) == ["small"]

    text = " ".join((await _explain(lab, "never")).stdout.split())
    assert f"{lab.namespace}/never waits" in text
    assert "Ever: not in this cluster: needs 32 × nvidia-h100-80gb" in text.replace(" x ", " × ")
    assert "even if every other gang ended" in text

    runs = await _explain(lab, "dated")
    assert (runs.returncode, runs.stdout) == (3, "")
    assert runs.stderr == f"error: {lab.namespace}/dated does not wait for admission: it is Running\n"
    assert (await _explain(lab, "nobody")).returncode == 3


@asynccontextmanager
async def _readable_settings(lab: Lab) -> AsyncIterator[None]:
    """The operator's ConfigMaps as the chart makes them."""
    labels = dict(pair.split("=") for pair in SELECTOR.split(","))
    patch = {"metadata": {"labels": labels}}
    await lab.client.request("PATCH", f"{MAPS}/{CATALOG}", body=patch, content_type=MERGE_PATCH)
    name = f"{lab.prefix}op"
    data = {"config.yaml": json.dumps({"catalogConfigMap": CATALOG})}
    await lab.client.request("POST", MAPS, body={"metadata": {"name": name, "labels": labels}, "data": data})
    try:
        yield
    finally:
        await lab.client.request("DELETE", f"{MAPS}/{name}")


async def test_a_job_that_its_queue_refuses_stands_in_no_line(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    async with desk(lab) as queues:
        closed = await queues.make("closed", quotas=quotas(8), namespaceSelector={"matchLabels": {"no": "1"}})
        for short in ("one", "two"):
            await queues.make(short, default=True, quotas=quotas(8))
        asked = {"alien": {"queue": closed}, "lost": {"queue": queues.name("none")}, "torn": {}}
        for name, spec in asked.items():
            await lab.apply(lab.job(name, **spec))
        expected = {"alien": "QueueNotAllowed", "lost": "QueueNotFound", "torn": "QueueAmbiguous"}
        for name, why in expected.items():
            await lab.until(name, lambda j, w=why: reason(j, "QuotaReserved") == ("False", w))
            found = await _data(lab, name)
            assert (found["inLine"], found["reason"], found["wouldHaveToEnd"]) == (False, why, [])
            text = " ".join((await _explain(lab, name)).stdout.split())
            assert f"Now: it stands in no line: {why}: " in text
            assert f"{queues.name('one')}, {queues.name('two')}" in text.partition("To begin: ")[2]


async def test_in_a_strict_queue_one_is_told_for_whom_it_waits(lab: Lab) -> None:
    await lab.nodes("2 hosts of h100 in blocks of 2")
    both = [*quotas(16), {"accelerator": "tpu-v5p", "nominalQuota": 16}]
    async with desk(lab) as queues:
        strict = await queues.make("strict", queueingStrategy="StrictFIFO", default=True, quotas=both)
        await lab.apply(lab.job("taker", accelerator=WHOLE, workersPerSlice=1, activeDeadlineSeconds=3600))
        await lab.phase("taker", "Running")
        await lab.apply(lab.job("first", accelerator=WHOLE, workersPerSlice=2))
        await lab.until("first", lambda j: reason(j, "QuotaReserved")[1] == "QueueQuotaExceeded")
        await asyncio.sleep(1.1)  # the queue's order is by creation, of which only the second is known
        chips = {"type": "tpu-v5p", "topology": "2x2x1"}
        tpu = lab.job("chips", framework="jax", accelerator=chips)
        del tpu["spec"]["workersPerSlice"]
        for job in (lab.job("small", accelerator=WHOLE, workersPerSlice=1), tpu):
            name = job["metadata"]["name"]
            await lab.apply(job)
            await lab.until(name, lambda j: reason(j, "QuotaReserved")[1] == "HeadOfQueueReserved")
            found = await _data(lab, name)
            first = f"{lab.namespace}/first"
            assert first in found["ahead"]
            if name == "small":
                text = f"queue {strict} is StrictFIFO; {first} is ahead and waits"
                assert (found["waitsFor"], found["reason"]) == (first, "HeadOfQueueReserved")
                assert (found["message"], found["fitsNow"], found["roomNow"]) == (text, False, True)


async def test_power_counts_where_the_operators_settings_can_be_read(lab: Lab, operator: Operator) -> None:
    await lab.nodes("3 hosts of h100 in blocks of 3")
    block = f"{lab.prefix}h100-block-0"
    await budget(lab, operator, block, 2 * HOST)
    await lab.apply(lab.job("taker", accelerator=WHOLE, workersPerSlice=1))
    await lab.phase("taker", "Running")
    await lab.apply(lab.job("mine", accelerator=WHOLE, workersPerSlice=2))
    await lab.until("mine", lambda j: reason(j, "QuotaReserved")[1] == "PowerBudgetExceeded")
    text = " ".join((await _explain(lab, "mine")).stdout.split())
    assert "Now: there is room for it, but power budgets are not known here (see Settings)" in text
    async with _readable_settings(lab):
        found = await _data(lab, "mine")
    assert (found["fitsNow"], found["reason"], found["never"]) == (False, "PowerBudgetExceeded", None)
    assert [h["name"] for h in found["wouldHaveToEnd"]] == [f"{lab.namespace}/taker"]
    await lab.client.request("DELETE", f"{MAPS}/{CATALOG}")
    await until(lambda: block not in operator.metrics(), "the budget was not taken back")
