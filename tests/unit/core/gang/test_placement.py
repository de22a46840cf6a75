"""Where gangs go, and what is said when they go nowhere."""

from __future__ import annotations

import pytest

from drumline.api.reasons import Reason
from drumline.core.gang.placement import place, place_later
from drumline.core.gang.types import Taint
from tests.builders import GPU, capacity, gang, gpu_block, helper, node, placed, pod, refusal, shape


def blocks_of(nodes: list[str]) -> set[str]:
    return {name.split("-host-")[0] for name in nodes}


def test_required_takes_the_smallest_block_that_suffices() -> None:
    state = capacity(gpu_block("big", 8), gpu_block("small", 4), gpu_block("tiny", 2))
    nodes = placed(place(gang(workers=3, required="block"), state))
    assert nodes == ["small-host-0", "small-host-1", "small-host-2"]


def test_required_counts_what_is_free_not_what_there_is() -> None:
    busy = [pod(f"p{i}", on=f"small-host-{i}", gpus=8) for i in range(2)]
    state = capacity(gpu_block("big", 8), gpu_block("small", 4), pods=busy)
    assert blocks_of(placed(place(gang(workers=3, required="block"), state))) == {"big"}


def test_required_refuses_a_gang_that_is_larger_than_every_block() -> None:
    state = capacity(gpu_block("a", 12), gpu_block("b", 9))
    answer = refusal(place(gang(workers=16, required="subblock"), state))
    assert answer.reason == Reason.TOPOLOGY_UNSATISFIABLE
    answer = refusal(place(gang(workers=16, gpus=8, required="block"), state))
    assert answer.message == "needs 128 × nvidia-h100-80gb in one block; the largest free block has 96"


def test_nodes_without_the_label_are_in_no_block() -> None:
    state = capacity([node(f"n{i}", gpus=8) for i in range(4)], gpu_block("a", 1))
    answer = refusal(place(gang(workers=2, required="block"), state))
    assert answer.message == "needs 16 × nvidia-h100-80gb in one block; the largest free block has 8"
    assert len(placed(place(gang(workers=5), state))) == 5


def test_preferred_climbs_level_by_level() -> None:
    state = capacity(gpu_block("a", 8, per_subblock=2), gpu_block("b", 6, per_subblock=2))
    two = placed(place(gang(workers=2, preferred="subblock"), state))
    assert two == ["b-host-0", "b-host-1"]  # the smaller block: the larger one stays whole
    assert blocks_of(placed(place(gang(workers=5, preferred="subblock"), state))) == {"b"}
    assert blocks_of(placed(place(gang(workers=9, preferred="subblock"), state))) == {"a", "b"}


def test_unconstrained_is_packed_too() -> None:
    busy = [pod("p", on="a-host-3", gpus=6)]
    state = capacity(gpu_block("a", 4), gpu_block("b", 4), pods=busy)
    assert placed(place(gang(workers=2, gpus=1), state)) == ["a-host-3", "a-host-3"]
    assert len(blocks_of(placed(place(gang(workers=4), state)))) == 1


