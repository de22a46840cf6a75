"""Power budgets: a gang that its block has no power for waits, says so, and begins when the budget is raised."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drumline.api.meta import ANNOTATION_WATTS
from drumline.cli.settings import SELECTOR
from drumline.runtime.http import MERGE_PATCH
from tests.integration.dra import devices, driver_of, job_of, serve
from tests.integration.operator.conftest import CATALOG, Operator
from tests.integration.operator.lab import Lab, condition
from tests.integration.operator.test_catalogue import MAPS, until

pytestmark = pytest.mark.cluster

WHOLE = {"type": "nvidia-h100-80gb"}  # hosts
HOST = 8 * 700  # watts


async def budget(lab: Lab, operator: Operator, block: str, watts: float) -> None:
    """The block's budget, in force."""
    entry = {"level": "block", "domain": block, "watts": watts}
    data = {"data": {"catalog.yaml": "{}", "power.yaml": json.dumps([entry])}}
    found = await lab.client.request("GET", MAPS, params={"fieldSelector": f"metadata.name={CATALOG}"})
    if found["items"]:
        await lab.client.request("PATCH", f"{MAPS}/{CATALOG}", body=data, content_type=MERGE_PATCH)
    else:
        await lab.client.request("POST", MAPS, body={"metadata": {"name": CATALOG}, **data})
    line = f'drumline_power_budget_watts{{level="block",domain="{block}"}} {watts:g}\n'
    await until(lambda: line in operator.metrics(), f"no {line}")


async def _capacity(lab: Lab) -> dict[str, Any]:
    """What `kubectl drumline capacity` shows where the operator's ConfigMaps are as the chart makes them."""
    labels = dict(pair.split("=") for pair in SELECTOR.split(","))
    await lab.client.request(
        "PATCH", f"{MAPS}/{CATALOG}", body={"metadata": {"labels": labels}}, content_type=MERGE_PATCH
    )
    name = f"{lab.prefix}op"
    data = {"config.yaml": json.dumps({"aging": 60, "catalogConfigMap": CATALOG})}
    await lab.client.request("POST", MAPS, body={"metadata": {"name": name, "labels": labels}, "data": data})
    try:
        done = await lab.plugin("capacity", "-o", "json")
    finally:
        await lab.client.request("DELETE", f"{MAPS}/{name}")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def drawn(operator: Operator, block: str) -> float:
    """What the operator exports."""
    head = f'drumline_power_drawn_watts{{level="block",domain="{block}"}} '
    return float(next(line for line in operator.metrics().splitlines() if line.startswith(head)).split()[-1])


async def test_a_gang_waits_for_power(lab: Lab, operator: Operator) -> None:
    names = await lab.nodes("4 hosts of h100 in blocks of 4")
    block = f"{lab.prefix}h100-block-0"
    await budget(lab, operator, block, 2 * HOST)
    await lab.apply(lab.job("first", accelerator=WHOLE, workersPerSlice=1))
    await lab.phase("first", "Running")
    assert drawn(operator, block) == HOST
    await lab.apply(lab.job("second", accelerator=WHOLE))

    def told(job: dict[str, Any]) -> bool:
        return bool(condition(job, "QuotaReserved").get("reason") == "PowerBudgetExceeded")

    job = await lab.until("second", told, "it does not wait for power")
    assert (
        f"needs 11200 W; block {block} has 5600 W of 11200 W left"
        in condition(job, "QuotaReserved")["message"]
    )
    assert await lab.pods("drumline.dev/job=second") == []
    await budget(lab, operator, block, 3 * HOST)
    await lab.phase("second", "Running")
    assert drawn(operator, block) == 3 * HOST
    # what a node says of its own accelerators goes before the catalogue
    for name in names:
        body = {"metadata": {"annotations": {ANNOTATION_WATTS: "350"}}}
        await lab.client.request("PATCH", f"/api/v1/nodes/{name}", body=body, content_type=MERGE_PATCH)
    await until(lambda: drawn(operator, block) == 1.5 * HOST, "the annotation is not heeded")
    await lab.client.request("DELETE", f"{MAPS}/{CATALOG}")
    await until(lambda: block not in operator.metrics(), "the budget was not taken back")


async def test_devices_that_claims_bring_draw_power(lab: Lab, operator: Operator) -> None:
    names = await lab.nodes("2 hosts of h100 in blocks of 2")
    block = f"{lab.prefix}h100-block-0"
    await budget(lab, operator, block, 4 * 700)
    async with driver_of(lab) as dra:
        await dra.make_class()
        await dra.template("two", count=2)
        for name in names:
            await dra.slice(name, *devices(8))
        await lab.apply(job_of(lab, "first", workersPerSlice=1))
        await lab.phase("first", "Running")
        assert drawn(operator, block) == 2 * 700
        await lab.apply(job_of(lab, "second", workersPerSlice=2))

        def told(job: dict[str, Any]) -> bool:
            return bool(condition(job, "QuotaReserved").get("reason") == "PowerBudgetExceeded")

        await lab.until("second", told, "it does not wait for power")
        await serve(lab, "chat", replicas=2)  # the first group takes what is left
        await until(lambda: drawn(operator, block) == 4 * 700, "the service draws nothing")
        assert len(await lab.pods("drumline.dev/service")) <= 1
        await budget(lab, operator, block, 10 * 700)
        await lab.phase("second", "Running")
        await until(lambda: drawn(operator, block) == 10 * 700, "not everybody draws")
        assert sum(map(len, (await dra.allocated()).values())) <= 10
        shown = await _capacity(lab)
        assert shown["settings"] == {"agingSeconds": 60.0, "from": f"default/{lab.prefix}op", "doubt": None}
        mine = next(d for d in shown["power"] if d["domain"].endswith(block))
        assert (mine["budgetWatts"], mine["usedWatts"], mine["freeWatts"]) == (7000, 7000, 0)
    await lab.client.request("DELETE", f"{MAPS}/{CATALOG}")
    await until(lambda: block not in operator.metrics(), "the budget was not taken back")
