"""A ConfigMap over the catalogue: what it changes, and what a faulty one does not."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from drumline.api.catalog import Catalog
from drumline.core.gang.power import Budget
from drumline.core.gang.topology_config import topology_of
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.kube import Client
from tests.unit.runtime.conftest import Served

CHIP = "my-chip: {kind: gpu, resource: example.com/npu, chipsPerHost: 4}"
BASE = Catalog.default()


def document(text: str | None, version: str = "1") -> dict[str, Any]:
    metadata = {"namespace": "ops", "name": "catalog", "uid": "u", "resourceVersion": version}
    return {"metadata": metadata, "data": {} if text is None else {"catalog.yaml": text}}


@pytest.fixture
def catalogue(client: Client) -> Catalogue:
    made = Catalogue(BASE)
    made.follow(client, "ops", "catalog", lambda: 1_800_000_000.0)
    return made


def event(catalogue: Catalogue, kind: str, text: str | None, version: str = "1") -> None:
    (reflector,) = catalogue.reflectors
    reflector._event({"type": kind, "object": document(text, version)})


async def test_it_is_merged_over_the_base_each_time_anew(catalogue: Catalogue) -> None:
    told: list[Catalog] = []
    catalogue.changed = told.append
    event(catalogue, "ADDED", CHIP)
    assert catalogue.current["my-chip"].chips_per_host == 4
    assert catalogue.current["nvidia-h100-80gb"] == BASE["nvidia-h100-80gb"]
    event(catalogue, "MODIFIED", "nvidia-h100-80gb: {chipsPerHost: 4}", "2")
    assert "my-chip" not in catalogue.current
    assert catalogue.current["nvidia-h100-80gb"].chips_per_host == 4
    event(catalogue, "DELETED", "", "3")
    assert catalogue.current == BASE
    assert len(told) == 3


@pytest.mark.parametrize("text", ["", "{}"])
async def test_an_empty_one_changes_nothing(catalogue: Catalogue, text: str) -> None:
    catalogue.changed = pytest.fail
    event(catalogue, "ADDED", text)
    assert catalogue.current is BASE


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("my-chip: {kind: gpu, resource: example.com/npu, chipsPerHost: many}", "my-chip.chipsPerHost"),
        ("my-chip: {kind: gpu, chips: 8, chipsPerHost: 8}", "my-chip.chips"),
        ("my-chip: fast", "my-chip"),
        ("- my-chip", "data[catalog.yaml]"),
        ("my-chip: {", "data[catalog.yaml]"),
        (None, "data"),
    ],
)
async def test_a_faulty_one_leaves_the_last_good_one_in_force(
    catalogue: Catalogue, caplog: pytest.LogCaptureFixture, text: str | None, field: str
) -> None:
    event(catalogue, "ADDED", CHIP)
    before = catalogue.current
    catalogue.changed = pytest.fail
    with caplog.at_level(logging.ERROR):
        event(catalogue, "MODIFIED", text, "2")
    assert catalogue.current is before
    assert f"ConfigMap ops/catalog: {field}: " in caplog.text


async def test_the_leader_says_by_an_event_what_is_wrong(
    catalogue: Catalogue, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = asyncio.Event()
    posted: list[Any] = []

    async def request(_client: Client, method: str, path: str, **options: Any) -> None:
        posted.append((method, path, options["body"]))
        sent.set()

    monkeypatch.setattr(Client, "request", request)
    event(catalogue, "ADDED", "my-chip: {kind: gpu, chipsPerHost: many}")
    telling = asyncio.create_task(catalogue.tell())
    await asyncio.wait_for(sent.wait(), 5)
    telling.cancel()
    [(method, path, body)] = posted
    assert (method, path) == ("POST", "/api/v1/namespaces/ops/events")
    assert (body["type"], body["reason"]) == ("Warning", "InvalidCatalog")
    assert body["involvedObject"]["kind"] == "ConfigMap"
    assert body["involvedObject"]["uid"] == "u"
    assert "my-chip.chipsPerHost" in body["message"]


def power(catalogue: Catalogue, text: str, version: str = "1") -> None:
    (reflector,) = catalogue.reflectors
    whole = document("{}", version)
    whole["data"]["power.yaml"] = text
    reflector._event({"type": "MODIFIED" if version > "1" else "ADDED", "object": whole})


async def test_power_budgets_stand_beside_the_types(catalogue: Catalogue) -> None:
    told: list[Catalog] = []
    catalogue.changed = told.append
    power(catalogue, "[{level: block, watts: 120000}, {level: block, domain: b7, watts: 60000}]")
    assert catalogue.power.budgets == (Budget("block", 120000), Budget("block", 60000, "b7"))
    assert any(r.resource == "nvidia.com/gpu" and r.watts > 0 for r in catalogue.power.ratings)
    power(catalogue, "[]", "2")
    assert catalogue.power.budgets == ()
    assert len(told) == 2


async def test_budgets_alone_are_enough(catalogue: Catalogue) -> None:
    (reflector,) = catalogue.reflectors
    alone = document(None) | {"data": {"power.yaml": "[{level: block, watts: 5}]"}}
    reflector._event({"type": "ADDED", "object": alone})
    assert catalogue.power.budgets == (Budget("block", 5),)
    assert catalogue.current == BASE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{level: block}",
            "data[power.yaml]: given dict; allowed: a list of budgets, each with level and watts",
        ),
        ("[{level: block}]", "data[power.yaml][0].watts: required, given nothing; allowed: Watts"),
        ("[{level: row, watts: 5}]", "data[power.yaml][0].level: given 'row'; allowed: block, subblock"),
        ("[{level: block, watts: -1}]", "data[power.yaml][0].watts: given -1; allowed:"),
        (
            "[{level: block, watts: 1}, {level: block, watts: 2}]",
            "data[power.yaml][1]: given block '' again; allowed: one budget each",
        ),
        (
            "[{level: block, domain: b, watts: 1}, {level: block, domain: /b, watts: 2}]",
            "data[power.yaml][1]: given block '/b' again; allowed: one budget each",
        ),
    ],
)
async def test_a_faulty_budget_is_named_and_changes_nothing(
    catalogue: Catalogue, caplog: pytest.LogCaptureFixture, text: str, message: str
) -> None:
    power(catalogue, "[{level: block, watts: 120000}]")
    power(catalogue, text, "2")
    assert catalogue.power.budgets == (Budget("block", 120000),)
    assert message in caplog.text


async def test_budgets_are_of_the_levels_that_the_cluster_has(catalogue: Catalogue) -> None:
    levels = [{"name": "row", "label": "example.com/row"}]
    catalogue.topology, _ = topology_of([{"name": "hall", "levels": levels}], "topology")
    power(catalogue, "[{level: row, watts: 5}]")
    assert catalogue.power.budgets == (Budget("row", 5),)
    power(catalogue, "[{level: block, watts: 5}]", "2")
    assert catalogue.power.budgets == (Budget("row", 5),)
