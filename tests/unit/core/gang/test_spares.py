"""Spare places: as many as fit, near the gang and apart from it; promoted where nodes must not be used."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drumline.core.gang.admission import admit
from drumline.core.gang.placement import place, place_later
from drumline.core.gang.spares import Group, promote
from drumline.core.gang.types import GangRequest, Placement, Refusal
from tests.builders import capacity, gang, gpu_block, helper, node, placed, tpu_gang, tpu_pool


def spares_of(request: GangRequest, *nodes: object) -> list[str]:
    return placed(place(request, capacity(*nodes)))[request.pods :]  # type: ignore[arg-type]


def test_spares_follow_workers_and_helpers() -> None:
    request = gang(workers=2, helpers=(helper("x", 1),), spares=1)
    nodes = placed(place(request, capacity(gpu_block("a", 4))))
    assert len(nodes) == 4
    assert nodes[3] not in nodes[:2]


def test_as_many_spares_as_fit_and_none_is_waited_for() -> None:
    assert spares_of(gang(workers=2, spares=3), gpu_block("a", 4)) == ["a-host-2", "a-host-3"]
    assert spares_of(gang(workers=2, spares=3), gpu_block("a", 2)) == []
    assert isinstance(place(gang(workers=3, spares=1), capacity(gpu_block("a", 2))), Refusal)


def test_a_spare_is_near_the_gang() -> None:
    request = gang(workers=3, spares=1, preferred="block")
    assert spares_of(request, gpu_block("a", 2), gpu_block("b", 4), gpu_block("c", 6)) == ["b-host-3"]


def test_a_required_domain_binds_spares_too() -> None:
    request = gang(workers=3, spares=2, required="block")
    assert spares_of(request, gpu_block("a", 4), gpu_block("b", 2)) == ["a-host-3"]


def test_a_spare_stands_apart_from_the_workers_unless_only_their_nodes_have_room() -> None:
    request = gang(workers=1, gpus=4, spares=1)
    assert spares_of(request, node("n1", gpus=8), node("n2", gpus=8)) == ["n2"]
    assert spares_of(request, node("n1", gpus=8)) == ["n1"]


def test_spares_go_back_to_where_they_were() -> None:
    before = dict(enumerate(["a-host-4", "a-host-5", "a-host-1"]))
    request = gang(workers=2, spares=1, preferred_nodes=before)
    assert placed(place(request, capacity(gpu_block("a", 6)))) == ["a-host-4", "a-host-5", "a-host-1"]


def test_a_spare_is_never_on_an_excluded_node() -> None:
    request = gang(workers=1, spares=2, excluded=frozenset({"a-host-1"}))
    assert spares_of(request, gpu_block("a", 3)) == ["a-host-2"]


def test_a_spare_of_whole_pools_is_a_whole_pool() -> None:
    request = tpu_gang(hosts=2, slices=2, spares=2)
    nodes = placed(place(request, capacity(tpu_pool("p1", 2), tpu_pool("p2", 2), tpu_pool("p3", 2))))
    assert nodes[4:] == ["p3-w0", "p3-w1"]
    broken = [*tpu_pool("p3", 1), *tpu_pool("p4", 4)]
    assert spares_of(request, tpu_pool("p1", 2), tpu_pool("p2", 2), broken) == []


def test_a_pool_that_stood_by_stands_by_again() -> None:
    before = dict(enumerate(["p1-w0", "p1-w1", "p3-w0", "p3-w1"]))
    request = tpu_gang(hosts=2, spares=1, preferred_nodes=before)
    pools = [tpu_pool(f"p{i}", 2) for i in range(4)]
    assert placed(place(request, capacity(*pools)))[2:] == ["p3-w0", "p3-w1"]


def test_spares_are_reserved_and_given_back() -> None:
    state = capacity(gpu_block("a", 3))
    request = gang(workers=2, spares=1)
    state.reserve(request, Placement(tuple(placed(place(request, state)))))
    assert isinstance(place(gang("other"), state), Refusal)
    state.release(request.uid)
    assert placed(place(gang("other", 3), state))


def test_who_may_wait_counts_no_spares() -> None:
    state = capacity(gpu_block("a", 3))
    assert len(placed(place_later(gang(workers=2, spares=1), state))) == 2


def test_a_gang_takes_its_spares_before_those_behind_it_in_the_queue() -> None:
    first = gang("first", 2, spares=1)
    second = gang("second", 1, queued_at=1.0)
    result = admit([second, first], capacity(gpu_block("a", 3)), 2.0, 300.0)
    assert [(uid, len(where.nodes)) for uid, where in result.granted] == [("first", 3)]


NODES = ("a", "b", "c", "s", "t")


def test_a_spare_takes_the_place_of_a_lost_node_and_nobody_else_moves() -> None:
    found = promote(NODES, 3, Group(3), frozenset({"b"}))
    assert found is not None
    assert found.placement == Placement(("a", "s", "c", "t"))
    assert found.moved == ((1, "b", "s"),)


def test_without_a_loss_nothing_moves() -> None:
    found = promote(NODES, 3, Group(3), frozenset())
    assert found is not None
    assert (found.placement, found.moved) == (Placement(NODES), ())


def test_spares_that_are_lost_or_on_such_nodes_are_not_promoted() -> None:
    found = promote(NODES, 3, Group(3), frozenset({"b", "s"}))
    assert found is not None
    assert found.placement == Placement(("a", "t", "c"))
    found = promote(NODES, 3, Group(3), frozenset({"c"}), lost=(0,))
    assert found is not None
    assert found.placement == Placement(("a", "b", "t"))
    assert promote(NODES, 3, Group(3), frozenset({"b"}), lost=(0, 1)) is None
    assert promote(NODES, 3, Group(3), frozenset({"a", "b", "c"})) is None


def test_no_spare_takes_a_helpers_place() -> None:
    assert promote(NODES, 3, Group(2), frozenset({"c"})) is None


def test_a_whole_pool_takes_the_place_of_a_pool() -> None:
    nodes = ("p1-w0", "p1-w1", "p2-w0", "p2-w1", "p3-w0", "p3-w1")
    found = promote(nodes, 4, Group(4, together=2), frozenset({"p1-w1"}))
    assert found is not None
    assert found.placement.nodes == ("p3-w0", "p3-w1", "p2-w0", "p2-w1")
    assert [i for i, _, _ in found.moved] == [0, 1]


def test_two_places_of_one_lost_node_need_two_spares() -> None:
    nodes = ("a", "a", "b", "s", "t")
    found = promote(nodes, 3, Group(3), frozenset({"a"}))
    assert found is not None
    assert found.placement == Placement(("s", "t", "b"))
    assert promote(nodes[:4], 3, Group(3), frozenset({"a"})) is None


@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(0, 2),
    st.integers(0, 4),
    st.sets(st.integers(0, 20)),
    st.sets(st.integers(0, 4)),
)
def test_what_is_promoted_is_whole_and_well_and_moves_nobody_else(
    together: int, groups: int, helpers: int, spares: int, bad: set[int], lost: set[int]
) -> None:
    workers = together * groups
    size = workers + helpers
    nodes = tuple(f"n{i}" for i in range(size + spares * together))
    unusable = frozenset(f"n{i}" for i in bad)
    found = promote(nodes, size, Group(workers, together), unusable, lost)
    chunks = [nodes[i : i + together] for i in range(size, len(nodes), together)]
    good = [c for n, c in enumerate(chunks) if n not in lost and unusable.isdisjoint(c)]
    hit = [g for g in range(groups) if not unusable.isdisjoint(nodes[g * together : (g + 1) * together])]
    possible = len(hit) <= len(good) and unusable.isdisjoint(nodes[workers:size])
    assert (found is not None) == possible
    if found is None:
        return
    after = found.placement.nodes
    assert unusable.isdisjoint(after)
    assert len(set(after)) == len(after)
    assert len(after) == size + (len(good) - len(hit)) * together
    moved = {i for i in range(size) if after[i] != nodes[i]}
    assert (
        moved
        == {i for g in hit for i in range(g * together, (g + 1) * together)}
        == {i for i, _, _ in found.moved}
    )
