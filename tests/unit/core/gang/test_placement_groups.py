"""Groups of consecutive workers stay inside one scale-up domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from drumline.api.reasons import Reason
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.placement import place, place_later
from drumline.core.gang.placement_elastic import place_most
from drumline.core.gang.targets import target_of
from drumline.core.gang.topology import HOST_LEVEL
from drumline.core.gang.types import GangRequest, Placement, PlacementPolicy
from tests.builders import capacity, gang, gpu_block, node, placed, pod, refusal, tpu_gang, tpu_pool

CLIQUE = "nvidia.com/gpu.clique"


def racks(*sizes: int) -> Capacity:
    """One block; each subblock, which is a scale-up domain, has so many hosts of 4."""
    hosts = [
        node(f"r{rack}-{host}", block="b", subblock=f"r{rack}", gpus=4)
        for rack, size in enumerate(sizes)
        for host in range(size)
    ]
    return capacity(hosts)


def grouped(workers: int, group: int, **more: object) -> GangRequest:
    return gang(workers=workers, gpus=4, group_workers=group, **more)


def batched(nodes: Sequence[str], size: int) -> list[Sequence[str]]:
    return [nodes[i : i + size] for i in range(0, len(nodes), size)]


def units(nodes: list[str], state: Capacity) -> list[str]:
    """The scale-up domain of each worker: its subblock, or its node where that has none."""
    labels = (state.nodes[name].labels for name in nodes)
    return [
        found.get("cloud.google.com/gce-topology-subblock") or name
        for name, found in zip(nodes, labels, strict=True)
    ]


def assert_whole(nodes: list[str], group: int, state: Capacity) -> None:
    for mates in batched(units(nodes, state), group):
        assert len(set(mates)) == 1, nodes


def test_a_group_takes_no_rest_of_a_domain_that_is_too_small_for_it() -> None:
    state = racks(3, 3, 3)
    nodes = placed(place(grouped(6, 2), state))
    assert Counter(units(nodes, state)) == {"r0": 2, "r1": 2, "r2": 2}
    assert_whole(nodes, 2, state)
    plain = placed(place(gang(workers=6, gpus=4), state))
    assert Counter(units(plain, state)) == {"r0": 3, "r1": 3}


def test_there_is_enough_but_not_in_whole_groups() -> None:
    answer = refusal(place(grouped(8, 4), racks(5, 3, 3)))
    assert answer.reason == Reason.TOPOLOGY_UNSATISFIABLE
    assert answer.message == (
        "needs 2 groups of 16 × nvidia-h100-80gb, each in one subblock; of the 44 free there is 1"
    )
    assert refusal(place(grouped(12, 4), racks(5, 3, 3))).message.startswith(
        "needs 48 × nvidia-h100-80gb; 44 free"
    )


def test_a_wish_for_groups_is_given_up_where_they_do_not_fit() -> None:
    state = racks(3, 3)
    wish = grouped(6, 2, group_required=False)
    assert len(placed(place(wish, state))) == 6
    assert_whole(placed(place(replace(wish, workers_per_slice=4), state)), 2, state)


def test_groups_stay_inside_slices_and_slices_inside_the_gangs_domain() -> None:
    hosts = [*gpu_block("a", 8, gpus=4, per_subblock=3), *gpu_block("b", 8, gpus=4, per_subblock=4)]
    state = capacity(hosts)
    nodes = placed(place(grouped(4, 2, slices=2, required="block"), state))
    assert {state.nodes[n].labels["cloud.google.com/gce-topology-block"] for n in nodes} == {"b"}
    assert_whole(nodes, 4, state)


def test_a_host_is_a_scale_up_domain_of_its_own_where_no_label_says_more() -> None:
    state = capacity([node(f"n{i}", gpus=8) for i in range(3)], pods=[pod("p", on="n0", gpus=2)])
    nodes = placed(place(grouped(4, 2), state))
    assert_whole(nodes, 2, state)
    assert refusal(place(grouped(4, 4), state)).message.endswith(
        "each in one node; of the 20 free there are 0"
    )


def test_the_host_is_the_scale_up_domain_of_types_that_have_none_beyond() -> None:
    state = racks(4, 4)
    assert_whole(placed(place(grouped(4, 2), state)), 2, state)
    answer = refusal(place(grouped(4, 2, group_level=HOST_LEVEL), state))
    assert "each in one host" in answer.message


def test_the_gpu_operators_label_tells_scale_up_domains_beside_others() -> None:
    hosts = [node(f"n{i}", gpus=4, block="b", labels={CLIQUE: f"c{i % 2}"}) for i in range(4)]
    state = capacity(hosts)
    state.topology = replace(state.topology, hierarchies=state.topology.hierarchies[1:])
    assert placed(place(grouped(4, 2), state)) == ["n0", "n2", "n1", "n3"]


def test_whole_pools_are_groups_anyway() -> None:
    state = capacity(tpu_pool("p", 4))
    assert len(placed(place(tpu_gang(hosts=4, group_workers=2), state))) == 4


def test_a_lost_node_is_replaced_in_the_domain_of_its_group() -> None:
    state = racks(4, 6)
    before = dict(enumerate(["r0-0", "r0-1", "r1-0", "gone"]))
    nodes = placed(place(grouped(4, 2, preferred_nodes=before), state))
    assert nodes == ["r0-0", "r0-1", "r1-0", "r1-1"]


def test_a_group_whose_domain_is_full_moves_as_a_whole_and_the_others_stay() -> None:
    state = racks(2, 2, 2, 3)
    before = dict(enumerate(["r0-0", "r0-1", "r1-0", "gone"]))
    request = grouped(4, 2, preferred_nodes=before, excluded=frozenset({"r1-1"}))
    assert placed(place(request, state)) == ["r0-0", "r0-1", "r2-0", "r2-1"]


def test_a_group_never_leaves_the_gangs_required_domain_to_stay_whole() -> None:
    hosts = [*gpu_block("a", 4, gpus=4, per_subblock=2), *gpu_block("b", 4, gpus=4, per_subblock=2)]
    before = dict(enumerate(["a-host-0", "a-host-1", "a-host-2", "gone"]))
    request = grouped(4, 2, required="block", preferred_nodes=before, excluded=frozenset({"a-host-3"}))
    nodes = placed(place(request, capacity(hosts)))
    assert nodes == [f"b-host-{i}" for i in range(4)]


def test_a_group_that_was_torn_apart_is_put_together() -> None:
    state = racks(2, 2)
    request = grouped(2, 2, preferred_nodes={0: "r0-0", 1: "r1-0"})
    assert_whole(placed(place(request, state)), 2, state)


def test_an_elastic_gang_takes_the_slices_whose_groups_are_whole() -> None:
    state = racks(3, 3)
    asked = grouped(2, 2, slices=3, min_slices=1)
    request, answer = place_most(asked, state, now=0.0)
    assert request.slices == 2
    assert_whole(placed(answer), 2, state)


def test_a_head_keeps_nodes_that_hold_whole_groups() -> None:
    state = racks(2, 2)
    state.set_pod(pod("p", on="r0-0", gpus=4, gang="other"))
    head = grouped(2, 2, required="subblock")
    hope = place_later(head, state)
    assert isinstance(hope, Placement)
    kept = target_of(head, state, hope)
    assert len({units([name], state)[0] for name in kept}) == 1


@st.composite
def _scenes(draw: st.DrawFn) -> tuple[Capacity, GangRequest]:
    hosts = [
        node(
            f"n{i}",
            block=draw(st.sampled_from(["a", "b", ""])),
            subblock=draw(st.sampled_from(["x", "y", ""])),
            gpus=draw(st.sampled_from([1, 2, 4])),
        )
        for i in range(draw(st.integers(1, 9)))
    ]
    group, groups = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    policy = draw(st.sampled_from([{}, {"required": "block"}, {"preferred": "block"}]))
    slices = draw(st.integers(1, 2))
    return capacity(hosts), gang(workers=group * groups, gpus=1, slices=slices, group_workers=group, **policy)


def _unit(state: Capacity, name: str) -> tuple[str, str]:
    labels = state.nodes[name].labels
    subblock = labels.get("cloud.google.com/gce-topology-subblock", "")
    block = labels.get("cloud.google.com/gce-topology-block", "")
    return (block, subblock) if subblock else ("", name)


def _groups_that_fit(state: Capacity, size: int, block: str | None) -> int:
    free: Counter[tuple[str, str]] = Counter()
    for name, found in state.nodes.items():
        if block is None or found.labels.get("cloud.google.com/gce-topology-block", "") == block:
            free[_unit(state, name)] += found.allocatable["nvidia.com/gpu"]
    return sum(copies // size for copies in free.values())


@settings(max_examples=200, deadline=None)
@given(_scenes())
def test_groups_are_whole_and_placed_exactly_when_they_can_be(scene: tuple[Capacity, GangRequest]) -> None:
    state, request = scene
    required = request.policy is PlacementPolicy.REQUIRED
    wanted = request.workers // request.group_workers
    most = max(
        _groups_that_fit(state, request.group_workers, b) for b in (("a", "b") if required else (None,))
    )
    answer = place(request, state)
    assert isinstance(answer, Placement) is (most >= wanted)
    assert isinstance(place_later(request, state), Placement) is (most >= wanted)
    if isinstance(answer, Placement):
        for mates in batched(answer.nodes, request.group_workers):
            assert len({_unit(state, n) for n in mates}) == 1
        taken = Counter(answer.nodes)
        assert all(taken[n] <= state.nodes[n].allocatable["nvidia.com/gpu"] for n in taken)


@settings(max_examples=200, deadline=None)
@given(_scenes(), st.data())
def test_a_restart_without_a_node_keeps_groups_whole_and_those_that_lost_nothing(
    scene: tuple[Capacity, GangRequest], data: st.DataObject
) -> None:
    state, request = scene
    first = place(request, state)
    assume(isinstance(first, Placement))
    before = placed(first)
    lost = data.draw(st.sampled_from(before))
    again = place(
        replace(request, preferred_nodes=dict(enumerate(before)), excluded=frozenset({lost})), state
    )
    fresh = place(replace(request, excluded=frozenset({lost})), state)
    assert isinstance(again, Placement) is isinstance(fresh, Placement)
    if not isinstance(again, Placement):
        return
    assert lost not in again.nodes
    pairs = zip(
        batched(before, request.group_workers),
        batched(again.nodes, request.group_workers),
        strict=True,
    )
    for old, new in pairs:
        assert len({_unit(state, n) for n in new}) == 1
        if request.policy is PlacementPolicy.UNCONSTRAINED and request.slices == 1 and lost not in old:
            assert tuple(new) == tuple(old)


@pytest.mark.parametrize("group", [1, 2, 4])
def test_ranks_of_a_group_follow_the_topology(group: int) -> None:
    state = racks(4, 4)
    nodes = placed(place(grouped(8, group), state))
    assert nodes == [f"r{i // 4}-{i % 4}" for i in range(8)]
