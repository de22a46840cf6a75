"""The topology that a platform team describes."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.core.gang.topology import PRESETS, Hierarchy, Level, Topology
from drumline.core.gang.topology_config import topology_of

ROW = {"name": "row", "label": "example.com/row"}
RACK = {"name": "rack", "label": "example.com/rack", "others": ["example.com/cage"], "scaleUp": True}


@pytest.mark.parametrize("nothing", [None, []])
def test_without_a_list_every_preset_is_known(nothing: Any) -> None:
    assert topology_of(nothing, "topology") == (Topology(), ())


def test_presets_and_own_hierarchies_in_their_order() -> None:
    document = [{"name": "ours", "levels": [ROW, RACK]}, {"preset": "gke-tpu"}, {"preset": "flat"}]
    topology, errors = topology_of(document, "topology")
    assert errors == ()
    levels = (Level("row", "example.com/row"), Level("rack", "example.com/rack", ("example.com/cage",), True))
    assert topology.hierarchies == (Hierarchy("ours", levels), PRESETS["gke-tpu"], PRESETS["flat"])
    assert "block" not in topology.level_names()


def test_a_flat_fabric_has_no_levels_whatever_labels_nodes_carry() -> None:
    topology, _ = topology_of([{"preset": "flat"}], "topology")
    found = topology.hierarchy("", PRESETS["gke-gpu"].levels[0].labels)
    assert found == PRESETS["flat"]
    assert topology.scaling_up({"nvidia.com/gpu.clique"}) is None


@pytest.mark.parametrize(
    ("document", "path", "words"),
    [
        ("flat", "topology", "given str; allowed: a list"),
        ([{"preset": "flat"}] * 17, "topology", "given 17 entries; allowed: a list of at most 16"),
        (
            [{"preset": "galaxy"}],
            "topology[0]",
            "'galaxy'}; allowed presets: gke-gpu, nvidia, gke-tpu, flat",
        ),
        ([{"preset": "flat", "levels": [ROW]}], "topology[0]", "allowed: preset alone, or name with levels"),
        ([{"levels": [ROW]}], "topology[0]", "allowed: preset alone, or name with levels"),
        (
            [{"name": "ours", "levels": [ROW, ROW]}],
            "topology[0]",
            "allowed: levels with a name each",
        ),
        (
            [{"preset": "flat"}, {"name": "ours", "levels": [{"name": "node", "label": "x"}]}],
            "topology[1]",
            "none that is called node",
        ),
        ([{"name": "ours", "levels": [{"name": "row"}]}], "topology[0].levels[0].label", "required"),
        (
            [{"name": "ours", "levels": [{**ROW, "scaleup": True}]}],
            "topology[0].levels[0].scaleup",
            "unknown",
        ),
        ([{"name": "Ours"}], "topology[0].name", "'Ours'"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named(document: Any, path: str, words: str) -> None:
    (error,) = topology_of(document, "topology")[1]
    assert error.path == path
    assert words in error.message
