"""Devices of a claim that have an attribute in common: counted in sets, or refused by name."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.reasons import Reason
from drumline.core.gang.device_capacity import resolved
from drumline.core.gang.devices import read_template
from drumline.core.gang.placement import place
from drumline.core.gang.power import Budget, Power, Rating
from drumline.core.gang.types import GangRequest, Member, Placement, Refusal
from tests.builders import GPU, H100, node
from tests.unit.core.gang.device_world import (
    DRIVER,
    Site,
    claiming,
    raw_claim,
    raw_class,
    raw_request,
    raw_slice,
    raw_template,
)

NUMA = f"{DRIVER}/numa"
SAME = [{"matchAttribute": NUMA}]
NAME = f"devices of class gpu in sets of 2 with the same {NUMA}"
PAIR = raw_template("pair", raw_request(2), constraints=SAME)
TWO = raw_template("two", raw_request(2))


def at_numa(*values: int | None, first: int = 0) -> list[dict[str, Any]]:
    """Devices gpu-0, … with these values; None: without the attribute."""
    return [
        {"name": f"gpu-{first + i}", "attributes": {} if v is None else {"numa": {"int": v}}}
        for i, v in enumerate(values)
    ]


def site(*values: int | None) -> Site:
    return Site("a").put(raw_class("gpu", "yes"), PAIR, TWO, raw_slice("a", *at_numa(*values)))


def ask(at: Site, request: GangRequest) -> Placement | Refusal:
    found = resolved(request, at.capacity)
    return found if isinstance(found, Refusal) else place(found, at.capacity)


def test_a_set_is_of_devices_with_one_value() -> None:
    at = site(0, 0, 0, 1, 1, 1, None, None)
    assert isinstance(ask(at, claiming("g", 2, "pair")), Placement)
    refused = ask(at, claiming("h", 3, "pair"))
    assert isinstance(refused, Refusal)
    assert f"1 {NAME}" in refused.message


def test_what_others_have_leaves_fewer_sets() -> None:
    at = site(0, 0, 0, 1, 1)
    ask(at, claiming("g", 1, "pair"))
    assert at.free(NAME) == {"a": 2}
    one, other = raw_claim("one", "a", "gpu-0"), raw_claim("other", "a", "gpu-3")
    at.put(one)
    assert at.free(NAME) == {"a": 2}, "of three two are left"
    at.put(other)
    assert at.free(NAME) == {"a": 1}
    at.put(raw_claim("set", "a", "gpu-1", "gpu-2"))
    assert at.free(NAME) == {"a": 0}
    at.remove(one)
    at.remove(other)
    assert at.free(NAME) == {"a": 1}


def test_a_gangs_own_sets_take_from_its_reservation() -> None:
    at = site(0, 0, 1, 1)
    at.members["ml", "p0"] = Member("g", "g", 1, "worker", 0, 0)
    request = claiming("g", 1, "pair")
    placement = ask(at, request)
    assert isinstance(placement, Placement)
    at.capacity.reserve(request, placement)
    at.put(raw_claim("c0", "a", "gpu-2", "gpu-3", pod="p0"))
    assert at.free(NAME) == {"a": 1}
    at.capacity.release("g")
    assert at.free(NAME) == {"a": 1}


def test_sets_and_single_devices_of_one_node_are_not_counted_together() -> None:
    at = site(0, 0, 1, 1)
    first = claiming("first", 1, "two")
    placement = ask(at, first)
    assert isinstance(placement, Placement)
    at.capacity.reserve(first, placement)
    refused = ask(at, claiming("second", 1, "pair"))
    assert isinstance(refused, Refusal)
    assert refused.reason == Reason.UNSUPPORTED_SCHEDULING
    assert (
        "beside devices of class gpu, which ml/first asks for: on node a they are the same" in refused.message
    )
    at.capacity.release("first")
    assert isinstance(ask(at, claiming("second", 1, "pair")), Placement)


def test_the_chips_of_a_set_count_and_draw() -> None:
    at = site(0, 0, 1, 1)
    at.capacity.set_node(node("a", gpus=0, block="x"))
    at.capacity.set_power(Power((Budget("block", 1500),), (Rating(GPU, 700, type=H100),)))
    chips = {"accelerator": H100, "chips_per_worker": 2, "chips_claim": "pair"}
    request = claiming("g", 1, "pair", **chips)
    placement = ask(at, request)
    assert isinstance(placement, Placement)
    at.capacity.reserve(request, placement)
    assert [s.drawn for s in at.capacity.supplies()] == [1400]
    refused = ask(at, claiming("h", 1, "pair", **chips))
    assert isinstance(refused, Refusal)
    assert refused.reason == Reason.POWER_BUDGET


def test_values_are_told_apart_by_kind_too() -> None:
    odd = [{"name": "x", "attributes": {"numa": {"bool": True}}}, *at_numa(1)]
    at = Site("a").put(raw_class("gpu", "yes"), PAIR, raw_slice("a", *odd))
    assert isinstance(ask(at, claiming("g", 1, "pair")), Refusal)


def test_constraints_of_several_requests_hold_for_all_devices_of_the_claim() -> None:
    both = raw_template("t", raw_request(1, name="x"), raw_request(1, name="y"), constraints=SAME)
    found = read_template(both)
    assert (found.odd, found.devices, [count for _, count in found.asks]) == ((), 2, [1])
    twice = raw_template(
        "t", raw_request(4), constraints=[*SAME, {"matchAttribute": "a/b", "requests": ["r"]}]
    )
    assert read_template(twice).asks[0][0].same == ("a/b", NUMA)


def most_sets(values: dict[str, int], size: int) -> int:
    """How many sets can be taken one after the other, by trying everything."""
    for chosen in combinations(sorted(values), size):
        if len({values[name] for name in chosen}) == 1:  # which ones of a value makes no difference
            rest = {name: value for name, value in values.items() if name not in chosen}
            return 1 + most_sets(rest, size)
    return 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 2), max_size=8),
    st.integers(1, 3),
    st.lists(st.sets(st.integers(0, 7), min_size=1, max_size=3), max_size=3),
)
def test_sets_are_as_many_as_can_be_taken(values: list[int], size: int, claims: list[set[int]]) -> None:
    template = raw_template("some", raw_request(size), constraints=SAME)
    at = Site("a").put(raw_class("gpu", "yes"), template, raw_slice("a", *at_numa(*values)))
    taken: set[int] = set()
    for number, claim in enumerate(claims):
        if claim and taken.isdisjoint(claim) and max(claim) < len(values):
            taken |= claim
            at.put(raw_claim(f"c{number}", "a", *(f"gpu-{i}" for i in sorted(claim))))
    ask(at, claiming("g", 1, "some"))
    free = at.free(f"devices of class gpu in sets of {size} with the same {NUMA}").get("a", 0)
    left = {f"gpu-{i}": v for i, v in enumerate(values) if i not in taken}
    assert free == most_sets(left, size)
