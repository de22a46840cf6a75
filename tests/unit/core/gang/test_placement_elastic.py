"""An elastic gang takes the most whole slices there is room for, never fewer than it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.reasons import Reason
from drumline.core.gang.admission import admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.placement import place
from drumline.core.gang.placement_elastic import has_room_for_more, most_slices, place_most, reduced
from drumline.core.gang.types import GangRequest, Placement
from tests.builders import (
    capacity,
    free_gpus,
    gang,
    gpu_block,
    helper,
    placed,
    pod,
    refusal,
    tpu_gang,
    tpu_pool,
)

NOW = 100.0


def elastic(slices: int = 4, least: int = 1, workers: int = 2, **more: Any) -> GangRequest:
    return gang(workers=workers, slices=slices, min_slices=least, **more)


def test_all_of_it_where_there_is_room() -> None:
    request, answer = place_most(elastic(), capacity(gpu_block("a", 8)), NOW)
    assert request.slices == 4
    assert len(placed(answer)) == 8


def test_the_most_whole_slices_where_there_is_not() -> None:
    state = capacity(gpu_block("a", 7))
    request, answer = place_most(elastic(), state, NOW)
    assert request.slices == 3
    assert placed(answer) == [f"a-host-{i}" for i in range(6)]


def test_fewer_than_it_says_are_none() -> None:
    state = capacity(gpu_block("a", 5))
    _, answer = place_most(elastic(least=3), state, NOW)
    found = refusal(answer)
    assert found.reason == Reason.INSUFFICIENT_ACCELERATORS
    assert found.message.startswith("needs 48 × nvidia-h100-80gb; 40 free")
    assert found.message.endswith("that is what the fewest of its slices take, 3 of 4")


def test_any_other_gang_is_all_or_nothing() -> None:
    _, answer = place_most(elastic(least=0), capacity(gpu_block("a", 7)), NOW)
    assert "fewest" not in refusal(answer).message


def test_more_slices_are_worth_a_node_that_it_would_rather_avoid() -> None:
    state, away = capacity(gpu_block("a", 3)), "a-host-1"
    rather = elastic(slices=4, workers=1, excluded=frozenset({away}), if_possible=(away,))
    request, answer = place_most(rather, state, NOW)
    assert (request.slices, sorted(placed(answer))) == (3, ["a-host-0", "a-host-1", "a-host-2"])
    assert most_slices(rather, state) == 3
    fits_without = replace(rather, slices=2)
    assert away not in placed(place_most(fits_without, state, NOW)[1])


def test_no_number_of_slices_is_worth_a_node_at_fault_but_the_fewest() -> None:
    state, away = capacity(gpu_block("a", 3)), "a-host-1"
    fault = elastic(slices=3, workers=1, excluded=frozenset({away}), if_ever_possible=(away,))
    request, answer = place_most(fault, state, NOW)
    assert (request.slices, away in placed(answer)) == (2, False)
    request, answer = place_most(replace(fault, min_slices=2, slices=3), state, NOW)
    assert (request.slices, away in placed(answer)) == (2, False)
    last = capacity(gpu_block("a", 2))
    request, answer = place_most(replace(fault, min_slices=2), last, NOW)
    assert (request.slices, away in placed(answer)) == (2, True)


def test_it_waits_for_all_of_it_first() -> None:
    state = capacity(gpu_block("a", 6))
    patient = elastic(patient_until=NOW + 30)
    waiting = admit([patient], state, NOW, 300.0)
    assert waiting.granted == ()
    assert waiting.requeue_after == 30.0
    later = admit([patient], state, NOW + 30, 300.0)
    assert [len(placement.nodes) for _, placement in later.granted] == [6]
    assert later.sizes == {"g": 3}
    assert sum(free_gpus(state).values()) == 0


def test_a_grant_says_how_many_of_an_elastic_gang_alone() -> None:
    state = capacity(gpu_block("a", 8))
    found = admit([elastic(slices=2), gang("other", workers=4)], state, NOW, 300.0)
    assert len(found.granted) == 2
    assert found.sizes == {"g": 2}


def test_one_that_could_begin_smaller_is_head_of_the_queue_for_that() -> None:
    state = capacity(gpu_block("a", 4), pods=[pod(on=f"a-host-{i}", gpus=8, gang="old") for i in range(1, 4)])
    found = admit([elastic(slices=8, least=2, queued_at=0.0)], state, NOW, 50.0)
    assert found.targets == {"g": frozenset(f"a-host-{i}" for i in range(4))}
    assert "even if every other gang ended" not in found.refused["g"].message


def test_a_lost_slice_leaves_the_others_where_they_are() -> None:
    nodes = [f"a-host-{i}" for i in range(8)]
    state = capacity(gpu_block("a", 8))
    state.reserve(elastic(), Placement(tuple(nodes)))
    state.remove_node("a-host-3")
    again = elastic(preferred_nodes=dict(enumerate(nodes)))
    request, answer = place_most(again, state, NOW)
    assert request.slices == 3
    assert placed(answer) == [*nodes[:2], *nodes[4:]]


def test_a_lost_node_is_replaced_before_its_slice_is_given_up() -> None:
    nodes = [f"a-host-{i}" for i in range(4)]
    state = capacity(gpu_block("a", 5))
    state.remove_node("a-host-3")
    again = elastic(slices=2, preferred_nodes=dict(enumerate(nodes)))
    request, answer = place_most(again, state, NOW)
    assert request.slices == 2
    assert placed(answer) == [*nodes[:3], "a-host-4"]


def test_whole_pools() -> None:
    state = capacity(tpu_pool("p0", 4), tpu_pool("p1", 4), tpu_pool("p2", 4), tpu_pool("small", 2))
    nodes = [f"p{p}-w{i}" for p in range(3) for i in range(4)]
    again = tpu_gang(hosts=4, slices=3, min_slices=1, preferred_nodes=dict(enumerate(nodes)))
    assert placed(place_most(again, state, NOW)[1]) == nodes
    state.remove_node("p1-w2")
    request, answer = place_most(again, state, NOW)
    assert request.slices == 2
    assert placed(answer) == [*nodes[:4], *nodes[8:]]


def test_helpers_keep_their_nodes_when_slices_go() -> None:
    request = elastic(slices=3, workers=1, helpers=(helper("x", 2, cpu=4),))
    old = {0: "a", 1: "b", 2: "c", 3: "h0", 4: "h1", 5: "spare"}
    less = reduced(replace(request, preferred_nodes=old), 2, lambda node: int(node != "a"))
    assert less.slices == 2
    assert less.preferred_nodes == {0: "b", 1: "c", 2: "h0", 3: "h1", 4: "spare"}


def test_room_for_more_beside_what_it_holds() -> None:
    state = capacity(gpu_block("a", 8))
    held = elastic(slices=2)
    state.reserve(held, placed_of(held, state))
    wants = elastic(slices=4, preferred_nodes={i: f"a-host-{i}" for i in range(4)})
    assert has_room_for_more(wants, state)
    assert most_slices(wants, state) == 4
    state.now.withhold({"a-host-7"})
    assert most_slices(wants, state) == 3
    state.now.withhold({"a-host-5", "a-host-6", "a-host-7"})
    assert not has_room_for_more(wants, state)
    state.now.withhold(())
    assert most_slices(replace(wants, patient_until=1e12), state) == 4


def placed_of(request: GangRequest, state: Capacity) -> Placement:
    return Placement(tuple(placed(place(request, state))))


def by_trying_all(request: GangRequest, state: Capacity) -> int:
    """The most slices by asking for every number."""
    sizes = range(request.slices, max(1, request.min_slices) - 1, -1)
    fits = (n for n in sizes if isinstance(place(reduced(request, n, lambda _: 0), state), Placement))
    return next(fits, 0)


@settings(max_examples=150, deadline=None)
@given(
    slices=st.integers(1, 6),
    least=st.integers(1, 6),
    workers=st.integers(1, 3),
    taken=st.sets(st.integers(0, 11), max_size=12),
    policy=st.sampled_from(["", "required", "preferred"]),
    kept=st.integers(0, 6),
)
def test_no_number_that_was_not_found_would_have_fit_better(
    slices: int, least: int, workers: int, taken: set[int], policy: str, kept: int
) -> None:
    nodes = gpu_block("a", 7) + gpu_block("b", 5)
    pods = [pod(f"p{i}", on=nodes[i].name, gpus=8) for i in taken]
    more: Mapping[str, Any] = {policy: "block"} if policy else {}
    old = {i: nodes[i].name for i in range(min(kept * workers, len(nodes)))}
    request = elastic(slices, min(least, slices), workers, preferred_nodes=old, **more)
    state = capacity(nodes, pods=pods)
    before = dict(free_gpus(state))
    found, answer = place_most(request, state, NOW)
    assert dict(free_gpus(state)) == before, "a trial leaves no trace"
    assert (found, answer) == place_most(request, state, NOW)
    best = by_trying_all(request, state)
    if not isinstance(answer, Placement):
        assert best == 0
        return
    assert found.slices == best
    assert request.min_slices <= found.slices <= request.slices
    assert len(answer.nodes) == found.slices * workers
    assert len(set(answer.nodes)) == len(answer.nodes), "no accelerator twice"
    assert {nodes[i].name for i in taken}.isdisjoint(answer.nodes)
    if policy == "required":
        assert len({name.partition("-")[0] for name in answer.nodes}) == 1


@pytest.mark.parametrize("least", [1, 2, 3])
def test_two_gangs_share_what_there_is(least: int) -> None:
    state = capacity(gpu_block("a", 10))
    asking = [elastic(slices=3, least=least, workers=2, uid=f"g{i}", queued_at=float(i)) for i in range(2)]
    found = admit(asking, state, NOW, 300.0)
    assert found.sizes == ({"g0": 3, "g1": 2} if least <= 2 else {"g0": 3})
    every = [n for _, placement in found.granted for n in placement.nodes]
    assert len(set(every)) == len(every)
