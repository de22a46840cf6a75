"""Nodes that a gang avoids serve it again when it would otherwise wait for nothing; as few of them as will do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.core.gang.admission import admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.leniency import lenient
from drumline.core.gang.placement import place
from drumline.core.gang.types import GangRequest, Placement
from tests.builders import capacity, gang, gpu_block, pod, tpu_gang, tpu_pool

HOSTS = [f"a-host-{i}" for i in range(4)]


def avoiding(size: int, *, always: str = "", ever: str = "", now: str = "") -> GangRequest:
    """A gang of whole hosts; each digit is a host of block `a` that it avoids."""
    nodes = {kind: tuple(HOSTS[int(d)] for d in digits) for kind, digits in (("e", ever), ("n", now))}
    excluded = frozenset((*nodes["e"], *nodes["n"], *(HOSTS[int(d)] for d in always)))
    return replace(gang("g", size), excluded=excluded, if_ever_possible=nodes["e"], if_possible=nodes["n"])


def free(*busy: str) -> Capacity:
    """A block of four hosts; other gangs have those of `busy`."""
    return capacity(gpu_block("a", 4), pods=[pod(f"p-{n}", on=n, gpus=8, gang=f"of-{n}") for n in busy])


def waived(request: GangRequest, state: Capacity) -> set[str]:
    return set(request.excluded - lenient(request, state).excluded)


def test_nothing_is_taken_back_while_there_is_another_place() -> None:
    request = avoiding(2, ever="0", now="1")
    assert lenient(request, free()) is not None
    assert waived(request, free()) == set()


def test_what_is_avoided_if_possible_is_used_when_nothing_else_is_free() -> None:
    request = avoiding(2, now="01")
    assert waived(request, free(HOSTS[3])) == {HOSTS[0]}
    assert waived(request, free(HOSTS[2], HOSTS[3])) == {HOSTS[0], HOSTS[1]}
    assert waived(request, free(*HOSTS)) == set()  # of no use either


def test_what_is_avoided_if_ever_possible_is_waited_for_while_others_could_end() -> None:
    request = avoiding(2, ever="01")
    assert waived(request, free(HOSTS[2], HOSTS[3])) == set()
    assert waived(avoiding(3, ever="01"), free(HOSTS[2], HOSTS[3])) == {HOSTS[0]}


def test_what_is_always_avoided_stays_so() -> None:
    request = avoiding(4, always="0", ever="1", now="2")
    assert waived(request, free()) == set()


def test_the_last_node_of_a_cluster_is_used_again_by_admission() -> None:
    state = capacity(gpu_block("a", 1))
    assert [uid for uid, _ in admit([avoiding(1, ever="0")], state, 0.0, 300.0).granted] == ["g"]
    refused = admit([avoiding(1, always="0")], capacity(gpu_block("a", 1)), 0.0, 300.0).refused
    assert "1 excluded after failures" in refused["g"].message


def test_a_whole_pool_is_taken_back_where_it_takes_a_whole_pool() -> None:
    request = tpu_gang("t", slices=1, hosts=2)
    nodes = [n.name for n in tpu_pool("p", 2)]
    request = replace(request, excluded=frozenset(nodes), if_ever_possible=tuple(nodes))
    assert waived(request, capacity(tpu_pool("p", 2))) == set(nodes)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@given(grades=st.lists(st.sampled_from("-aen"), min_size=4, max_size=4), busy=st.sets(st.integers(0, 3)))
def test_it_helps_or_changes_nothing(size: int, grades: list[str], busy: set[int]) -> None:
    picked = {g: "".join(str(i) for i, found in enumerate(grades) if found == g) for g in "aen"}
    request = avoiding(size, always=picked["a"], ever=picked["e"], now=picked["n"])
    state = free(*(HOSTS[i] for i in busy))
    found = lenient(request, state)
    assert {HOSTS[int(d)] for d in picked["a"]} <= found.excluded <= request.excluded
    usable = [i for i in range(4) if i not in busy]
    if isinstance(place(request, state), Placement):
        assert found.excluded >= request.excluded - {HOSTS[int(d)] for d in picked["e"]}
    elif sum(grades[i] in "-n" for i in usable) >= size:
        assert isinstance(place(found, state), Placement)
