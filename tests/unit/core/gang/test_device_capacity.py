"""Devices counted as resources: what is free, what a gang gets, and what can't be counted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.reasons import Reason
from drumline.core.gang.device_capacity import resolved
from drumline.core.gang.devices import Device
from drumline.core.gang.placement import place
from drumline.core.gang.types import GangRequest, Member, Placement, Refusal
from tests.builders import capacity, node, placed, shape
from tests.unit.core.gang.device_world import (
    Site,
    claiming,
    gpus,
    matches,
    raw_claim,
    raw_class,
    raw_request,
    raw_slice,
    raw_template,
)

CLASS = raw_class("gpu", "yes")
TWO = raw_template("two", raw_request(2))
TAINT = {"key": "gpu.example.com/unhealthy", "value": "xid", "effect": "NoSchedule"}


def site(**devices: int) -> Site:
    """Nodes with so many devices, a class of all of them, and template `two` for two of them."""
    return Site(*devices).put(CLASS, TWO, *(raw_slice(n, *gpus(count)) for n, count in devices.items()))


def ask(at: Site, request: GangRequest) -> Placement | Refusal:
    found = resolved(request, at.capacity)
    return found if isinstance(found, Refusal) else place(found, at.capacity)


def admitted(at: Site, request: GangRequest) -> list[str]:
    placement = ask(at, request)
    assert isinstance(placement, Placement), placement
    at.capacity.reserve(request, placement)
    return placed(placement)


def refused(at: Site, request: GangRequest) -> Refusal:
    found = ask(at, request)
    assert isinstance(found, Refusal), found
    return found


def test_a_gang_gets_devices_and_the_next_one_what_is_left() -> None:
    at = site(a=4, b=4, c=2)
    assert sorted(admitted(at, claiming("g", 4))) == ["a", "a", "b", "b"]
    assert at.free() == {"a": 0, "b": 0, "c": 2}
    refusal = refused(at, claiming("h", 2, accelerator="nvidia-h100-80gb", chips_per_worker=2))
    assert refusal.reason == Reason.INSUFFICIENT_ACCELERATORS
    assert refusal.message == (
        "needs 4 × nvidia-h100-80gb (each worker 2 devices of class gpu); 2 free (1/3 nodes usable: 2 insufficient devices of class gpu)"
    )
    at.capacity.release("g")
    assert at.free() == {"a": 4, "b": 4, "c": 2}


def test_a_node_without_devices_takes_none_that_asks_for_some() -> None:
    at = site(a=1)
    assert "insufficient devices of class gpu" in refused(at, claiming("g", 1)).message


def test_devices_of_others_are_taken() -> None:
    at = site(a=4)
    admitted(at, claiming("warm", 1))
    at.capacity.release("warm")
    claim = raw_claim("c", "a", "gpu-0", "gpu-1", "gpu-2")
    at.put(claim)
    assert at.free() == {"a": 1}
    at.remove(claim)
    assert at.free() == {"a": 4}


def test_claims_are_known_to_asks_that_come_later() -> None:
    at = site(a=4).put(raw_claim("c", "a", "gpu-0", "gpu-1", "gpu-2"))
    assert "insufficient devices" in refused(at, claiming("g", 1)).message


def test_a_gangs_own_claims_take_from_its_reservation() -> None:
    at = site(a=4)
    at.members["ml", "p0"] = Member("g", "g", 1, "worker", 0, 0)
    admitted(at, claiming("g", 1))
    at.put(raw_claim("c0", "a", "gpu-0", "gpu-1", pod="p0"))
    assert at.free() == {"a": 2}
    at.capacity.release("g")
    assert at.free() == {"a": 2}
    at.remove(raw_claim("c0", "a"))
    assert at.free() == {"a": 4}


def test_a_claim_that_is_seen_before_its_pod_becomes_the_gangs() -> None:
    at = site(a=4)
    admitted(at, claiming("g", 1))
    at.put(raw_claim("c0", "a", "gpu-0", "gpu-1", pod="p0"))
    assert at.free() == {"a": 0}
    at.devices.pod_seen("p0-uid", Member("g", "g", 1, "worker", 0, 0))
    assert at.free() == {"a": 2}


def test_a_slice_lets_a_gang_in_and_a_taint_keeps_it_out() -> None:
    at = site(a=2)
    assert isinstance(ask(at, claiming("g", 2)), Refusal)
    at.put(raw_slice("a", *gpus(4), generation=2))
    assert isinstance(ask(at, claiming("g", 2)), Placement)
    at.put(raw_slice("a", *gpus(3), {"name": "gpu-3", "taints": [TAINT]}, generation=3))
    assert isinstance(ask(at, claiming("g", 2)), Refusal)
    tolerant = raw_request(2, tolerations=[{"key": TAINT["key"], "operator": "Exists"}])
    at.put(raw_template("brave", tolerant))
    at.capacity.forget("g")
    assert isinstance(ask(at, claiming("h", 2, "brave")), Placement)


def test_a_node_that_comes_after_its_slice_has_its_devices() -> None:
    at = site(a=2)
    assert isinstance(ask(at, claiming("g", 2)), Refusal)
    at.put(raw_slice("b", *gpus(2)))
    at.capacity.set_node(node("b"))
    assert isinstance(ask(at, claiming("g", 2)), Placement)
    at.capacity.remove_node("b")
    assert isinstance(ask(at, claiming("g", 2)), Refusal)


def test_other_resources_count_beside_devices() -> None:
    at = Site(node("a", cpu=3)).put(CLASS, TWO, raw_slice("a", *gpus(8)))
    worker = shape(cpu=2, claims=("two",))
    refusal = refused(at, claiming("g", 2, worker=worker))
    assert refusal.message == "needs 2 × worker (each 2 devices of class gpu); 1 free (1/1 node usable)"


def test_every_claim_of_a_pod_counts() -> None:
    at = site(a=8).put(raw_template("one", raw_request(1)))
    assert len(admitted(at, claiming("g", 2, "two", "two"))) == 2
    assert at.free() == {"a": 0}


def test_disjoint_devices_are_counted_apart() -> None:
    mixed = raw_slice("a", *gpus(2, model="h100"), *gpus(4, 2, model="a100"))
    at = Site("a").put(CLASS, mixed)
    for model in ("h100", "a100"):
        at.put(raw_template(model, raw_request(2, "gpu", f"model={model}")))
    assert len(admitted(at, claiming("g", 1, "h100", "a100"))) == 1
    assert isinstance(ask(at, claiming("h", 1, "h100")), Refusal)
    assert isinstance(ask(at, claiming("i", 1, "a100")), Placement)


def test_equal_devices_under_two_names_are_taken_once() -> None:
    at = Site("a", "b").put(
        CLASS, TWO, raw_slice("a", *gpus(4, model="h100")), raw_slice("b", *gpus(2, model="a100"))
    )
    at.put(raw_template("picky", raw_request(2, "gpu", "model=h100")))
    picky = claiming("p", 1, "picky")
    assert admitted(at, picky) == ["a"]
    assert at.free() == {}
    any_of_them = claiming("g", 2)
    assert sorted(admitted(at, any_of_them)) == ["a", "b"]
    assert isinstance(ask(at, claiming("x", 1, "picky")), Refusal)
    assert isinstance(ask(at, claiming("y", 1)), Refusal)
    at.capacity.release("g")
    assert admitted(at, claiming("z", 1, "picky")) == ["a"]


def test_devices_that_overlap_in_part_are_refused_while_somebody_asks_for_the_others() -> None:
    at = Site("a").put(CLASS, TWO, raw_slice("a", *gpus(2, model="h100"), *gpus(2, 2, model="a100")))
    at.put(raw_template("picky", raw_request(1, "gpu", "model=h100")))
    admitted(at, claiming("g", 1))
    refusal = refused(at, claiming("p", 1, "picky"))
    assert refusal.reason == Reason.UNSUPPORTED_SCHEDULING
    for part in ("devices of class gpu [", "beside devices of class gpu", "which ml/g asks for", "node a"):
        assert part in refusal.message
    at.capacity.release("g")
    admitted(at, claiming("p", 1, "picky"))
    assert "which ml/p asks for" in refused(at, claiming("h", 1)).message


def test_requests_of_one_pod_for_the_same_devices_are_refused() -> None:
    at = Site("a").put(CLASS, raw_slice("a", *gpus(4, model="h100")))
    at.put(raw_template("both", raw_request(1), raw_request(1, "gpu", "model=h100", name="s")))
    refusal = refused(at, claiming("g", 1, "both"))
    assert "of one pod are the same devices on node a: make them one request" in refusal.message


@pytest.mark.parametrize(
    ("template", "slices", "text"),
    [
        (raw_template("other", raw_request()), (), "resourceclaimtemplate ml/two does not exist"),
        (raw_template("two", raw_request(1, "tpu")), (), "deviceclass tpu does not exist"),
        (
            raw_template("two", raw_request(allocationMode="All")),
            (),
            "resourceclaimtemplate ml/two: gang placement does not model requests[r].allocationMode All",
        ),
        (
            raw_template("two", raw_request(1, "gpu", *(f"n={n}" for n in range(17)))),
            (),
            "resourceclaimtemplate ml/two: gang placement does not model more than 16 selectors",
        ),
        (raw_template("two", raw_request(33)), (), "asks for 33 devices; a claim has at most 32"),
        (
            raw_template("two", raw_request(1, "gpu", "broken")),
            (raw_slice("a", "d"),),
            "selector 'broken' on device gpu.example.com/a/d: no such key",
        ),
        (
            TWO,
            (raw_slice("", "d", pool="shared", allNodes=True),),
            "device gpu.example.com/shared/d matches, pool shared is not of one node (allNodes)",
        ),
        (
            TWO,
            (raw_slice("a", {"name": "d", "consumesCounters": [{}]}),),
            "device gpu.example.com/a/d matches, which is a part of something (consumesCounters)",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused_by_name(
    template: dict[str, Any], slices: tuple[dict[str, Any], ...], text: str
) -> None:
    at = Site("a").put(CLASS, template, *slices)
    assert text in refused(at, claiming("g", 1)).message


def test_what_is_put_right_is_counted_from_then_on() -> None:
    at = Site("a").put(
        CLASS, TWO, raw_slice("a", *gpus(2)), raw_slice("", "d", pool="s", name="s", allNodes=True)
    )
    assert "not of one node" in refused(at, claiming("g", 1)).message
    at.put(raw_class("gpu", "model=h100"))
    assert "insufficient devices" in refused(at, claiming("g", 1)).message
    at.put(raw_slice("a", *gpus(2, model="h100"), generation=2))
    assert admitted(at, claiming("g", 1)) == ["a"]


def test_an_ask_that_is_new_has_only_its_own_selectors_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    at = Site("n0", "n1").put(raw_class(), raw_slice("n0", *gpus(2, model="a")))
    at.put(
        raw_slice("n1", *gpus(2, model="b")),
        raw_template("a", raw_request(1, "gpu", "model=a")),
        raw_template("b", raw_request(1, "gpu", "model=b")),
    )
    at.devices.resolve(claiming("u1", 1, "a"))
    evaluated: list[str] = []

    def noted(expression: str, device: Device, _namespaces: object) -> bool:
        evaluated.append(expression)
        return matches(expression, device)

    monkeypatch.setattr(at.devices, "_matches", noted)
    assert not isinstance(at.devices.resolve(claiming("u2", 1, "b")), Refusal)
    assert evaluated == ["model=b"] * 4


def test_the_claim_that_brings_the_accelerators_brings_as_many_as_a_worker_has() -> None:
    at = site(a=8)
    refusal = refused(at, claiming("g", 1, accelerator="h100", chips_per_worker=4, chips_claim="two"))
    assert refusal.reason == Reason.UNSUPPORTED_SCHEDULING
    assert "resourceclaimtemplate ml/two asks for 2 device(s), and a worker has 4 × h100" in refusal.message
    assert isinstance(
        ask(at, claiming("g", 1, accelerator="h100", chips_per_worker=2, chips_claim="two")), Placement
    )


def test_a_gang_keeps_its_devices_when_its_template_is_deleted() -> None:
    at = site(a=4)
    admitted(at, claiming("g", 1))
    at.remove(TWO)
    at.capacity.reserve(claiming("g", 1), Placement(("a",)))
    assert at.free() == {"a": 2}


def test_without_the_api_claims_are_refused() -> None:
    found = resolved(claiming("g", 1), capacity(node("a")))
    assert isinstance(found, Refusal)
    assert "nothing is known of devices" in found.message


def test_claims_of_a_gang_that_is_pinned_to_no_node_are_the_schedulers() -> None:
    request = claiming("g", 1, unpinned=True)
    assert resolved(request, capacity(node("a"))) == request


def test_nothing_is_counted_where_nobody_asks() -> None:
    at = site(a=4).put(raw_claim("c", "a", "gpu-0"))
    assert at.free() == {}
    assert not at.capacity.now.used("a")


MODELS = st.lists(st.sampled_from(["h100", "a100"]), max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("slice"), st.sampled_from("ab"), MODELS),
        st.tuples(st.just("claim"), st.sampled_from("ab"), st.sets(st.integers(0, 3))),
        st.tuples(st.just("gang"), st.sampled_from(["two", "h", "a", "pair"]), st.integers(1, 2)),
        st.tuples(st.just("end"), st.integers(0, 3), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_counts_never_depend_on_how_things_came_about(steps: list[tuple[str, Any, Any]]) -> None:
    at, raws, gangs = Site("a", "b"), dict[str, dict[str, Any]](), dict[str, tuple[GangRequest, Placement]]()
    for raw in _kinds():
        at.put(raw)
    for number, (kind, which, what) in enumerate(steps):
        if kind == "slice":
            devices = [
                {"name": f"gpu-{i}", "attributes": {"model": {"string": m}}} for i, m in enumerate(what)
            ]
            raws[f"slice-{which}"] = raw_slice(which, *devices, generation=number)
            at.put(raws[f"slice-{which}"])
        elif kind == "claim":
            raws[f"claim-{which}"] = raw_claim(f"claim-{which}", which, *(f"gpu-{i}" for i in sorted(what)))
            at.put(raws[f"claim-{which}"])
        elif kind == "gang":
            request = claiming(f"g{number}", what, which)
            if isinstance(placement := ask(at, request), Placement):
                at.capacity.reserve(request, placement)
                gangs[request.uid] = request, placement
        elif which < len(gangs):
            uid = list(gangs)[which]
            at.capacity.release(uid)
            del gangs[uid]
    again = Site("a", "b").put(*_kinds(), *raws.values())
    for request, placement in gangs.values():
        again.capacity.reserve(request, placement)
    names = {n for v in again.capacity.nodes.values() for n in v.allocatable if n.startswith("devices")}
    assert {n: at.free(n) for n in names} == {n: again.free(n) for n in names}


def _kinds() -> list[dict[str, Any]]:
    picky = [raw_template(m[0], raw_request(1, "gpu", f"model={m}")) for m in ("h100", "a100")]
    same = [{"matchAttribute": "gpu.example.com/model"}]
    return [CLASS, TWO, raw_template("pair", raw_request(2), constraints=same), *picky]
