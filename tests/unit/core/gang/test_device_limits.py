"""Kinds of asks that are counted at a time: so many of a namespace, so many of the cluster."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.api.reasons import Reason
from drumline.core.gang import device_asks
from drumline.core.gang.device_asks import Relations
from drumline.core.gang.device_limits import MAX_ASKS, MAX_OF_NAMESPACE
from drumline.core.gang.types import GangRequest, Placement, Refusal
from tests.unit.core.gang.device_world import (
    Site,
    claiming,
    gpus,
    raw_class,
    raw_request,
    raw_slice,
    raw_template,
)


def template(name: str, *keys: str, namespace: str = "ml") -> dict[str, Any]:
    """A template with a request for each key, all of which match all devices."""
    requests = [
        raw_request(1, "gpu", "yes", name=key, tolerations=[{"key": key, "operator": "Exists"}])
        for key in keys
    ]
    made = raw_template(name, *requests)
    made["metadata"]["namespace"] = namespace
    return made


def site() -> Site:
    return Site("a", "b").put(
        raw_class("gpu", "yes"), raw_slice("a", *gpus(8)), raw_slice("b", *gpus(8), name="b")
    )


def resolve(at: Site, uid: str, *keys: str, namespace: str = "ml") -> GangRequest | Refusal:
    at.put(template(f"{namespace}-{uid}", *keys, namespace=namespace))
    return at.devices.resolve(claiming(uid, 1, f"{namespace}-{uid}", namespace=namespace))


def fill(at: Site, namespace: str, count: int = MAX_OF_NAMESPACE) -> None:
    for number in range(count):
        found = resolve(at, f"{namespace}{number}", f"{namespace}{number}", namespace=namespace)
        assert not isinstance(found, Refusal), found.message


def test_a_namespace_has_so_many_kinds_of_asks_at_a_time() -> None:
    at = site()
    fill(at, "ml")
    refusal = resolve(at, "more", "more")
    assert isinstance(refusal, Refusal)
    assert refusal.reason == Reason.UNSUPPORTED_SCHEDULING
    for part in ("1 new way(s)", "namespace ml has 16 in use", "counts 16 of a namespace at a time"):
        assert part in refusal.message
    assert len(at.devices._asks) == MAX_OF_NAMESPACE, "nothing is computed for it"
    assert not isinstance(resolve(at, "like0", "ml0"), Refusal), "another job that asks like one there is"
    assert not isinstance(resolve(at, "theirs", "theirs", namespace="other"), Refusal)


def test_kinds_that_nobody_has_any_more_make_room() -> None:
    at = site()
    fill(at, "ml")
    assert isinstance(resolve(at, "more", "more"), Refusal)
    at.capacity.forget("ml3")
    at.devices.forget("ml3")
    assert not isinstance(resolve(at, "more", "more"), Refusal)
    assert isinstance(resolve(at, "back", "ml3"), Refusal), "it is as new as any other now"


def test_a_job_that_asks_in_too_many_ways_never_begins() -> None:
    at = site()
    refusal = resolve(at, "greedy", *(f"k{n}" for n in range(MAX_OF_NAMESPACE + 1)))
    assert isinstance(refusal, Refusal)
    assert "17 new way(s)" in refusal.message
    assert not at.devices._asks


def test_the_cluster_has_so_many_kinds_of_asks_at_a_time() -> None:
    at = site()
    for number in range(MAX_ASKS // MAX_OF_NAMESPACE):
        fill(at, f"team-{number}-")
    refusal = resolve(at, "more", "more", namespace="late")
    assert isinstance(refusal, Refusal)
    assert "the cluster has 64 in use" in refusal.message
    assert "counts 64 of all namespaces at a time" in refusal.message


def test_what_a_gang_holds_is_counted_whatever_others_ask_for() -> None:
    at = site()
    fill(at, "ml")
    at.put(template("held", "held"))
    at.capacity.reserve(claiming("held", 1, "held"), Placement(("a",)))
    assert 7 in {at.free(name).get("a") for name in at.devices._asks}


def test_a_gang_whose_template_is_another_now_keeps_what_it_has() -> None:
    at = site()
    at.put(template("held", "held"))
    held = claiming("held", 1, "held")
    at.capacity.reserve(held, Placement(("a",)))
    fill(at, "ml", MAX_OF_NAMESPACE - 1)
    names = set(at.devices._asks)
    at.put(template("held", "other"))
    at.capacity.reserve(held, Placement(("a",)))
    assert set(at.devices._asks) == names


def test_asks_that_match_the_same_are_not_compared_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    real = device_asks.permutations

    def counted(items: Any, size: int) -> Any:
        for pair in real(items, size):
            compared.append(1)
            yield pair

    monkeypatch.setattr(device_asks, "permutations", counted)
    relations = Relations()
    same = frozenset({("d", "p", "0"), ("d", "p", "1")})
    names = [f"ask-{n}" for n in range(50)]
    equals = relations.renew("a", dict.fromkeys(names, same), ())
    assert set(equals["ask-0"]) == {*names} - {"ask-0"}
    assert not compared


def test_relations_name_a_node_where_they_hold_and_end_with_it() -> None:
    one, two, three = (frozenset({("d", "p", n) for n in part}) for part in ("ab", "b", "c"))
    relations = Relations()
    relations.renew("x", {"a": one, "b": one, "c": three}, ())
    relations.renew("y", {"a": one, "b": two, "c": one}, ())
    relations.renew("z", {"a": one, "b": two, "c": one}, ("c",))
    assert relations.meeting("a", "b") == "x"
    assert relations.meeting("a", "c") == "y"
    assert dict(relations.overlapping("a")) == {"b": "y", "c": "z"}
    assert dict(relations.overlapping("b")) == {"a": "y", "c": "y"}
    relations.renew("y", {}, ())
    assert dict(relations.overlapping("b")) == {"a": "z", "c": "z"}
    relations.renew("z", {"a": one}, ())
    assert not dict(relations.overlapping("b"))
    assert relations.meeting("a", "c") == ""
