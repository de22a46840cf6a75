"""The metric of fragmentation follows the capacity."""

from __future__ import annotations

from dataclasses import replace

from drumline.api.catalog import Catalog
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.types import Placement
from drumline.runtime.metrics_fragmentation import FragmentationMetrics
from tests.builders import H100, capacity, gang, gpu_block, node, pod

LABELS = Catalog.default()[H100].node_labels


def figures(metrics: FragmentationMetrics) -> dict[str, str]:
    head, *lines = "".join(metrics.lines()).splitlines()
    assert head.startswith("# HELP drumline_accelerator_fragmentation_ratio ")
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    prefix = f'drumline_accelerator_fragmentation_ratio{{accelerator="{H100}",level="'
    return {name.removeprefix(prefix).removesuffix('"}'): value for name, _, value in samples}


def followed(state: Capacity) -> FragmentationMetrics:
    return FragmentationMetrics(state, Catalog.default)


def test_it_follows_pods_reservations_and_nodes() -> None:
    state = capacity(gpu_block("a", 4, per_subblock=2, labels=LABELS))
    metrics = followed(state)
    assert figures(metrics) == {"block": "0", "subblock": "0", "node": "0"}
    state.set_pod(pod("p", on="a-host-0", gpus=4))
    assert figures(metrics) == {"block": "1", "subblock": f"{1 - 16 / 28:g}", "node": f"{1 - 24 / 28:g}"}
    request = gang(workers=2)
    state.reserve(request, Placement(("a-host-2", "a-host-3")))
    assert figures(metrics) == {"block": "1", "subblock": "1", "node": f"{1 - 8 / 12:g}"}
    state.release(request.uid)
    state.remove_pod("team", "p")
    state.set_node(replace(state.nodes["a-host-0"], ready=False))
    assert figures(metrics) == {"block": "1", "subblock": f"{1 - 16 / 24:g}", "node": "0"}
    state.remove_node("a-host-0")
    assert figures(metrics) == {"block": "0", "subblock": "0", "node": "0"}


def test_nodes_that_no_label_tells_apart_are_a_level_of_their_own() -> None:
    state = capacity([node(f"n{i}", gpus=8, labels=LABELS) for i in range(2)])
    assert figures(followed(state)) == {"node": "0"}


def test_nothing_is_said_of_a_type_of_which_nothing_is_free() -> None:
    assert figures(followed(capacity())) == {}
    full = capacity([node("n", gpus=8, labels=LABELS)], pods=[pod("p", on="n", gpus=8)])
    assert figures(followed(full)) == {}


def test_another_catalogue_gives_types_other_names() -> None:
    state, catalogs = capacity([node("n", gpus=8, labels=LABELS)]), [Catalog.default()]
    metrics = FragmentationMetrics(state, lambda: catalogs[-1])
    assert figures(metrics) == {"node": "0"}
    catalogs.append(Catalog.default().merged({H100: None}))
    assert 'accelerator="nvidia.com/gpu"' in "".join(metrics.lines())
