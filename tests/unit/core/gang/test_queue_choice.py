"""Which queue a gang waits in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from drumline.api.queue import NamespaceSelector
from drumline.api.reasons import Reason
from drumline.api.validation_queue import parse_queue
from drumline.core.gang.queue_choice import QueueEntry, asks_namespaces, choose, rivals, selected
from drumline.core.gang.types import Refusal

EVERY: Mapping[str, Any] = {"namespaceSelector": {}}


def entry(name: str, **raw: Any) -> QueueEntry:
    spec, errors = parse_queue({**EVERY, **raw})
    return QueueEntry(name, spec, "; ".join(map(str, errors)))


def entries(*made: QueueEntry) -> dict[str, QueueEntry]:
    return {each.name: each for each in made}


def refused(answer: str | Refusal) -> Refusal:
    assert isinstance(answer, Refusal)
    return answer


def test_without_any_queue_a_name_has_no_effect() -> None:
    assert choose("research", "product", "team", None, {}) == ""


@pytest.mark.parametrize(("field", "label"), [("a", None), (None, "a"), ("a", "a")])
def test_a_queue_is_named_by_field_or_label(field: str | None, label: str | None) -> None:
    assert choose(field, label, "team", {}, entries(entry("a"), entry("b", default=True))) == "a"


def test_field_and_label_that_differ_are_both_named() -> None:
    answer = refused(choose("a", "b", "team", {}, entries(entry("a"), entry("b"))))
    assert answer.reason == Reason.QUEUE_AMBIGUOUS
    assert "names queue a" in answer.message
    assert "names b" in answer.message


def test_a_queue_that_there_is_not_is_waited_for() -> None:
    answer = refused(choose("z", None, "team", {}, entries(entry("b"), entry("a"))))
    assert answer == Refusal(Reason.QUEUE_NOT_FOUND, "there is no AcceleratorQueue z; there are: a, b")


def test_where_all_namespaces_may_use_a_queue_none_has_to_be_known() -> None:
    queues = entries(entry("a", default=True), entry("b", namespaceSelector={"matchLabels": {"team": "b"}}))
    assert choose("a", None, "team", None, queues) == "a"
    assert choose(None, None, "team", None, queues) == "a"
    assert refused(choose("b", None, "team", None, queues)).reason == Reason.QUEUED
    lacks = refused(choose("b", None, "team", None, queues, "namespaces is forbidden"))
    assert (lacks.reason, "namespaces is forbidden" in lacks.message) == (Reason.NAMESPACES_UNKNOWN, True)
    assert choose(None, None, "team", {"team": "b"}, queues, "is forbidden") == "a"


def test_which_queues_ask_for_namespaces() -> None:
    labelled = entry("b", namespaceSelector={"matchLabels": {"team": "b"}})
    asks = [
        [entry("a", default=True), entry("b", namespaceSelector=None), entry("c", maxRunSeconds=0)],
        [labelled],
        [entry("a", default=True), entry("b", default=True)],
    ]
    assert [asks_namespaces(queues) for queues in asks] == [False, True, True]


def test_a_queue_that_does_not_hold_says_why() -> None:
    answer = refused(choose("a", None, "team", {}, entries(entry("a", maxRunSeconds=0))))
    assert answer.reason == Reason.QUEUE_INVALID
    assert "spec.maxRunSeconds" in answer.message


@pytest.mark.parametrize("selector", [None, {"matchLabels": {"team": "b"}}])
def test_a_queue_has_to_be_for_the_namespace(selector: Any) -> None:
    queue = entry("a", namespaceSelector=selector)
    answer = refused(choose("a", None, "team", {"team": "a"}, entries(queue)))
    assert answer.reason == Reason.QUEUE_NOT_ALLOWED
    assert "is not for namespace team" in answer.message


def test_nothing_is_told_of_a_namespace_that_was_not_seen() -> None:
    labelled = entry("a", default=True, namespaceSelector={"matchLabels": {"team": "b"}})
    assert refused(choose(None, None, "team", None, entries(labelled))).reason == Reason.QUEUED


def test_the_default_of_the_namespace_takes_who_names_none() -> None:
    queues = entries(
        entry("a", default=True, namespaceSelector={"matchLabels": {"team": "a"}}),
        entry("b", default=True, namespaceSelector={"matchLabels": {"team": "b"}}),
        entry("c"),
    )
    assert choose(None, None, "team", {"team": "b"}, queues) == "b"
    assert choose(None, None, "team", {"team": "c"}, queues) == ""


def test_two_defaults_are_a_fault_that_names_both() -> None:
    queues = entries(entry("b", default=True), entry("a", default=True), entry("c"))
    answer = refused(choose(None, None, "team", {}, queues))
    assert answer.reason == Reason.QUEUE_AMBIGUOUS
    assert "queues a, b are each the default of namespace team" in answer.message
    assert choose("a", None, "team", {}, queues) == "a"
    assert rivals(queues, {"team": {}}, {}) == {"a": ("team", ("b",)), "b": ("team", ("a",))}


def test_defaults_that_share_no_namespace_are_no_rivals() -> None:
    queues = entries(
        entry("a", default=True, namespaceSelector={"matchLabels": {"team": "a"}}),
        entry("b", default=True),
    )
    assert rivals(queues, {"x": {"team": "b"}}, {}) == {}
    assert rivals(queues, {"x": {"team": "b"}, "y": {"team": "a"}}, {}) == {
        "a": ("y", ("b",)),
        "b": ("y", ("a",)),
    }


@pytest.mark.parametrize(
    ("term", "holds"),
    [
        ({"operator": "In", "values": ["a", "b"]}, True),
        ({"operator": "In", "values": ["b"]}, False),
        ({"operator": "NotIn", "values": ["b"]}, True),
        ({"operator": "Exists"}, True),
        ({"operator": "DoesNotExist"}, False),
    ],
)
def test_expressions_are_compared_as_kubernetes_does(term: dict[str, Any], holds: bool) -> None:
    selector = NamespaceSelector.model_validate({"matchExpressions": [{"key": "team", **term}]})
    assert selected(selector, {"team": "a"}) is holds


def test_a_label_that_is_absent_is_in_no_list_but_not_in_any() -> None:
    both = [{"key": "team", "operator": o, "values": ["a"]} for o in ("In", "NotIn")]
    found = [NamespaceSelector.model_validate({"matchExpressions": [term]}) for term in both]
    assert [selected(selector, {}) for selector in found] == [False, True]
