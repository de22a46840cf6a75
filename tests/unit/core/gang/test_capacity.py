"""What is free after every kind of event, and indexes that always agree with a fresh look."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.capacity_index import ROOT, SINGLE, Grouping, Ranked, ShapeIndex
from drumline.core.gang.capacity_view import MAX_INDEXES
from drumline.core.gang.feasibility import fits
from drumline.core.gang.topology import PRESETS, order_of
from drumline.core.gang.types import Placement, PodPhase
from tests.builders import GPU, capacity, free_gpus, gang, gpu_block, helper, node, pod, shape

FLAT = PRESETS["flat"]
GKE = PRESETS["gke-gpu"]


def test_pods_count_while_they_hold_resources() -> None:
    state = capacity(node("n", gpus=8))
    state.set_pod(pod("p", gpus=2))
    assert free_gpus(state) == {"n": 8}
    state.set_pod(pod("p", on="n", gpus=2))
    assert free_gpus(state) == {"n": 6}
    state.set_pod(pod("p", on="n", gpus=2, deleting=True))
    assert free_gpus(state) == {"n": 6}
    state.set_pod(pod("p", on="n", gpus=2, phase=PodPhase.SUCCEEDED))
    assert free_gpus(state) == {"n": 8}
    state.set_pod(pod("q", on="n", gpus=2, bound=False))
    assert free_gpus(state) == {"n": 6}
    state.remove_pod("team", "q")
    state.remove_pod("team", "q")
    assert dict(state.now.used("n")) == {}


def test_a_pod_may_come_before_its_node_and_outlive_it() -> None:
    state = capacity()
    state.set_pod(pod("p", on="n", gpus=2))
    state.set_node(node("n", gpus=8))
    assert free_gpus(state) == {"n": 6}
    state.remove_node("n")
    state.set_node(node("n", gpus=8))
    assert free_gpus(state) == {"n": 6}


def test_a_reservation_stands_for_its_pods() -> None:
    state = capacity(gpu_block("a", 2))
    state.reserve(gang(workers=2), Placement(("a-host-0", "a-host-1")))
    assert free_gpus(state) == {"a-host-0": 0, "a-host-1": 0}
    state.set_pod(pod("p", on="a-host-0", gpus=8, gang="g"))
    assert free_gpus(state) == {"a-host-0": 0, "a-host-1": 0}
    assert state.holders("a-host-1") == {"g"}
    state.release("g")
    assert free_gpus(state) == {"a-host-0": 0, "a-host-1": 8}
    assert (state.holders("a-host-0"), state.holders("a-host-1")) == ({"g"}, frozenset())
    state.remove_pod("team", "p")
    assert free_gpus(state) == {"a-host-0": 8, "a-host-1": 8}
    assert state.holders("a-host-0") == frozenset()


def test_a_pod_of_an_old_attempt_elsewhere_is_not_overlooked() -> None:
    state = capacity(gpu_block("a", 2), pods=[pod("old", on="a-host-1", gpus=8, gang="g")])
    state.reserve(gang(), Placement(("a-host-0",)))
    assert free_gpus(state) == {"a-host-0": 0, "a-host-1": 0}


def test_a_reservation_is_replaced_not_added() -> None:
    state = capacity(gpu_block("a", 2))
    for host in ("a-host-0", "a-host-1", "a-host-1"):
        state.reserve(gang(helpers=(helper("x", cpu=2),)), Placement((host, "a-host-0")))
    assert free_gpus(state) == {"a-host-0": 8, "a-host-1": 0}
    assert state.now.used("a-host-0")["cpu"] == 2000
    state.release("g")
    state.release("g")
    assert dict(state.now.used("a-host-0")) == {}
    assert not state.reserved("g")


def test_later_holds_only_pods_of_no_gang() -> None:
    state = capacity(gpu_block("a", 1))
    state.set_pod(pod("alien", on="a-host-0", gpus=1))
    state.set_pod(pod("ours", on="a-host-0", gpus=2, gang="g"))
    state.reserve(gang("h", gpus=3), Placement(("a-host-0",)))
    assert state.later.used("a-host-0")[GPU] == 1
    assert state.now.used("a-host-0")[GPU] == 6


def test_without_lends_a_gang_its_own_and_takes_it_back() -> None:
    state = capacity(gpu_block("a", 2), pods=[pod("p", on="a-host-0", gpus=8, gang="g")])
    state.reserve(gang(), Placement(("a-host-1",)))
    with state.without("g"):
        assert free_gpus(state) == {"a-host-0": 8, "a-host-1": 8}
    assert free_gpus(state) == {"a-host-0": 0, "a-host-1": 0}


def test_withheld_nodes_have_nothing_free() -> None:
    state = capacity(gpu_block("a", 2))
    state.now.withhold({"a-host-0"})
    index = state.now.index(shape(gpus=8), FLAT)
    assert (index.sums[ROOT], index.kept) == (1, {"a-host-0": 1})
    state.now.withhold(())
    index = state.now.index(shape(gpus=8), FLAT)
    assert (index.sums[ROOT], index.kept) == (2, {})


def test_an_unchanged_node_or_pod_costs_nothing() -> None:
    state = capacity(gpu_block("a", 2), pods=[pod("p", on="a-host-0", gpus=1)])
    before = state.now.generation
    state.set_node(gpu_block("a", 1)[0])
    state.set_pod(pod("p", on="a-host-0", gpus=1, ready=True))
    assert state.now.generation == before


def test_only_the_latest_shapes_are_remembered() -> None:
    state = capacity(node("n", gpus=8))
    first = state.now.index(shape(gpus=1), FLAT)
    assert state.now.index(shape(gpus=1), FLAT) is first
    for cpu in range(1, MAX_INDEXES + 1):
        state.now.index(shape(cpu=cpu), FLAT)
    assert state.now.index(shape(gpus=1), FLAT) is not first


def test_names_of_nodes_long_gone_are_forgotten() -> None:
    state = capacity()
    for i in range(5000):
        state.set_node(node(f"n{i}", gpus=8))
        state.remove_node(f"n{i}")
    assert len(state.now._changed) <= 1002
    state.set_node(node("n", gpus=8))
    assert state.now.index(shape(gpus=8), FLAT).sums[ROOT] == 1


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 4)), max_size=80), st.integers(1, 5))
def test_ranked_agrees_with_a_plain_search(puts: list[tuple[str, int]], wanted: int) -> None:
    ranked, plain = Ranked(), {}
    for name, copies in puts:
        ranked.put((name,), order_of((name,)), copies)
        plain[(name,)] = copies
    enough = sorted((copies, path) for path, copies in plain.items() if copies >= wanted)
    assert list(ranked.sufficient(wanted)) == [path for _, path in enough]
    assert ranked.best_fit(wanted) == (enough[0][1] if enough else None)
    assert ranked.most() == max(plain.values(), default=0)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["node", "gone", "pod", "end", "reserve", "release", "cordon", "look", "withhold"]),
        st.integers(0, 5),
        st.integers(0, 3),
    ),
    max_size=40,
)


def play(state: Capacity, event: str, n: int, k: int) -> None:
    name = f"n{n}"
    match event:
        case "node":
            state.set_node(node(name, gpus=8, block=f"b{k}" if k else "", subblock=f"s{n % 2}"))
        case "gone":
            state.remove_node(name)
        case "cordon" if name in state.nodes:
            state.set_node(replace(state.nodes[name], unschedulable=bool(k % 2)))
        case "pod":
            state.set_pod(pod(f"p{k}", on=name, gpus=1 + n % 3, gang="" if k < 2 else f"g{k}"))
        case "end":
            state.remove_pod("team", f"p{k}")
        case "reserve":
            state.reserve(gang(f"g{k}", 2, gpus=2), Placement((name, f"n{k}")))
        case "release":
            state.release(f"g{k}")
        case "withhold":
            state.now.withhold({name} if k else ())
        case _:
            state.now.index(shape(gpus=2), GKE)


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.sampled_from([SINGLE, Grouping(3, 1), Grouping(2, 3)]))
def test_an_index_always_agrees_with_a_fresh_one(
    events: list[tuple[str, int, int]], grouping: Grouping
) -> None:
    state = capacity([node(f"n{i}", gpus=8, block="b1" if i else "") for i in range(3)])
    state.now.index(shape(gpus=2), GKE, grouping)
    for event in events:
        play(state, *event)
    kept_up = state.now.index(shape(gpus=2), GKE, grouping)
    fresh = ShapeIndex(kept_up.shape, GKE, grouping)
    fresh.rebuild(state.nodes.values(), state.now._used, state.now.withheld)
    assert kept_up.copies == fresh.copies
    assert +kept_up.obstacles == fresh.obstacles
    assert (kept_up.sums, kept_up.nodes_in, kept_up.kept) == (fresh.sums, fresh.nodes_in, fresh.kept)
    for depth in range(1, fresh.depths + 1):
        assert list(kept_up.level(depth).sufficient(1)) == list(fresh.level(depth).sufficient(1))
    for domain in fresh.sums:
        assert list(kept_up.children(domain).sufficient(1)) == list(fresh.children(domain).sufficient(1))
    for name in state.nodes if grouping is not SINGLE else ():
        assert kept_up.room(kept_up.unit_of(name)) == fresh.room(fresh.unit_of(name))
        assert kept_up.sums[kept_up.unit_of(name)] % grouping.size == 0
    for name, where in state.nodes.items():
        free = 0 if name in state.now.withheld else fits(where, kept_up.shape, state.now.used(name))
        assert kept_up.copies[name] == free