def test_each_slice_goes_into_the_smallest_domain_that_holds_it() -> None:
    state = capacity(gpu_block("a", 8, per_subblock=2))
    nodes = placed(place(gang(workers=2, slices=4, required="block"), state))
    assert [int(n.rpartition("-")[2]) // 2 for n in nodes] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_ranks_follow_the_topology_in_natural_order() -> None:
    state = capacity(gpu_block("a", 12))
    nodes = placed(place(gang(workers=24, gpus=4), state))
    assert nodes == [f"a-host-{i // 2}" for i in range(24)]


def test_all_or_nothing_says_what_is_free_and_what_is_in_the_way() -> None:
    nodes = [
        *gpu_block("a", 2),
        node("c1", gpus=8, unschedulable=True),
        node("c2", gpus=8, ready=False),
        node("t", gpus=8, taints=(Taint("k", "v", "NoSchedule"),)),
        *(node(f"cpu{i}") for i in range(3)),
    ]
    answer = refusal(place(gang(workers=3), capacity(nodes)))
    assert answer.reason == Reason.INSUFFICIENT_ACCELERATORS
    assert answer.message == (
        "needs 24 × nvidia-h100-80gb; 16 free (2/8 nodes usable: 3 insufficient nvidia.com/gpu, 1 cordoned, "
        "1 not ready, 1 with untolerated taint k=v:NoSchedule)"
    )


def test_no_node_could_take_it_whatever_leaves() -> None:
    state = capacity(gpu_block("a", 2, unschedulable=True))
    answer = refusal(place(gang(workers=1), state))
    assert answer.reason == Reason.NO_FEASIBLE_NODE
    assert answer.message == "needs 8 × nvidia-h100-80gb; 0 free (0/2 nodes usable: 2 cordoned)"


def test_an_empty_cluster_refuses() -> None:
    assert refusal(place(gang(), capacity())).reason == Reason.NO_FEASIBLE_NODE


def test_an_unknown_level_is_named() -> None:
    answer = refusal(place(gang(required="galaxy"), capacity(gpu_block("a", 1))))
    assert answer.reason == Reason.TOPOLOGY_UNSATISFIABLE
    assert "'galaxy'" in answer.message
    assert "block" in answer.message


def test_excluded_nodes_are_not_used_and_are_mentioned() -> None:
    state = capacity(gpu_block("a", 3))
    request = gang(workers=2, excluded=frozenset({"a-host-0", "long-gone"}))
    assert placed(place(request, state)) == ["a-host-1", "a-host-2"]
    request = gang(workers=3, excluded=frozenset({"a-host-0", "long-gone"}))
    assert "1 excluded after failures" in refusal(place(request, state)).message
    assert placed(place(gang(workers=3), state)) == [f"a-host-{i}" for i in range(3)]


def test_host_level_means_one_node() -> None:
    state = capacity(gpu_block("a", 3), pods=[pod("p", on="a-host-0", gpus=5)])
    assert set(placed(place(gang(workers=4, gpus=1, required="host"), state))) == {"a-host-1"}
    assert (
        refusal(place(gang(workers=9, gpus=1, required="host"), state)).reason
        == Reason.TOPOLOGY_UNSATISFIABLE
    )


def test_two_pods_with_one_host_port_go_to_two_nodes() -> None:
    worker = shape(gpus=1, host_ports=(("0.0.0.0", "TCP", 8471),))
    state = capacity(gpu_block("a", 2))
    assert sorted(placed(place(gang(workers=2, worker=worker), state))) == ["a-host-0", "a-host-1"]
    assert refusal(place(gang(workers=3, worker=worker), state)).reason == Reason.INSUFFICIENT_ACCELERATORS


def test_helpers_are_placed_near_the_gang_or_anywhere() -> None:
    state = capacity(gpu_block("a", 2), gpu_block("b", 4), node("cpu"))
    request = gang(workers=2, worker=shape(gpus=8, cpu=60), helpers=(helper("loader", 2, cpu=4),))
    nodes = placed(place(request, state))
    assert nodes[:2] == ["a-host-0", "a-host-1"]
    assert blocks_of(nodes[2:]) == {"a"}
    request = gang(workers=2, worker=shape(gpus=8, cpu=60), helpers=(helper("loader", 2, cpu=50),))
    assert set(placed(place(request, state))[2:]).isdisjoint({"a-host-0", "a-host-1"})


def test_helpers_see_what_workers_and_other_helpers_take() -> None:
    state = capacity(node("n", gpus=8, cpu=10))
    worker = shape(gpus=8, cpu=6)
    fits = gang(worker=worker, helpers=(helper("x", 1, cpu=2), helper("y", 2, cpu=1)))
    assert placed(place(fits, state)) == ["n"] * 4
    answer = refusal(
        place(gang(worker=worker, helpers=(helper("x", 1, cpu=2), helper("y", 3, cpu=1))), state)
    )
    assert answer.message.startswith(
        "helper y needs room for 3 × pod beside the workers; there is room for 2"
    )
    assert dict(state.now.used("n")) == {}


def test_a_search_leaves_no_trace() -> None:
    state = capacity(gpu_block("a", 4))
    first = place(gang(workers=3), state)
    assert place(gang(workers=3), state) == first
    assert len(placed(place(gang(workers=4), state))) == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_place_later_ignores_gangs_but_not_other_pods(workers: int) -> None:
    pods = [pod("theirs", on="a-host-0", gpus=8, gang="other"), pod("alien", on="a-host-1", gpus=8)]
    state = capacity(gpu_block("a", 2), pods=pods)
    assert refusal(place(gang(workers=workers), state))
    if workers == 1:
        assert placed(place_later(gang(workers=workers), state)) == ["a-host-0"]
    else:
        assert refusal(place_later(gang(workers=workers), state))


def test_requests_without_accelerators_speak_of_workers() -> None:
    answer = refusal(place(gang(workers=3, gpus=0, worker=shape(cpu=40)), capacity(node("n"))))
    assert answer.message.startswith("needs 3 × worker; 1 free")
    assert GPU not in answer.message
