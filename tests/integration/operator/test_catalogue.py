"""The catalogue's ConfigMap is followed live: waiting gangs are looked at anew, running ones are left alone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from drumline.runtime.errors import NotFound
from drumline.runtime.http import MERGE_PATCH
from tests.integration.operator.conftest import CATALOG, Operator
from tests.integration.operator.lab import POOL, SECONDS, Lab, condition, reason

pytestmark = pytest.mark.cluster

MAPS = "/api/v1/namespaces/default/configmaps"


class Chip:
    """The type that a test adds to the catalogue."""

    def __init__(self, lab: Lab, operator: Operator) -> None:
        self.lab = lab
        self.operator = operator
        self.name = f"{lab.prefix}chip"

    async def write(self, chips_per_host: object) -> None:
        """Put it into the ConfigMap."""
        entry = {
            "kind": "gpu",
            "resource": "nvidia.com/gpu",
            "chipsPerHost": chips_per_host,
            "nodeLabels": {POOL: f"{self.lab.prefix}h100"},
        }
        data = {"data": {"catalog.yaml": json.dumps({self.name: entry})}}
        try:
            await self.lab.client.request("PATCH", f"{MAPS}/{CATALOG}", body=data, content_type=MERGE_PATCH)
        except NotFound:
            body = {"metadata": {"name": CATALOG}, **data}
            await self.lab.client.request("POST", MAPS, body=body)

    async def settled(self, chips_per_host: int) -> None:
        """Written, and in force."""
        before = self._changes()
        await self.write(chips_per_host)
        await until(lambda: self._changes() > before, "the operator did not take the catalogue up")

    def _changes(self) -> int:
        return self.operator.log.read_text(errors="replace").count("the catalogue changed")

    def job(self, name: str, workers: int, **spec: Any) -> dict[str, Any]:
        """A job of whole hosts of it, however many chips these have."""
        return self.lab.job(name, accelerator={"type": self.name}, workersPerSlice=workers, **spec)


async def until(holds: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, complaint
        await asyncio.sleep(0.1)


@pytest.fixture
async def chip(lab: Lab, operator: Operator) -> AsyncIterator[Chip]:
    """A type of this test's own; the ConfigMap goes with it."""
    made = Chip(lab, operator)
    yield made
    before = made._changes()
    await lab.client.request("DELETE", f"{MAPS}/{CATALOG}")
    await until(lambda: made._changes() > before, "the catalogue was not taken back")


async def chips(lab: Lab, job: str) -> set[str]:
    """What the pods of a job ask for, each."""
    pods = await lab.pods(f"drumline.dev/job={job}")
    return {p["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] for p in pods}


async def test_a_changed_catalogue_lets_a_waiting_gang_in_and_leaves_a_running_one_alone(
    lab: Lab, chip: Chip
) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    await chip.settled(4)
    await lab.apply(chip.job("runs", 1))
    await lab.phase("runs", "Running")
    await lab.apply(chip.job("waits", 2))
    await lab.until(
        "waits", lambda j: condition(j, "QuotaReserved").get("reason") == "InsufficientAccelerators"
    )
    [pod] = await lab.pods()
    await chip.settled(2)
    await lab.phase("waits", "Running")
    assert await chips(lab, "waits") == {"2"}
    assert [p["metadata"]["uid"] for p in await lab.pods("drumline.dev/job=runs")] == [pod["metadata"]["uid"]]
    await lab.delete("pods", pod["metadata"]["name"], gracePeriodSeconds=0)
    await lab.until("runs", lambda j: (j["status"]["attempt"], j["status"]["phase"]) == (2, "Running"))
    assert await chips(lab, "runs") == {"4"}, "a restart in its place keeps the attempt's catalogue"


async def test_a_catalogue_that_can_not_be_used_leaves_the_old_one_and_is_reported(
    lab: Lab, chip: Chip, operator: Operator
) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    await chip.settled(4)
    await chip.write("many")
    field = f"{chip.name}.chipsPerHost"
    await until(lambda: f"{field}: " in operator.log.read_text(errors="replace"), "no line in the log")
    selector = {"fieldSelector": f"involvedObject.name={CATALOG},reason=InvalidCatalog"}
    said: list[dict[str, Any]] = []
    deadline = time.monotonic() + SECONDS
    while not said:
        assert time.monotonic() < deadline, "no event on the ConfigMap"
        found = await lab.client.request("GET", "/api/v1/namespaces/default/events", params=selector)
        said = [e for e in found["items"] if field in e["message"]]
        await asyncio.sleep(0.1)
    assert (said[0]["type"], said[0]["involvedObject"]["kind"]) == ("Warning", "ConfigMap")
    await lab.apply(chip.job("old", 1))
    await lab.phase("old", "Running")
    assert await chips(lab, "old") == {"4"}


async def test_a_type_that_is_in_no_catalogue_is_an_invalid_spec(lab: Lab, chip: Chip) -> None:
    await chip.settled(4)
    await lab.apply(lab.job("none", accelerator={"type": f"{chip.name}-2"}))
    job = await lab.phase("none", "Failed")
    assert reason(job, "Failed") == ("True", "InvalidSpec")
    assert chip.name in condition(job, "Failed")["message"], "what is allowed is named"
