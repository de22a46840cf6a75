"""Selectors of which it is not known yet what they match: nobody gets what may be another's meanwhile."""

from __future__ import annotations

from collections.abc import Collection

from drumline.api.reasons import Reason
from drumline.core.gang.device_asks import NotYetError, SelectorError
from drumline.core.gang.device_capacity import resolved
from drumline.core.gang.devices import Device
from drumline.core.gang.placement import place
from drumline.core.gang.types import GangRequest, Placement, Refusal
from tests.unit.core.gang.device_world import (
    Site,
    claiming,
    gpus,
    matches,
    raw_class,
    raw_request,
    raw_slice,
    raw_template,
)

TWO = raw_template("two", raw_request(2))
H100 = raw_template("h100", raw_request(2, "gpu", "model=h100"))


class Slow:
    """Knows nothing until it is `told`."""

    def __init__(self, *known: str) -> None:
        self.known = set(known)
        self.asked: list[tuple[str, str, frozenset[str]]] = []

    def __call__(self, expression: str, device: Device, namespaces: Collection[str]) -> bool:
        if expression not in self.known:
            self.asked.append((expression, device.id[2], frozenset(namespaces)))
            raise NotYetError
        return matches(expression, device)


def site(slow: Slow, **devices: int) -> Site:
    at = Site(*devices, matches=slow).put(raw_class("gpu", "yes"), TWO, H100)
    return at.put(*(raw_slice(n, *gpus(count, model="h100")) for n, count in devices.items()))


def answer(at: Site, slow: Slow, expression: str) -> None:
    slow.known.add(expression)
    at.devices.answered(expression)


def ask(at: Site, request: GangRequest) -> Placement | Refusal:
    found = resolved(request, at.capacity)
    return found if isinstance(found, Refusal) else place(found, at.capacity)


def test_a_gang_waits_until_it_is_known_what_its_selectors_match() -> None:
    slow = Slow()
    at = site(slow, a=2, b=2)
    found = ask(at, claiming("g", 2))
    assert isinstance(found, Refusal)
    assert found.reason == Reason.PREFLIGHT
    assert found.message == "the selectors of devices of class gpu are being evaluated on 2 node(s)"
    assert {device for _, device, _ in slow.asked} == {"gpu-0", "gpu-1"}, "all of them in one go"
    answer(at, slow, "another")
    assert isinstance(ask(at, claiming("g", 2)), Refusal)
    answer(at, slow, "yes")
    assert isinstance(ask(at, claiming("g", 2)), Placement)


def test_a_selector_is_asked_once_those_before_it_hold() -> None:
    slow = Slow("yes")
    at = site(slow, a=2)
    assert isinstance(ask(at, claiming("g", 1, "h100")), Refusal)
    assert {expression for expression, _, _ in slow.asked} == {"model=h100"}
    answer(at, slow, "model=h100")
    assert isinstance(ask(at, claiming("g", 1, "h100")), Placement)


def test_each_namespace_asks_for_itself_what_is_not_known_yet() -> None:
    slow = Slow()
    at = site(slow, a=2)
    two = raw_template("two", raw_request(2))
    two["metadata"]["namespace"] = "other"
    at.put({**two, "metadata": {**two["metadata"]}})
    at.devices.set_template(None, at._seen["set_template", "two"])
    ask(at, claiming("g", 1))
    ask(at, claiming("h", 1, namespace="other"))
    assert [who for _, _, who in slow.asked if "other" in who] == [frozenset({"ml", "other"})] * 2
    asked = len(slow.asked)
    ask(at, claiming("h", 1, namespace="other"))
    assert len(slow.asked) == asked, "once"


def test_nobody_is_let_in_before_it_is_known_what_gangs_hold() -> None:
    """As after a restart: the gang's request matches the same devices as that of who comes."""
    slow = Slow("yes")
    at = site(slow, a=2)
    at.capacity.reserve(claiming("held", 1, "h100"), Placement(("a",)))
    found = ask(at, claiming("new", 1))
    assert isinstance(found, Refusal)
    assert found.reason == Reason.PREFLIGHT
    answer(at, slow, "model=h100")
    late = ask(at, claiming("new", 1))
    assert isinstance(late, Refusal)
    assert "insufficient devices of class gpu" in late.message


def test_one_that_holds_nothing_holds_nobody_up() -> None:
    slow = Slow("yes")
    at = site(slow, a=2)
    assert isinstance(ask(at, claiming("waits", 1, "h100")), Refusal)
    assert isinstance(ask(at, claiming("new", 1)), Placement)


def test_nobody_is_let_in_while_devices_change_of_which_a_gang_holds_some() -> None:
    slow = Slow("yes", "model=h100")
    at = site(slow, a=2)
    held = claiming("held", 1, "h100")
    ask(at, held)
    at.capacity.reserve(held, Placement(("a",)))
    assert at.free() == {}
    ask(at, claiming("new", 1))
    assert at.free() == {"a": 0}
    slow.known.discard("model=h100")
    at.put(raw_slice("a", *gpus(4, model="h100"), generation=2))
    found = ask(at, claiming("new", 1))
    assert isinstance(found, Refusal)
    assert found.reason == Reason.PREFLIGHT, "who has which of them can't be told"
    answer(at, slow, "model=h100")
    assert at.free() == {"a": 2}
    assert isinstance(ask(at, claiming("new", 1)), Placement)


def test_what_could_not_be_told_is_asked_for_again_once_it_can_be() -> None:
    slow, ill = Slow("yes"), [True]

    def told(expression: str, device: Device, namespaces: Collection[str]) -> bool:
        if ill[0]:
            raise SelectorError("not now")
        return slow(expression, device, namespaces)

    at = Site("a", matches=told).put(raw_class("gpu", "yes"), TWO, raw_slice("a", *gpus(2)))
    found = ask(at, claiming("g", 1))
    assert isinstance(found, Refusal)
    assert "not now" in found.message
    ill.clear()
    ill.append(False)
    at.devices.answered("another")
    assert isinstance(ask(at, claiming("g", 1)), Refusal)
    at.devices.answered("yes")
    assert isinstance(ask(at, claiming("g", 1)), Placement)
