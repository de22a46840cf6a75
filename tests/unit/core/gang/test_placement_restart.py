"""A gang that ran before goes back to its nodes; a TPU slice takes a whole pool."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.reasons import Reason
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.placement import place
from drumline.core.gang.topology import Hierarchy, Level, Topology
from drumline.core.gang.types import GangRequest, Placement
from tests.builders import (
    NODEPOOL,
    V5P,
    capacity,
    gang,
    gpu_block,
    helper,
    node,
    placed,
    pod,
    refusal,
    tpu_gang,
    tpu_pool,
)


def again(request: GangRequest, nodes: list[str]) -> GangRequest:
    return replace(request, preferred_nodes=dict(enumerate(nodes)))


def test_a_restart_keeps_its_nodes_where_packing_would_not() -> None:
    state = capacity(gpu_block("a", 4), gpu_block("b", 8))
    before = ["b-host-5", "b-host-2", "a-host-3"]
    assert placed(place(again(gang(workers=3), before), state)) == before


def test_a_restart_may_take_what_it_holds_itself() -> None:
    state = capacity(gpu_block("a", 2))
    request = gang(workers=2)
    state.reserve(request, Placement(("a-host-0", "a-host-1")))
    state.set_pod(pod("p", on="a-host-0", gpus=8, gang="g", deleting=True))
    assert placed(place(again(request, ["a-host-1", "a-host-0"]), state)) == ["a-host-1", "a-host-0"]
    assert refusal(place(gang("other"), state)).reason == Reason.INSUFFICIENT_ACCELERATORS


def test_a_lost_node_is_replaced_near_its_slice() -> None:
    state = capacity(gpu_block("a", 8, per_subblock=4), gpu_block("b", 4, per_subblock=4))
    before = ["a-host-4", "a-host-5", "a-host-6", "gone"]
    assert placed(place(again(gang(workers=4), before), state)) == [*before[:3], "a-host-7"]


def test_an_excluded_node_is_replaced() -> None:
    state = capacity(gpu_block("a", 4))
    request = gang(workers=2, excluded=frozenset({"a-host-2"}))
    assert placed(place(again(request, ["a-host-2", "a-host-3"]), state)) == ["a-host-0", "a-host-3"]


def test_required_never_leaves_the_block_to_replace_a_node() -> None:
    state = capacity(gpu_block("a", 3), gpu_block("b", 4), pods=[pod("p", on="a-host-2", gpus=8)])
    before = ["a-host-0", "a-host-1", "gone"]
    assert placed(place(again(gang(workers=3, required="block"), before), state)) == [
        f"b-host-{i}" for i in range(3)
    ]
    assert placed(place(again(gang(workers=3), before), state))[:2] == before[:2]


def test_a_placement_that_breaks_the_policy_now_is_not_kept() -> None:
    state = capacity(gpu_block("a", 2), gpu_block("b", 2))
    before = ["a-host-0", "b-host-0"]
    assert placed(place(again(gang(workers=2, required="block"), before), state)) == ["a-host-0", "a-host-1"]


def test_helpers_go_back_too() -> None:
    state = capacity(gpu_block("a", 2), gpu_block("b", 2))
    request = again(gang(helpers=(helper("loader", 2),)), ["a-host-0", "b-host-1", "gone"])
    assert placed(place(request, state)) == ["a-host-0", "b-host-1", "a-host-0"]


def test_a_slice_takes_a_whole_pool() -> None:
    state = capacity(tpu_pool("p1", 4), tpu_pool("p2", 4), tpu_pool("p3", 8))
    assert placed(place(tpu_gang(hosts=4), state)) == [f"p1-w{i}" for i in range(4)]
    nodes = placed(place(tpu_gang(hosts=4, slices=2), state))
    assert nodes == [f"p{p}-w{i}" for p in (1, 2) for i in range(4)]


@pytest.mark.parametrize("trouble", ["busy", "cordoned", "not ready", "smaller"])
def test_a_pool_that_is_not_whole_is_left_alone(trouble: str) -> None:
    hosts = tpu_pool("p1", 4)
    state = capacity(hosts, tpu_pool("p2", 4))
    if trouble == "busy":
        state.set_pod(pod("p", on="p1-w3", requests=(("google.com/tpu", 1), ("pods", 1))))
    elif trouble == "smaller":
        state.remove_node("p1-w3")
    else:
        state.set_node(replace(hosts[3], unschedulable=trouble == "cordoned", ready=trouble != "not ready"))
    assert placed(place(tpu_gang(hosts=4), state)) == [f"p2-w{i}" for i in range(4)]
    answer = refusal(place(tpu_gang(hosts=4, slices=2), state))
    assert answer.reason == Reason.INSUFFICIENT_ACCELERATORS
    assert answer.message.startswith(f"needs 2 × {V5P} node pool of 4 nodes, each whole and free; 1 is (")


def test_slices_go_back_to_their_pools() -> None:
    state = capacity(*(tpu_pool(f"p{i}", 2) for i in range(4)))
    before = ["p3-w1", "p3-w0", "p1-w0", "p1-w1"]
    assert placed(place(again(tpu_gang(hosts=2, slices=2), before), state)) == before
    state.remove_node("p1-w0")
    assert placed(place(again(tpu_gang(hosts=2, slices=2), before), state)) == [
        "p3-w1",
        "p3-w0",
        "p0-w0",
        "p0-w1",
    ]


def test_pools_of_one_gang_may_have_to_share_a_level() -> None:
    own = Topology((Hierarchy("cubes", (Level("row", "row"), Level("nodepool", NODEPOOL))),))
    state = Capacity(own)
    for row, pools in {"r1": 1, "r2": 3, "r3": 2}.items():
        for p in range(pools):
            for n in (
                node(f"{row}-{p}-{i}", tpus=4, pool=f"{row}-{p}", labels={"row": row}) for i in range(2)
            ):
                state.set_node(n)
    request = tpu_gang(hosts=2, slices=2)
    nodes = placed(place(tpu_gang(hosts=2, slices=2, level="row", policy=gang(required="x").policy), state))
    assert {n[:2] for n in nodes} == {"r3"}
    answer = refusal(place(tpu_gang(hosts=2, slices=4, level="row", policy=gang(required="x").policy), state))
    assert answer.reason == Reason.TOPOLOGY_UNSATISFIABLE
    assert len(placed(place(replace(request, slices=6), state))) == 12


def test_a_level_above_pools_that_does_not_exist_is_refused() -> None:
    state = capacity(tpu_pool("p1", 2), gpu_block("a", 1))
    request = tpu_gang(hosts=2, level="block", policy=gang(required="x").policy)
    assert refusal(place(request, state)).reason == Reason.TOPOLOGY_UNSATISFIABLE


def test_a_lost_node_is_replaced_in_its_domain_whatever_coarser_levels_are_called() -> None:
    cliques = [node(f"n{i}", gpus=8, labels={"nvidia.com/gpu.clique": "ab"[i % 2]}) for i in range(8)]
    state = capacity(cliques, pods=[pod("p", on="n1", gpus=4)])
    before = ["n2", "n6", "gone"]
    assert placed(place(again(gang(workers=3), before), state)) == ["n2", "n6", "n0"]
    answer = placed(place(again(gang(workers=3, required="accelerator"), before), state))
    assert answer == ["n2", "n6", "n0"]


def test_nodes_in_no_domain_are_no_domain_of_a_level() -> None:
    state = capacity([node(f"n{i}", gpus=8) for i in range(3)], gpu_block("a", 3))
    request = again(gang(workers=3, required="block"), ["n0", "n1", "gone"])
    assert placed(place(request, state)) == [f"a-host-{i}" for i in range(3)]
    subs = [node(f"s{i}", gpus=8, subblock="s") for i in range(3)]
    request = again(gang(workers=2, required="block"), ["s0", "gone"])
    assert placed(place(request, capacity(subs, gpu_block("a", 2)))) == ["a-host-0", "a-host-1"]
    near = again(gang(workers=2), ["s0", "gone"])
    assert placed(place(near, capacity(subs, [node("lone", gpus=8)]))) == ["s0", "s1"]


def test_ranks_that_lost_nothing_stay_when_a_gang_of_slices_loses_a_node() -> None:
    state = capacity(gpu_block("a", 8, per_subblock=4))
    before = [f"a-host-{i}" for i in (0, 1, 4, 5)]
    request = again(gang(workers=2, slices=2, required="block"), [*before[:3], "gone"])
    assert placed(place(request, state)) == [*before[:3], "a-host-5"]
