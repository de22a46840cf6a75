"""How fragmentation is counted, and that placement makes as little of it as it can."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.fragmentation import Fragments, LevelFragments
from drumline.core.gang.placement import place
from drumline.core.gang.topology import PRESETS, Hierarchy, Level
from tests.builders import GPU, capacity, gang, gpu_block, node, placed, pod

ROWS = Hierarchy("own", (Level("row", "r"), Level("rack", "k")))


def counted(*nodes: tuple[str, str, int, int]) -> dict[str, LevelFragments]:
    """Of nodes given as row, rack, chips and free ones."""
    found = Fragments(ROWS)
    for i, (row, rack, total, free) in enumerate(nodes):
        found.put(f"n{i}", (row, rack, f"n{i}"), total, free)
    return {level.level: level for level in found.levels()}


def test_free_chips_count_where_their_whole_domain_is_free() -> None:
    found = counted(("a", "1", 8, 8), ("a", "1", 8, 8), ("a", "2", 8, 8), ("a", "2", 8, 2), ("b", "1", 8, 0))
    assert found == {
        "row": LevelFragments("row", 26, 0),
        "rack": LevelFragments("rack", 26, 16),
        "node": LevelFragments("node", 26, 24),
    }
    assert [level.ratio for level in found.values()] == [
        1.0,
        pytest.approx(1 - 16 / 26),
        pytest.approx(1 - 24 / 26),
    ]


def test_an_empty_cluster_is_whole_and_a_full_one_has_no_fragmentation() -> None:
    assert {level.ratio for level in counted(("a", "1", 8, 8), ("a", "1", 8, 8)).values()} == {0.0}
    assert {level.ratio for level in counted(("a", "1", 8, 0), ("a", "1", 8, 0)).values()} == {None}


def test_a_node_in_no_domain_of_a_level_is_of_no_use_to_a_gang_of_one() -> None:
    found = counted(("a", "1", 8, 8), ("a", "1", 8, 8), ("a", "", 8, 8))
    assert found["rack"].ratio == pytest.approx(1 / 3)
    assert found["row"].ratio == found["node"].ratio == 0.0


def test_levels_that_tell_no_nodes_apart_are_left_out() -> None:
    assert list(counted(("a", "1", 8, 8), ("a", "2", 8, 8))) == ["row", "node"]
    assert list(counted(("", "", 8, 8))) == ["node"]


_NODES = st.tuples(
    st.sampled_from("ab"), st.sampled_from(["1", "2", ""]), st.integers(1, 4), st.integers(0, 4)
)
_EVENTS = st.lists(st.tuples(st.integers(0, 4), st.none() | _NODES), max_size=25)


@settings(max_examples=100, deadline=None)
@given(_EVENTS)
def test_what_is_kept_up_agrees_with_a_fresh_count(
    events: list[tuple[int, tuple[str, str, int, int] | None]],
) -> None:
    kept, last = Fragments(ROWS), {}
    for name, change in events:
        if change is None:
            kept.drop(f"n{name}")
            last.pop(name, None)
        else:
            row, rack, total, free = change
            kept.put(f"n{name}", (row, rack, f"n{name}"), total, min(free, total))
            last[name] = (row, rack, total, min(free, total))
    fresh = Fragments(ROWS)
    for name, (row, rack, total, free) in last.items():
        fresh.put(f"n{name}", (row, rack, f"n{name}"), total, free)
    assert kept.levels() == fresh.levels()
    assert all(level.ratio is None or 0 <= level.ratio <= 1 for level in kept.levels())


def _free(state: Capacity, level: int) -> dict[tuple[str, ...], int]:
    """Free accelerators by domain of a level of GKE's hierarchy, counted from `state` anew."""
    found: dict[tuple[str, ...], int] = {}
    for name, each in state.nodes.items():
        domain = PRESETS["gke-gpu"].path(each)[:level]
        found[domain] = found.get(domain, 0) + each.allocatable[GPU] - state.now.used(name).get(GPU, 0)
    return found


@st.composite
def _clusters(draw: st.DrawFn) -> Capacity:
    hosts = [
        host
        for i in range(draw(st.integers(2, 4)))
        for host in gpu_block(f"b{i}", draw(st.integers(1, 6)), gpus=2, per_subblock=2)
    ]
    busy = draw(st.lists(st.sampled_from([host.name for host in hosts]), unique=True))
    return capacity(hosts, pods=[pod(f"p{n}", on=n, gpus=2) for n in busy])


@settings(max_examples=150, deadline=None)
@given(_clusters(), st.integers(1, 8), st.sampled_from([("block", 1), ("subblock", 2)]))
def test_of_the_domains_that_suffice_the_largest_hole_stays_whole(
    state: Capacity, workers: int, level: tuple[str, int]
) -> None:
    free = _free(state, level[1])
    able = {domain: copies for domain, copies in free.items() if copies >= workers}
    assume(able)
    nodes = placed(place(gang(workers=workers, gpus=1, required=level[0]), state))
    (chosen,) = {PRESETS["gke-gpu"].path(state.nodes[n])[: level[1]] for n in nodes}
    assert able[chosen] == min(able.values())
    after = {**free, chosen: free[chosen] - workers}
    others = [{**free, other: free[other] - workers} for other in able]
    assert max(after.values()) == max(max(sizes.values()) for sizes in others)


@settings(max_examples=150, deadline=None)
@given(_clusters(), st.integers(1, 4))
def test_of_equal_domains_that_in_the_fullest_block_is_taken(state: Capacity, workers: int) -> None:
    free, blocks = _free(state, 2), _free(state, 1)
    least = min((copies for copies in free.values() if copies >= workers), default=0)
    assume(least)
    nodes = placed(place(gang(workers=workers, gpus=1, required="subblock"), state))
    (chosen,) = {PRESETS["gke-gpu"].path(state.nodes[n])[:2] for n in nodes}
    assert blocks[chosen[:1]] == min(blocks[d[:1]] for d, copies in free.items() if copies == least)


def test_a_gang_of_a_subblock_does_not_break_a_block_that_is_free_as_a_whole() -> None:
    busy = [pod(f"p{i}", on=f"b-host-{i}", gpus=8) for i in range(2)]
    state = capacity(gpu_block("a", 4, per_subblock=2), gpu_block("b", 4, per_subblock=2), pods=busy)
    assert placed(place(gang(workers=2), state)) == ["b-host-2", "b-host-3"]
    assert placed(place(gang(workers=1), state)) == ["b-host-2"]
    assert placed(place(gang(workers=2, gpus=4), capacity(node("z", gpus=8), gpu_block("a", 2)))) == ["z"] * 2
