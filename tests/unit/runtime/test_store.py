from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.runtime.store import Store


@dataclass(frozen=True)
class Thing:
    owner: str | None
    node: str = ""


def store() -> Store[Thing]:
    return Store({"owner": lambda thing: thing.owner, "node": lambda thing: thing.node or None})


def test_put_and_remove_return_what_was_there() -> None:
    things = store()
    assert things.put(("ns", "a"), Thing("x")) is None
    assert things.put(("ns", "a"), Thing("y")) == Thing("x")
    assert things.get("ns", "a") == Thing("y")
    assert things.remove(("ns", "a")) == Thing("y")
    assert things.remove(("ns", "a")) is None
    assert len(things) == 0


def test_objects_move_between_index_values() -> None:
    things = store()
    things.put(("ns", "a"), Thing("x"))
    things.put(("ns", "b"), Thing("x", "n1"))
    assert set(things.by("owner", "x")) == {("ns", "a"), ("ns", "b")}
    things.put(("ns", "a"), Thing("y"))
    things.put(("ns", "b"), Thing(None, "n1"))
    assert dict(things.by("owner", "x")) == {}
    assert dict(things.by("owner", "y")) == {("ns", "a"): Thing("y")}
    assert set(things.values_of("owner")) == {"y"}
    assert set(things.by("node", "n1")) == {("ns", "b")}


def test_index_holds_the_newest_object() -> None:
    things = store()
    things.put(("ns", "a"), Thing("x"))
    things.put(("ns", "a"), Thing("x", "n1"))
    assert list(things.by("owner", "x").values()) == [Thing("x", "n1")]


def test_unknown_index_is_an_error() -> None:
    with pytest.raises(KeyError):
        store().by("colour", "red")


OPERATIONS = st.lists(
    st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.sampled_from(["x", "y", ""]))), max_size=30
)


@given(OPERATIONS)
def test_indices_always_agree_with_the_objects(operations: list[tuple[str, str | None]]) -> None:
    things = store()
    for name, owner in operations:
        if owner is None:
            things.remove(("", name))
        else:
            things.put(("", name), Thing(owner or None))
    for value in ("x", "y"):
        expected = {key: thing for key, thing in things.items() if thing.owner == value}
        assert dict(things.by("owner", value)) == expected
    assert set(things.values_of("owner")) == {t.owner for t in things.values() if t.owner}
