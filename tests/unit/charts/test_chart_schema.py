"""values.schema.json is what values.yaml says, and the schema speaks up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drumline.core.gang.topology import PRESETS
from e2e import chart_schema
from tests.unit.charts.conftest import ChartRefusedError, Render

CASES: list[tuple[dict[str, Any], str]] = [
    ({"replicas": "many"}, "/replicas"),
    ({"replicas": -1}, "/replicas"),
    ({"replica": 2}, "replica"),
    ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    ({"image": {"repository": ""}}, "/image/repository"),
    ({"image": {"digest": "latest"}}, "/image/digest"),
    ({"settings": {"discovery": "DNS"}}, "/settings/discovery"),
    ({"settings": {"headwait": 1}}, "headwait"),
    ({"settings": {"writesInFlight": 0}}, "/settings/writesInFlight"),
    ({"metrics": {"port": 80}}, "/metrics/port"),
    ({"ingest": {"port": 443}}, "/ingest/port"),
    ({"settings": {"ingestRate": 0}}, "/settings/ingestRate"),
    ({"metrics": {"podMonitor": {"interval": "often"}}}, "/metrics/podMonitor/interval"),
    ({"catalog": {"my-chip": "fast"}}, "/catalog/my-chip"),
    ({"powerBudgets": [{"level": "block", "watts": -4}]}, "/powerBudgets/0/watts"),
    ({"powerBudgets": [{"level": "block", "watts": "4 kW"}]}, "/powerBudgets/0/watts"),
    ({"powerBudgets": [{"levl": "block", "watts": 4}]}, "levl"),
    ({"powerBudgets": [{"level": "block"}]}, "/powerBudgets/0"),
    ({"powerBudgets": [{"level": "Block", "watts": 4}]}, "/powerBudgets/0/level"),
    ({"powerBudgets": [{"level": "block", "watts": 4, "domain": 7}]}, "/powerBudgets/0/domain"),
    ({"settings": {"topology": [{"preset": "nope"}]}}, "/settings/topology/0/preset"),
    ({"settings": {"topology": [{"preset": "flat", "name": "x"}]}}, "/settings/topology/0"),
    ({"settings": {"topology": [{"levels": []}]}}, "/settings/topology/0"),
    (
        {"settings": {"topology": [{"name": "x", "levels": [{"name": "rack"}]}]}},
        "/settings/topology/0/levels/0",
    ),
    ({"settings": {"topology": [{"name": "x", "levels": [{"name": "rack", "labl": "a"}]}]}}, "labl"),
    ({"tolerations": {}}, "/tolerations"),
    ({"nodeSelector": {"a": 1}}, "/nodeSelector/a"),
    ({"extraEnv": [{"value": "x"}]}, "/extraEnv/0"),
]


def test_the_committed_schema_is_up_to_date() -> None:
    assert chart_schema.main(["--check"]) == 0


def test_a_stale_schema_is_noticed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = tmp_path / "values.schema.json"
    stale.write_text("{}")
    monkeypatch.setattr(chart_schema, "SCHEMA", stale)
    assert chart_schema.main(["--check"]) == 1
    assert chart_schema.main(["--write"]) == 0
    assert chart_schema.main(["--check"]) == 0


@pytest.mark.parametrize(("values", "where"), CASES, ids=[json.dumps(v) for v, _ in CASES])
def test_a_wrong_value_is_refused_by_name(render: Render, values: dict[str, Any], where: str) -> None:
    with pytest.raises(ChartRefusedError, match="don't meet the specifications") as refused:
        render(values)
    assert where in str(refused.value)


def test_budgets_and_topology_are_held_to_what_the_operator_reads(render: Render) -> None:
    items = chart_schema.generate(chart_schema.VALUES.read_text())["properties"]["settings"]["properties"]
    assert items["topology"]["items"]["properties"]["preset"]["enum"] == list(PRESETS)
    levels = [{"name": "rack", "label": "example.com/rack", "others": ["example.com/row"], "scaleUp": True}]
    topology = [{"preset": "gke-gpu"}, {"name": "own", "levels": levels}]
    budgets = [{"level": "rack", "watts": 0.5}, {"level": "rack", "domain": "a/b", "watts": 0}]
    render({"settings": {"topology": topology}, "powerBudgets": budgets})


def test_comments_become_descriptions_and_keywords() -> None:
    text = "# How many.\n# @schema {minimum: 1}\ncount: 2\n\n# A group.\ngroup:\n  # Inner.\n  name: x\n"
    properties = chart_schema.generate(text)["properties"]
    assert properties["count"] == {"description": "How many.", "type": "integer", "minimum": 1}
    assert properties["group"]["properties"]["name"] == {"description": "Inner.", "type": "string"}
    assert properties["group"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("count: 2\n", "no comment"),
        ("# A list.\nitems: []\n", "@schema"),
        ("# A map.\nitems: {}\n", "@schema"),
        ("# Nothing.\nitems: null\n", "@schema"),
        ("- 1\n", "mapping"),
    ],
)
def test_what_is_left_unsaid_is_an_error(text: str, complaint: str) -> None:
    with pytest.raises(chart_schema.SchemaError, match=complaint):
        chart_schema.generate(text)
