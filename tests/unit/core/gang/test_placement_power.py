"""Power budgets: what a domain draws, and that no gang takes more than is left."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.catalog import Catalog
from drumline.api.reasons import Reason
from drumline.core.gang.admission import admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.placement import place, place_later
from drumline.core.gang.power import Budget, Power, Rating, ratings_of
from drumline.core.gang.topology import PRESETS
from drumline.core.gang.types import GangRequest, Node
from tests.builders import (
    GPU,
    TOLERATE_GPU,
    TPU,
    capacity,
    gang,
    gpu_block,
    helper,
    node,
    placed,
    pod,
    refusal,
    shape,
    tpu_gang,
    tpu_pool,
)
from tests.unit.core.gang.test_invariants import STEPS, World, cluster, held_by, small_gangs_come_and_go

HOST = 8 * 700  # watts of a host of H100s
RATINGS = (Rating(GPU, 700), Rating(TPU, 500))


def powered(state: Capacity, *budgets: Budget, ratings: tuple[Rating, ...] = RATINGS) -> Capacity:
    state.set_power(Power(budgets, ratings))
    return state


def blocks_of(nodes: list[str]) -> Counter[str]:
    return Counter(name.split("-host-")[0] for name in nodes)


def test_a_gang_goes_where_there_is_power_for_it() -> None:
    state = powered(capacity(gpu_block("a", 4), gpu_block("b", 8)), Budget("block", 2 * HOST, "a"))
    assert blocks_of(placed(place(gang(workers=2, required="block"), state))) == {"a": 2}
    assert blocks_of(placed(place(gang(workers=3, required="block"), state))) == {"b": 3}
    assert blocks_of(placed(place(gang(workers=10), state))) == {"a": 2, "b": 8}


def test_room_without_power_is_told() -> None:
    state = powered(capacity(gpu_block("a", 4), gpu_block("b", 4)), Budget("block", 2.5 * HOST))
    answer = refusal(place(gang(workers=5), state))
    assert answer.reason == Reason.POWER_BUDGET
    assert answer.message == (
        "there is room for 40 × nvidia-h100-80gb, but not the power: needs 28000 W; "
        "block a has 14000 W of 14000 W left, block b has 14000 W of 14000 W left"
    )
    assert refusal(place_later(gang(workers=5), state)).reason == Reason.POWER_BUDGET
    assert len(placed(place(gang(workers=4), state))) == 4
    crowded = refusal(place(gang(workers=9), state))
    assert crowded.reason == Reason.INSUFFICIENT_ACCELERATORS


def test_only_domains_with_nodes_for_the_gang_are_named() -> None:
    budgets = (Budget("block", HOST - 1), Budget("nodepool", 4))
    state = powered(capacity(gpu_block("a", 1), tpu_pool("p1", 2)), *budgets)
    assert refusal(place(gang(workers=1), state)).message == (
        "there is room for 8 × nvidia-h100-80gb, but not the power: needs 5600 W; block a has 5599 W of 5599 W left"
    )


def test_a_domain_is_named_by_its_value_or_by_its_path() -> None:
    nodes = capacity(gpu_block("a", 4, per_subblock=2))
    assert {s.domain: s.budget for s in powered(nodes, Budget("subblock", 1.0)).supplies()} == {
        "a/s0": 1.0,
        "a/s1": 1.0,
    }
    budgets = Budget("subblock", 3.0, "a/s0"), Budget("subblock", 2.0, "s0"), Budget("subblock", 1.0)
    for given_in in (budgets, budgets[::-1]):
        state = powered(capacity(gpu_block("a", 4, per_subblock=2)), *given_in)
        assert [s.budget for s in state.supplies()] == [3.0, 1.0]


def test_a_budget_of_no_domain_is_told() -> None:
    budgets = Budget("block", 1.0, "b"), Budget("block", 2.0), Budget("subblock", 3.0, "x/s0")
    state = powered(capacity(gpu_block("a", 2, per_subblock=2)), *budgets)
    assert [c.fault for c in state.now.meter.coverage()] == [
        "the power budget of block b limits nothing: no node is in such a domain",
        "",
        "the power budget of subblock x/s0 limits nothing: no node is in such a domain",
    ]
    (missing,) = powered(capacity(tpu_pool("p", 2)), Budget("block", 1.0)).now.meter.coverage()
    assert missing.fault == "the power budget of each block limits nothing: no node is in such a domain"


def test_a_name_of_several_domains_is_told() -> None:
    blocks = [
        node(f"{block}-{n}", block=block, subblock="s", gpus=8) for block in ("a", "b", "c") for n in range(2)
    ]
    state = powered(capacity(blocks), Budget("subblock", 1.0, "s"), Budget("subblock", 2.0, "b/s"))
    assert [(s.domain, s.budget) for s in state.supplies()] == [("a/s", 1.0), ("b/s", 2.0), ("c/s", 1.0)]
    assert [c.fault for c in state.now.meter.coverage()] == [
        "the power budget of subblock s is that of each of 2 domains of this name: a/s, c/s; name one by its path",
        "",
    ]


def test_levels_without_a_label_do_not_show() -> None:
    state = powered(capacity(tpu_pool("p1", 1)), Budget("host", 9.0, "p1-w0"))
    assert [(s.level, s.domain) for s in state.supplies()] == [("host", "p1-w0")]


def test_what_a_gang_was_granted_is_drawn_until_it_is_released() -> None:
    state = powered(capacity(gpu_block("a", 4)), Budget("block", 3 * HOST))
    first = gang("one", workers=2)
    state.reserve(first, place(first, state))
    assert refusal(place(gang("two", workers=2), state)).reason == Reason.POWER_BUDGET
    assert len(placed(place(gang("one", workers=3), state))) == 3  # its own counts as free
    state.release("one")
    assert len(placed(place(gang("two", workers=2), state))) == 2
    state.set_power(Power((Budget("block", 1 * HOST),), RATINGS))
    assert refusal(place(gang("two", workers=2), state)).reason == Reason.POWER_BUDGET


def test_pods_of_others_draw_too() -> None:
    state = powered(
        capacity(gpu_block("a", 4), pods=[pod("p", on="a-host-0", gpus=8)]), Budget("block", 2 * HOST)
    )
    assert refusal(place(gang(workers=2), state)).reason == Reason.POWER_BUDGET
    assert refusal(place_later(gang(workers=2), state)).reason == Reason.POWER_BUDGET
    assert [(s.level, s.domain, s.budget, s.drawn) for s in state.now.meter.supplies()] == [
        ("block", "a", 2 * HOST, HOST)
    ]


def test_nested_budgets_hold_together() -> None:
    budgets = (Budget("block", 3 * HOST), Budget("subblock", 1 * HOST))
    state = powered(capacity(gpu_block("a", 8, per_subblock=2)), *budgets)
    nodes = placed(place(gang(workers=3), state))
    assert len({int(n.rpartition("-")[2]) // 2 for n in nodes}) == 3
    assert refusal(place(gang(workers=4), state)).reason == Reason.POWER_BUDGET


def test_the_largest_hole_stays_whole() -> None:
    busy = [pod("p", on="a-host-0", gpus=4)]
    state = powered(capacity(gpu_block("a", 4, per_subblock=2), pods=busy), Budget("block", 2.5 * HOST))
    assert placed(place(gang(workers=2, required="subblock"), state)) == ["a-host-2", "a-host-3"]


def test_whole_pools_are_left_out_whole() -> None:
    level = Budget("nodepool", 2 * 4 * 500, "p1")
    state = powered(capacity(tpu_pool("p1", 2), tpu_pool("p2", 2)), level)
    assert len(placed(place(tpu_gang(hosts=2, slices=2), state))) == 4
    starved = powered(
        capacity(tpu_pool("p1", 2), tpu_pool("p2", 2)), Budget("nodepool", 2 * 4 * 500 - 1, "p1")
    )
    assert {n[:2] for n in placed(place(tpu_gang(hosts=2), starved))} == {"p2"}
    assert refusal(place(tpu_gang(hosts=2, slices=2), starved)).reason == Reason.POWER_BUDGET


def test_spares_take_no_power_that_is_not_there() -> None:
    state = powered(capacity(gpu_block("a", 4)), Budget("block", 3 * HOST))
    assert len(placed(place(gang(workers=2, spares=2), state))) == 3


def test_helpers_take_no_power_that_is_not_there() -> None:
    state = powered(capacity(gpu_block("a", 4)), Budget("block", 2 * HOST))
    assert len(placed(place(gang(workers=1, helpers=(helper("x", gpus=8),)), state))) == 2
    answer = refusal(place(gang(workers=1, helpers=(helper("x", 2, gpus=8),)), state))
    assert answer.reason == Reason.POWER_BUDGET
    assert answer.message.startswith("there is room for 2 × x, but not the power")
    assert len(placed(place(gang(workers=2, helpers=(helper("x", 2),)), state))) == 4


def test_a_restart_keeps_its_nodes() -> None:
    state = powered(capacity(gpu_block("a", 4)), Budget("block", 2 * HOST))
    again = gang(workers=2, preferred_nodes={0: "a-host-0", 1: "a-host-1"})
    assert placed(place(again, state)) == ["a-host-0", "a-host-1"]


def test_what_an_accelerator_draws() -> None:
    """The node's word, its labels', else the most that any with that resource draws."""
    ratings = (Rating(GPU, 700, (("gpu", "h100"),)), Rating(GPU, 1000, (("gpu", "b200"),)))
    nodes = [
        node("said", gpus=8, block="a", accelerator_watts=300),
        node("known", gpus=8, block="b", labels={"gpu": "h100"}),
        node("unknown", gpus=8, block="c"),
    ]
    pods = [pod(n.name, on=n.name, gpus=1) for n in nodes]
    state = powered(capacity(nodes, pods=pods), Budget("block", 9000), ratings=ratings)
    assert [s.drawn for s in state.now.meter.supplies()] == [300, 700, 1000]
    found = {r.resource: r.watts for r in ratings_of(Catalog.default())}
    assert found[GPU] > 0


def test_a_node_that_moves_takes_its_draw_along() -> None:
    state = powered(
        capacity(gpu_block("a", 1), pods=[pod("p", on="a-host-0", gpus=8)]), Budget("block", 9000)
    )
    state.set_node(node("a-host-0", block="z", gpus=8))
    assert [(s.domain, s.drawn) for s in state.now.meter.supplies()] == [("z", HOST)]
    state.remove_node("a-host-0")
    assert state.now.meter.supplies() == ()
    state.set_node(node("a-host-0", block="z", gpus=8))
    assert [(s.domain, s.drawn) for s in state.now.meter.supplies()] == [("z", HOST)]


def test_power_that_comes_free_is_kept_for_the_head() -> None:
    """Gangs behind it would fit in what is left of the budget, one after another, for ever."""
    state = powered(capacity(gpu_block("a", 8)), Budget("block", 4 * HOST))
    runs = gang("runs", workers=2)
    state.reserve(runs, place(runs, state))
    head, small = gang("head", workers=4, queued_at=0.0), gang("small", workers=1, queued_at=1.0)
    early = admit([head, small], state, 2.0, 5.0)
    assert [uid for uid, _ in early.granted] == ["small"]
    state.release("small")
    late = admit([head, small], state, 6.0, 5.0)
    assert late.granted == ()
    assert late.refused["head"].reason == Reason.POWER_BUDGET
    state.release("runs")
    assert [uid for uid, _ in admit([head, small], state, 7.0, 5.0, kept=late.targets).granted] == ["head"]


BUDGETS = st.lists(
    st.builds(
        Budget,
        st.sampled_from(["block", "subblock", "nodepool"]),
        st.integers(0, 5).map(lambda hosts: hosts * HOST * 0.75),
        st.sampled_from(["", "a", "s0", "p1"]),
    ),
    min_size=1,
    max_size=3,
)


def exceeded(world: World, budgets: list[Budget], nodes: dict[str, Node]) -> list[str]:
    """Domains that draw more than they may, worked out from the placements alone."""
    watts = {GPU: 700, TPU: 500}
    drawn: Counter[tuple[str, ...]] = Counter()
    limits: dict[tuple[str, ...], float] = {}
    for (name, resource), amount in held_by(world).items():
        for hierarchy in (PRESETS["gke-gpu"], PRESETS["gke-tpu"]):
            for depth, level in enumerate(hierarchy.levels, start=1):
                path = hierarchy.path(nodes[name])[:depth]
                own = [b for b in budgets if b.level == level.name and b.domain == path[-1]]
                every = [b for b in budgets if b.level == level.name and not b.domain]
                if path[-1] and (found := own or every):
                    key = (level.name, *path)
                    limits[key] = found[-1].watts
                    drawn[key] += amount * watts.get(resource, 0)
    return [str(key) for key in drawn if drawn[key] > limits[key]]


@settings(max_examples=80, deadline=None)
@given(STEPS, BUDGETS)
def test_no_domain_ever_draws_more_than_it_may(
    steps: list[tuple[str, object]], budgets: list[Budget]
) -> None:
    world = World(powered(capacity(cluster()), *budgets))
    nodes = {n.name: n for n in cluster()}
    for kind, value in steps:
        world.now += 1.0
        if kind == "queue":
            world.queue(value)
        elif kind == "end":
            world.end(value)
        elif kind == "round":
            world.round()
        assert exceeded(world, budgets, nodes) == []


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 3), st.lists(st.integers(2, 9), min_size=5, max_size=5))
def test_a_head_that_needs_power_never_starves(hosts: int, runs: list[int]) -> None:
    world = World(powered(capacity(cluster()), Budget("block", 3 * HOST)))
    ends: dict[str, float] = {}
    for _ in range(3 * len(runs)):
        small_gangs_come_and_go(world, runs, ends)
    world.now = 100.0
    large: GangRequest = gang(
        workers=hosts, worker=shape(gpus=8, tolerations=(TOLERATE_GPU,)), required="block"
    )
    world.queue(large)
    head = next(uid for uid, r in world.waiting.items() if r.workers == hosts)
    for _ in range(5 + (hosts + 1) * max(runs)):
        small_gangs_come_and_go(world, runs, ends)
        if head in world.running:
            return
    raise AssertionError(f"a gang of {hosts} hosts still waits")
