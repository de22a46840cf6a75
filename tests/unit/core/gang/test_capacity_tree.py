"""The tree of accelerators: each chip is in one state, and the states of a domain are those of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from drumline.api.catalog import Catalog
from drumline.api.meta import TAINT_BAD_NODE
from drumline.core.gang.capacity_tree import Chips, Domain, Hold, forest
from drumline.core.gang.types import Member, Node, Pod, PodPhase, Taint

CATALOG = Catalog.default()
H100 = CATALOG["nvidia-h100-80gb"]
GPU = H100.resource


def node(name: str, block: str = "", chips: int = 8, **more: object) -> Node:
    labels = {**H100.node_labels, **({"cloud.google.com/gce-topology-block": block} if block else {})}
    return replace(Node(name, labels=labels, allocatable={GPU: chips}), **more)  # type: ignore[arg-type]


def pod(name: str, where: str, chips: int, job: str = "job", **more: object) -> Pod:
    member = Member(job, f"uid-{job}", 1, "worker", 0, 0)
    found = Pod("ns", name, f"uid-{name}", requests=((GPU, chips),), node=where, bound=True, member=member)
    return replace(found, **more)  # type: ignore[arg-type]


def tree(nodes: list[Node], pods: list[Pod] | None = None, holds: list[Hold] | None = None) -> Domain:
    (found,) = forest(nodes, pods or [], holds or [], CATALOG)
    return found


def every(domain: Domain) -> Iterator[Domain]:
    yield domain
    for child in domain.children:
        yield from every(child)


def test_domains_by_the_labels_that_nodes_carry() -> None:
    found = tree([node("n-10", "b"), node("n-9", "b"), node("n-1", "a")])
    assert (found.level, found.name, found.chips) == ("", "nvidia-h100-80gb", Chips(free=24))
    assert [(d.level, d.name, d.nodes, d.free_nodes) for d in found.children] == [
        ("block", "a", 1, 1),
        ("block", "b", 2, 2),
    ]
    leaves = [d.name for d in every(found) if d.level == "node"]
    assert leaves == ["n-1", "n-9", "n-10"]


def test_without_labels_of_a_topology_the_nodes_stand_below_the_type() -> None:
    assert [d.level for d in tree([node("n")]).children] == ["node"]


def test_a_pod_uses_and_what_its_gang_holds_beyond_it_is_reserved() -> None:
    hold = Hold("uid-job", "ns/job", {"n": 8, "m": 8})
    found = tree([node("n"), node("m")], [pod("p", "n", 6)], [hold])
    n, m = found.children[1], found.children[0]
    assert n.chips == Chips(used=6, reserved=2)
    assert m.chips == Chips(reserved=8)
    assert (n.holders, m.holders) == (("ns/job",), ("ns/job",))
    assert found.chips == Chips(used=6, reserved=10)


def test_a_pod_that_ended_uses_nothing() -> None:
    assert tree([node("n")], [pod("p", "n", 8, phase=PodPhase.SUCCEEDED)]).chips == Chips(free=8)


def test_what_is_left_of_a_node_that_is_out_is_broken() -> None:
    nodes = [
        node("a", ready=False),
        node("b", unschedulable=True),
        node("c", taints=(Taint(TAINT_BAD_NODE, "DeviceFault", "NoSchedule"),)),
    ]
    found = tree(nodes, [pod("p", "b", 2)])
    assert [d.note for d in found.children] == ["not ready", "cordoned", "bad: DeviceFault"]
    assert found.chips == Chips(used=2, broken=22)
    assert found.free_nodes == 0


def test_a_node_of_no_known_type_goes_by_its_resource() -> None:
    (found,) = forest([Node("n", allocatable={GPU: 4})], [], [], CATALOG)
    assert (found.name, found.chips.free) == (GPU, 4)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=12
    )
)
def test_the_states_of_a_domain_are_those_of_its_parts(
    rows: list[tuple[str, int, int, bool]],
) -> None:
    nodes = [node(f"n{i}", block, ready=ready) for i, (block, _, _, ready) in enumerate(rows)]
    pods = [pod(f"p{i}", f"n{i}", used) for i, (_, used, _, _) in enumerate(rows)]
    holds = [
        Hold(f"uid-{i % 2}", "ns/x", {f"n{i}": reserved})
        for i, (_, _, reserved, _) in enumerate(rows)
        if reserved
    ]
    for root in forest(nodes, pods, holds, CATALOG):
        for domain in every(root):
            parts = domain.children
            assert min(domain.chips.used, domain.chips.reserved, domain.chips.broken, domain.chips.free) >= 0
            assert domain.chips.total == 8 * domain.nodes
            assert not parts or sum((p.chips for p in parts), Chips()) == domain.chips
