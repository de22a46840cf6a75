"""Levels, domains and their order."""

from __future__ import annotations

import pytest

from drumline.core.gang.topology import PRESETS, Hierarchy, Level, Topology, order_of
from tests.builders import BLOCK, NODEPOOL, SUBBLOCK, node


def test_path_goes_from_the_block_to_the_node() -> None:
    host = node("n1", block="b", subblock="s", labels={"cloud.google.com/gce-topology-host": "h"})
    assert PRESETS["gke-gpu"].path(host) == ("b", "s", "h", "n1")
    assert PRESETS["gke-gpu"].path(node("n2", block="b")) == ("b", "", "n2", "n2")
    assert PRESETS["flat"].path(host) == ("n1",)


def test_topograph_labels() -> None:
    labels = {
        f"network.topology.nvidia.com/{k}": v for k, v in {"leaf": "s1", "spine": "s2", "core": "s3"}.items()
    }
    path = PRESETS["nvidia"].path(
        node("n1", labels={**labels, "network.topology.nvidia.com/accelerator": "nvl1"})
    )
    assert path == ("s3", "s2", "s1", "nvl1", "n1")


@pytest.mark.parametrize(
    "labels",
    [
        {
            "network.topology.nvidia.com/accelerator": "a",
            "network.topology.nvidia.com/block": "b",
            "network.topology.nvidia.com/spine": "c",
            "network.topology.nvidia.com/datacenter": "d",
        },
        {
            "accelerator.topograph.run/domain": "a",
            "fabric.topograph.run/tier-0": "b",
            "fabric.topograph.run/tier-1": "c",
            "fabric.topograph.run/tier-2": "d",
        },
        {
            "nvidia.com/gpu.clique": "a",
            "network.topology.nvidia.com/leaf": "b",
            "network.topology.nvidia.com/spine": "c",
            "network.topology.nvidia.com/core": "d",
        },
    ],
    ids=["first", "third", "clique"],
)
def test_every_generation_of_topographs_labels_tells_the_same(labels: dict[str, str]) -> None:
    assert PRESETS["nvidia"].path(node("n1", labels=labels)) == ("d", "c", "b", "a", "n1")
    for label in labels:
        found = Topology().hierarchy("", {label})
        assert found is not None
        assert found.name == "nvidia"
    assert labels.keys() <= Topology().labels()


@pytest.mark.parametrize(
    ("name", "level", "depth"),
    [("gke-gpu", "subblock", 2), ("nvidia", "accelerator", 4), ("gke-tpu", None, 2), ("flat", None, 1)],
)
def test_scale_up_domains_of_the_presets(name: str, level: str | None, depth: int) -> None:
    hierarchy = PRESETS[name]
    assert (hierarchy.scale_up.name if hierarchy.scale_up is not None else None) == level
    assert hierarchy.group_depth("") == depth
    assert hierarchy.level_name(hierarchy.group_depth("host")) in ("host", "node")


def test_scale_up_domains_are_looked_for_where_nodes_have_their_labels() -> None:
    for labels, name in (
        ({BLOCK}, None),
        ({BLOCK, "nvidia.com/gpu.clique"}, "nvidia"),
        ({SUBBLOCK}, "gke-gpu"),
    ):
        found = Topology().scaling_up(labels)
        assert (found.name if found is not None else None) == name


@pytest.mark.parametrize(
    ("level", "labels", "name"),
    [
        ("", {BLOCK}, "gke-gpu"),
        ("", {NODEPOOL}, "gke-tpu"),
        ("", {BLOCK, NODEPOOL}, "gke-gpu"),
        ("", set(), "flat"),
        ("block", {BLOCK}, "gke-gpu"),
        ("block", set(), "gke-gpu"),
        ("subblock", {SUBBLOCK}, "gke-gpu"),
        ("nodepool", {BLOCK, NODEPOOL}, "gke-tpu"),
        ("leaf", {"network.topology.nvidia.com/leaf"}, "nvidia"),
        ("host", set(), "flat"),
        ("node", {BLOCK}, "gke-gpu"),
    ],
)
def test_a_level_finds_its_hierarchy(level: str, labels: set[str], name: str) -> None:
    found = Topology().hierarchy(level, labels)
    assert found is not None
    assert found.name == name


def test_an_unknown_level_has_no_hierarchy() -> None:
    assert Topology().hierarchy("galaxy", {BLOCK}) is None
    assert {"block", "subblock", "host", "nodepool", "node"} <= set(Topology().level_names())


def test_depths_and_names() -> None:
    hierarchy = Hierarchy("own", (Level("row", "r"), Level("rack", "k")))
    assert [hierarchy.depth_of(x) for x in ("row", "rack", "host", "node", "block")] == [1, 2, 3, 3, None]
    assert [hierarchy.level_name(d) for d in range(4)] == ["cluster", "row", "rack", "node"]


def test_numbers_sort_as_numbers() -> None:
    names = ["n-10", "n-9", "n-1", "m-11", "n", "9", "n-1a"]
    assert sorted(names, key=lambda n: order_of((n,))) == ["9", "m-11", "n", "n-1", "n-1a", "n-9", "n-10"]
