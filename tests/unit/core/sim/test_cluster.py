from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from drumline.core.sim.cluster import chips_of, described
from tests.builders import BLOCK, NODEPOOL, SUBBLOCK
from tests.unit.core.sim.scenes import CATALOG, H100, V5P, cluster, hosts


def test_hosts_stand_in_blocks_and_subblocks() -> None:
    nodes = hosts(8, block=4, subblock=2)
    places = Counter((n.labels[BLOCK], n.labels[SUBBLOCK]) for n in nodes)
    assert set(places.values()) == {2}
    assert len(places) == 4
    assert chips_of(nodes, CATALOG) == {n.name: (H100, 8) for n in nodes}


def test_a_slice_is_a_node_pool() -> None:
    nodes = cluster({"pools": 3, "accelerator": V5P, "topology": "4x4x4"})
    assert Counter(n.labels[NODEPOOL] for n in nodes) == {"g0-p0": 16, "g0-p1": 16, "g0-p2": 16}
    assert set(chips_of(nodes, CATALOG).values()) == {(V5P, 4)}


def test_groups_have_names_of_their_own() -> None:
    nodes = cluster({"count": 2, "accelerator": H100}, {"count": 2, "accelerator": H100, "chips": 4})
    assert len({n.name for n in nodes}) == 4
    assert sum(chips for _, chips in chips_of(nodes, CATALOG).values()) == 24


def test_nodes_that_are_not_well_count_too() -> None:
    nodes = [replace(node, ready=False) for node in hosts(2)]
    assert set(chips_of(nodes, CATALOG).values()) == {(H100, 8)}


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({}, "nodes"),
        ({"nodes": [{"accelerator": H100}]}, "nodes[0]"),
        ({"nodes": [{"accelerator": "h100", "count": 1}]}, "nodes[0].accelerator"),
        ({"nodes": [{"accelerator": "cpu", "count": 1}]}, "nodes[0].accelerator"),
        ({"nodes": [{"accelerator": H100, "count": 0}]}, "nodes[0].count"),
        ({"nodes": [{"accelerator": H100, "count": 2, "subblock": 1}]}, "nodes[0]"),
        ({"nodes": [{"accelerator": V5P, "count": 2}]}, "nodes[0]"),
        ({"nodes": [{"accelerator": V5P, "pools": 2, "topology": "3x3x3"}]}, "nodes[0].topology"),
        ({"nodes": [{"accelerator": H100, "pools": 2, "topology": "2x2x2"}]}, "nodes[0]"),
        ({"nodes": [{"accelerator": H100, "count": 2, "colour": "red"}]}, "nodes[0].colour"),
        ([1], ""),
    ],
)
def test_a_bad_description_is_refused(raw: Any, path: str) -> None:
    nodes, errors = described(raw, CATALOG)
    assert not nodes
    assert [error.path for error in errors] == [path]
