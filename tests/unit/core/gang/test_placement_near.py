"""A gang that wants to be near others is placed in their domain if there is room, and anywhere else if not."""

from __future__ import annotations

from drumline.core.gang.placement import place
from drumline.core.gang.types import Placement
from tests.builders import capacity, gang, gpu_block, placed


def two_blocks():
    return capacity(gpu_block("a", 4, per_subblock=2), gpu_block("b", 4, per_subblock=2))


def blocks(nodes):
    return {node.partition("-")[0] for node in nodes}


def test_a_gang_goes_to_the_block_of_its_neighbours() -> None:
    for block in "ab":
        request = gang(workers=2, near=(f"{block}-host-0",), near_level="block")
        assert blocks(placed(place(request, two_blocks()))) == {block}


def test_of_two_blocks_the_fuller_one_is_taken() -> None:
    state = two_blocks()
    state.reserve(gang("other", workers=2), Placement(("b-host-0", "b-host-1")))
    request = gang(workers=2, near=("a-host-0", "b-host-0"), near_level="block")
    assert placed(place(request, state)) == ["b-host-2", "b-host-3"]


def test_without_room_near_them_it_goes_elsewhere() -> None:
    state = two_blocks()
    state.reserve(gang("other", workers=3), Placement(("b-host-0", "b-host-1", "b-host-2")))
    request = gang(workers=2, near=("b-host-0",), near_level="block")
    assert blocks(placed(place(request, state))) == {"a"}


def test_the_policy_of_the_gang_itself_stands() -> None:
    request = gang(workers=2, required="subblock", near=("b-host-3",), near_level="block")
    nodes = placed(place(request, two_blocks()))
    assert nodes in (["b-host-0", "b-host-1"], ["b-host-2", "b-host-3"])


def test_a_wish_for_an_unknown_level_or_for_lost_nodes_is_no_refusal() -> None:
    assert placed(place(gang(near=("a-host-0",), near_level="no-such-level"), two_blocks()))
    assert placed(place(gang(near=("gone",), near_level="block"), two_blocks()))
