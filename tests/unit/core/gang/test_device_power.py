"""Accelerators that claims bring draw power like any others: granted, running, and until nobody has them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.catalog import Catalog
from drumline.api.reasons import Reason
from drumline.core.gang.device_capacity import resolved
from drumline.core.gang.placement import place
from drumline.core.gang.power import Budget, Power, Rating, ratings_of
from drumline.core.gang.types import GangRequest, Member, Placement, PodGroupRequest, Refusal
from tests.builders import GPU, H100, gang, node, placed, shape
from tests.unit.core.gang.device_world import (
    Site,
    claiming,
    gpus,
    raw_claim,
    raw_class,
    raw_request,
    raw_slice,
    raw_template,
)

WATTS = 700
RATINGS = (Rating(GPU, WATTS, type=H100), Rating("example.com/npu", 0, type="npu"))
TWO = raw_template("two", raw_request(2))
ONE = raw_template("one", raw_request(1))


def site(watts: float, ratings: tuple[Rating, ...] = RATINGS, **devices: int) -> Site:
    """Nodes of block `x` with so many devices, of which all together may draw so much."""
    at = Site(*(node(n, gpus=0, block="x") for n in devices))
    at.put(raw_class("gpu", "yes"), TWO, ONE, *(raw_slice(n, *gpus(k)) for n, k in devices.items()))
    at.capacity.set_power(Power((Budget("block", watts),), ratings))
    return at


def chips(uid: str, workers: int = 1, accelerator: str = H100, **more: Any) -> GangRequest:
    """A gang whose workers have two accelerators each by claim."""
    given = {"accelerator": accelerator, "chips_per_worker": 2, "chips_claim": "two"}
    return claiming(uid, workers, "two", **{**given, **more})


def admitted(at: Site, request: GangRequest) -> list[str]:
    found = resolved(request, at.capacity)
    assert not isinstance(found, Refusal), found
    placement = place(found, at.capacity)
    nodes = placed(placement)
    assert isinstance(placement, Placement)
    at.capacity.reserve(request, placement)
    return nodes


def refused(at: Site, request: GangRequest) -> Refusal:
    found = resolved(request, at.capacity)
    answer = found if isinstance(found, Refusal) else place(found, at.capacity)
    assert isinstance(answer, Refusal), answer
    return answer


def drawn(at: Site) -> float:
    return sum(s.drawn for s in at.capacity.supplies())


def test_a_gang_waits_for_the_power_of_its_devices() -> None:
    at = site(4 * WATTS, a=4, b=4)
    assert len(admitted(at, chips("one", 2))) == 2
    assert drawn(at) == 4 * WATTS
    answer = refused(at, chips("two"))
    assert answer.reason == Reason.POWER_BUDGET
    assert answer.message.startswith("there is room for 2 × nvidia-h100-80gb, but not the power")
    at.capacity.release("one")
    assert drawn(at) == 0
    assert len(admitted(at, chips("two"))) == 1


def test_other_devices_draw_nothing() -> None:
    at = site(4 * WATTS, a=8)
    nic = claiming("nic", 4, "two", accelerator="", chips_per_worker=0)
    assert len(admitted(at, nic)) == 4
    assert drawn(at) == 0


def test_a_gangs_own_claims_are_metered_once_and_until_they_are_gone() -> None:
    at = site(4 * WATTS, a=4)
    at.members["ml", "p0"] = Member("one", "one", 1, "worker", 0, 0)
    admitted(at, chips("one"))
    claim = raw_claim("c0", "a", "gpu-0", "gpu-1", pod="p0")
    at.put(claim)
    assert drawn(at) == 2 * WATTS
    at.capacity.release("one")
    assert drawn(at) == 2 * WATTS
    at.put(raw_slice("a", *gpus(1), generation=2))  # the driver names one of them no more
    assert drawn(at) == 2 * WATTS
    at.remove(claim)
    assert drawn(at) == 0


def test_claims_of_others_draw_once_it_is_known_what_they_have() -> None:
    at = site(4 * WATTS, a=4, b=4).put(raw_claim("theirs", "b", "gpu-0", "gpu-1", "gpu-2"))
    assert refused(at, chips("one")).reason == Reason.POWER_BUDGET
    assert drawn(at) == 3 * WATTS


def test_a_driver_that_comes_later_is_known_too() -> None:
    at = site(4 * WATTS, a=4)
    admitted(at, chips("one"))
    other = raw_slice("b", *gpus(4))
    other["spec"]["driver"] = "other.example.com"
    claim = raw_claim("theirs", "b", "gpu-0")
    claim["status"]["allocation"]["devices"]["results"][0]["driver"] = "other.example.com"
    at.put(claim)
    at.capacity.set_node(node("b", gpus=0, block="x"))
    assert drawn(at) == 2 * WATTS
    at.put(other)
    assert drawn(at) == 3 * WATTS


def test_a_helpers_accelerators_need_power_too() -> None:
    at = site(3 * WATTS, a=8)
    eval_ = PodGroupRequest("eval", 2, shape(claims=("one",)))
    answer = refused(at, chips("one", helpers=(eval_,)))
    assert (answer.reason, answer.message.partition(",")[0]) == (
        Reason.POWER_BUDGET,
        "there is room for 2 × eval",
    )
    admitted(at, chips("one", helpers=(replace(eval_, count=1),)))
    assert drawn(at) == 3 * WATTS


def test_a_gang_whose_template_is_gone_draws_what_it_has() -> None:
    at = site(4 * WATTS, a=4)
    at.remove(TWO)
    at.capacity.reserve(chips("one"), Placement(("a",)))
    assert drawn(at) == 2 * WATTS


def test_what_a_claimed_accelerator_draws() -> None:
    """The node's word, its labels', else the most that any with that resource draws."""
    labels = (("gpu", "h100"),)
    ratings = (Rating(GPU, 700, labels, H100), Rating(GPU, 1000, (("gpu", "b200"),), "nvidia-b200"))
    at = site(1e6, ratings, a=2, b=2, c=2)
    at.capacity.set_node(node("a", gpus=0, block="x", accelerator_watts=300))
    at.capacity.set_node(node("b", gpus=0, block="x", labels={"gpu": "h100"}))
    for number, expected in enumerate((600, 600 + 1400, 600 + 1400 + 2000)):
        at.capacity.reserve(chips(f"g{number}"), Placement(("abc"[number],)))
        assert drawn(at) == expected


def test_a_node_says_what_an_accelerator_draws_that_the_catalogue_knows_no_watts_of() -> None:
    at = site(1e6, a=2, b=2)
    at.capacity.set_node(node("a", gpus=0, block="x", accelerator_watts=300))
    at.capacity.reserve(chips("one", accelerator="npu"), Placement(("a",)))
    at.capacity.reserve(chips("two", accelerator="npu"), Placement(("b",)))
    assert drawn(at) == 600


def test_every_type_of_the_catalogue_is_known() -> None:
    known = {r.type: r.watts for r in ratings_of(Catalog.default())}
    assert (known[H100], known["tpu-v5p"], "cpu" in known) == (700, 0, False)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 1))),
        st.tuples(st.just("claim"), st.integers(0, 9)),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.just("unclaim"), st.integers(0, 9)),
    ),
    max_size=25,
)
DEVICES = {"a": 4, "b": 3, "c": 4}


class Life:
    """Gangs that get nodes, claims and devices, and end; claims of theirs stay for a while."""

    def __init__(self, budget: int) -> None:
        self.at = site(budget * WATTS, **DEVICES)
        self.held: dict[str, Counter[str]] = {}  # accelerators by node
        self.left: dict[str, tuple[str, int]] = {}  # claims of gangs that have ended
        self.claims: dict[str, list[tuple[str, str, int]]] = {}  # of gangs
        self.devices: dict[str, tuple[str, set[int]]] = {}  # claim → node, devices
        self.count = 0

    def ask(self, workers: int, helpers: int, spares: int) -> None:
        """A gang comes, and is let in or not at all."""
        self.count += 1
        uid = f"g{self.count}"
        beside = (PodGroupRequest("x", helpers, shape(claims=("one",))),) if helpers else ()
        request = chips(uid, workers, helpers=beside, spares=spares)
        found = resolved(request, self.at.capacity)
        answer = found if isinstance(found, Refusal) else place(found, self.at.capacity)
        if isinstance(answer, Refusal):
            return
        self.at.capacity.reserve(request, answer)
        sizes = [2] * workers + [1] * helpers + [2] * spares
        self.held[uid] = Counter()
        for name, size in zip(answer.nodes, sizes, strict=False):
            self.held[uid][name] += size

    def claim(self, index: int) -> None:
        """The scheduler gives a gang's pods their devices."""
        waiting = [uid for uid in self.held if uid not in self.claims]
        if not waiting:
            return
        uid = waiting[index % len(waiting)]
        self.claims[uid] = []
        for name, count in self.held[uid].items():
            claim, pod = f"{uid}-{name}", f"{uid}-{name}-pod"
            self.at.members["ml", pod] = Member(uid, uid, 1, "worker", 0, 0)
            free = sorted(set(range(DEVICES[name])) - self.taken(name))[:count]
            self.at.put(raw_claim(claim, name, *(f"gpu-{i}" for i in free), pod=pod))
            self.devices[claim] = name, set(free)
            self.claims[uid].append((claim, name, count))

    def taken(self, name: str) -> set[int]:
        """Devices of a node that claims have."""
        return set[int]().union(*(d for on, d in self.devices.values() if on == name))

    def end(self, index: int) -> None:
        """A gang ends; its claims stay."""
        if self.held:
            uid = sorted(self.held)[index % len(self.held)]
            del self.held[uid]
            self.at.capacity.release(uid)
            self.left.update({claim: (name, count) for claim, name, count in self.claims.pop(uid, [])})

    def unclaim(self, index: int) -> None:
        """A claim of a gang that has ended goes."""
        if self.left:
            claim = sorted(self.left)[index % len(self.left)]
            name, _ = self.left.pop(claim)
            del self.devices[claim]
            self.at.remove(raw_claim(claim, name))

    def draws(self) -> int:
        """Worked out from what was given alone."""
        return WATTS * (sum(c.total() for c in self.held.values()) + sum(n for _, n in self.left.values()))


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(0, 11))
def test_claimed_accelerators_never_draw_more_than_the_budget(
    steps: list[tuple[str, Any]], budget: int
) -> None:
    life = Life(budget)
    for kind, value in steps:
        if kind == "ask":
            life.ask(*value)
        else:
            getattr(life, kind)(value)
        assert life.draws() <= budget * WATTS
        assert drawn(life.at) == life.draws()


def test_claimed_and_extended_accelerators_share_a_budget() -> None:
    at = site(3 * WATTS, a=2)
    at.capacity.set_node(node("b", gpus=8, block="x"))
    extended = gang("ext", 1, gpus=2, namespace="ml")
    assert admitted(at, extended) == ["b"]
    assert refused(at, chips("one")).reason == Reason.POWER_BUDGET
