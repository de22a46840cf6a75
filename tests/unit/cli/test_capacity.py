"""`kubectl drumline capacity`: what is read, and how it is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from drumline.api.catalog import Catalog
from drumline.cli import capacity as command
from drumline.cli.capacity_power import raw as power_data
from drumline.cli.capacity_power import standing_of, supplies_of, told
from drumline.cli.capacity_text import drawn
from drumline.cli.capacity_view import capacity_of, raw
from drumline.cli.main import parser
from drumline.cli.settings import Settings
from drumline.cli.terminal import Terminal
from drumline.core.gang.names import Owner
from drumline.core.gang.power import Budget, Power, ratings_of
from drumline.core.gang.revision import encode, revision_name
from drumline.core.gang.types import Placement
from tests.unit.cli.test_settings import maps

CATALOG = Catalog.default()
H100 = CATALOG["nvidia-h100-80gb"]
BLOCK = "cloud.google.com/gce-topology-block"


def node(name: str, block: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {**H100.node_labels, BLOCK: block}},
        "status": {
            "allocatable": {H100.resource: "8", "cpu": "64"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def job(**status: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "train", "image": "example.org/train:1"}]}}
    accelerator = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
    return {
        "metadata": {"name": "train", "namespace": "team", "uid": "u", "resourceVersion": "1"},
        "spec": {"accelerator": accelerator, "workersPerSlice": 2, "template": template},
        "status": status,
    }


def cluster(*nodes: dict[str, Any], placed: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    owner = Owner("drumline.dev/v1alpha1", "TrainingJob", "team", "train", "u")
    revisions = list(encode(owner, 1, Placement(placed), "hash")) if placed else []
    name = revision_name("train", 1)
    its = {"placement": {"revision": name, "hash": "h", "pods": len(placed)}} if placed else {}
    return {
        "nodes": list(nodes),
        "pods": [],
        "trainingjobs": [job(**its)],
        "controllerrevisions": revisions,
    }


NODES = (node("n-0", "a"), node("n-1", "a"), node("n-2", "b"))


def test_a_placement_without_pods_is_reserved() -> None:
    (tree,) = capacity_of(cluster(*NODES, placed=("n-0", "n-2")), CATALOG)
    assert (tree.chips.reserved, tree.chips.free) == (16, 8)
    (found,) = raw([tree], 1)
    assert found["chips"] == {"total": 24, "used": 0, "reserved": 16, "broken": 0, "free": 8}
    assert [child["name"] for child in found["children"]] == ["a", "b"]
    assert all("children" not in child for child in found["children"])


def test_spare_places_behind_the_workers_are_held_too() -> None:
    (tree,) = capacity_of(cluster(*NODES, placed=("n-0", "n-1", "n-2")), CATALOG)
    assert tree.chips.reserved == 24


def test_a_job_that_cannot_be_read_holds_nothing_that_can_be_told() -> None:
    found = cluster(*NODES, placed=("n-0", "n-1"))
    found["trainingjobs"][0]["spec"]["accelerator"] = {"type": "of-tomorrow"}
    assert capacity_of(found, CATALOG)[0].chips.free == 24
    assert capacity_of({**cluster(*NODES, placed=("n-0",)), "controllerrevisions": []}, CATALOG)


@pytest.mark.parametrize(
    ("depth", "names"),
    [
        (None, ["nvidia-h100-80gb", "|- block a", "`- block b"]),
        (0, ["nvidia-h100-80gb"]),
        (9, ["nvidia-h100-80gb", "|- block a", "|  |- n-0", "|  `- n-1", "`- block b", "   `- n-2"]),
    ],
)
def test_the_tree_is_drawn_to_a_depth(depth: int | None, names: list[str]) -> None:
    text = drawn(capacity_of(cluster(*NODES), CATALOG), Terminal(), depth)
    width = max(map(len, names))
    drawing = text.splitlines()[1 : text.splitlines().index("")]
    assert [line[:width].rstrip() for line in drawing] == names


def test_without_accelerators_it_says_so() -> None:
    assert drawn((), Terminal(), None) == "no node has an accelerator of the catalogue\n"


def test_a_depth_is_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert parser().parse_args(["capacity", "--depth", "2"]).depth == 2
    with pytest.raises(SystemExit):
        parser().parse_args(["capacity", "--depth", "-1"])
    assert "given '-1'; allowed: a number of levels, 0 or more" in capsys.readouterr().err


def test_fragmentation_is_told_by_type_and_level() -> None:
    whole, torn = (
        capacity_of(cluster(*NODES), CATALOG),
        capacity_of(cluster(*NODES, placed=("n-0",)), CATALOG),
    )
    last = drawn(whole, Terminal(), None).splitlines()[-1]
    assert last == "free nvidia-h100-80gb outside domains that are free as a whole: 0% by block, 0% by node"
    (found,) = raw(torn, 0)
    assert found["fragmentation"] == [
        {"level": "block", "freeInWholeDomains": 8, "ratio": 0.5},
        {"level": "node", "freeInWholeDomains": 16, "ratio": 0.0},
    ]
    full = drawn(capacity_of(cluster(NODES[0], placed=("n-0",)), CATALOG), Terminal(), None)
    assert "free as a whole" not in full


POWER = Power((Budget("block", 6000.0),), ratings_of(CATALOG))


def test_the_power_that_is_left_is_told_where_there_are_budgets() -> None:
    pod = {
        "metadata": {"namespace": "team", "name": "p", "uid": "p"},
        "spec": {"nodeName": "n-1", "containers": [{"resources": {"requests": {H100.resource: "2"}}}]},
        "status": {"phase": "Running"},
    }
    found = {**cluster(*NODES, placed=("n-0", "n-2")), "pods": [pod], "inferenceservices": [GROUP]}
    settings = Settings(power=POWER)
    supplies = supplies_of(found, settings)
    assert power_data(supplies) == [
        {"level": "block", "domain": "a", "budgetWatts": 6000, "usedWatts": 7000, "freeWatts": 0},
        {"level": "block", "domain": "b", "budgetWatts": 6000, "usedWatts": 5600 + 1400, "freeWatts": 0},
    ]
    free = supplies_of({**found, "pods": [], "inferenceservices": []}, settings)
    lines = told(free, settings, Terminal()).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "",
        "POWER OF BUDGET USED FREE",
        "block a 6000 W 5600 W 400 W ######################..",
        "block b 6000 W 5600 W 400 W ######################..",
    ]


def test_a_budget_that_limits_nothing_is_told() -> None:
    settings = Settings(power=Power((Budget("block", 6000.0, "z"),), ratings_of(CATALOG)))
    supplies, faults = standing_of({**cluster(*NODES), "inferenceservices": []}, settings)
    assert (supplies, faults) == (
        (),
        ("the power budget of block z limits nothing: no node is in such a domain",),
    )
    assert told(supplies, settings, Terminal(), faults) == f"\n{faults[0]}\n"


GROUP = {
    "metadata": {"name": "chat", "namespace": "team", "uid": "s", "resourceVersion": "1"},
    "spec": {
        "engine": "custom",
        "model": {"name": "m"},
        "roles": [
            {
                "name": "serve",
                "accelerator": {"type": "nvidia-h100-80gb", "chipsPerWorker": 2},
                "port": 8000,
                "template": {"spec": {"containers": [{"name": "engine", "image": "example.org/e:1"}]}},
            }
        ],
    },
    "status": {
        "roles": [
            {
                "name": "serve",
                "groups": [{"id": 0, "revision": "r", "attempt": 1, "phase": "Starting", "nodes": ["n-2"]}],
            }
        ]
    },
}


def test_without_budgets_nothing_is_told_of_power_unless_they_are_not_known() -> None:
    assert told((), Settings(), Terminal()) == ""
    doubt = "the operator's settings can't be read: configmaps is forbidden"
    assert told((), Settings(doubt=doubt), Terminal()) == f"\npower budgets are not known: {doubt}\n"


@pytest.mark.parametrize("budgets", [True, False])
def test_the_command(
    budgets: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    whole = {**cluster(*NODES, placed=("n-0", "n-2")), "inferenceservices": []}
    listed = [{"level": "block", "watts": 6000}] if budgets else []
    whole["configmaps"] = maps(budgets=listed)

    def list_each(_: Any, resources: dict[str, str]) -> dict[str, list[Any]]:
        asked.extend(resources)
        return {resource: whole[resource] for resource in resources}

    monkeypatch.setattr(command.cluster, "list_each", list_each)
    args = parser().parse_args(["capacity", "-o", "json"])
    assert args.action(args) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [d["usedWatts"] for d in shown["power"]] == ([5600, 5600] if budgets else [])
    assert ("inferenceservices" in asked) is budgets
    assert shown["powerFaults"] == []
    assert shown["settings"]["from"] == "system/drumline"


def test_levels_of_ones_own_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text("[{preset: flat}]")
    args = parser().parse_args(["capacity", "--topology", str(file)])
    (tree,) = capacity_of(cluster(*NODES), CATALOG, args.topology)
    assert [child.name for child in tree.children] == ["n-0", "n-1", "n-2"]
    assert parser().parse_args(["capacity"]).topology is None


@pytest.mark.parametrize("text", ["[{preset: galaxy}]", "[", "none"])
def test_a_file_that_cannot_be_used_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text(text)
    with pytest.raises(SystemExit):
        parser().parse_args(["capacity", "--topology", str(file)])
    assert str(file) in capsys.readouterr().err
