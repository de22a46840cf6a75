"""How many pods fit, and the words for why none does."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.core.gang.feasibility import charge_of, fits, port_key, tolerates, why_not
from drumline.core.gang.types import Node, PodShape, Requirement, Taint, Toleration
from tests.builders import GPU, GPU_TAINT, TOLERATE_GPU, node, shape

LABELS = {"zone": "a", "size": "8", "bad": "x"}


@pytest.mark.parametrize(
    ("where", "what", "used", "copies"),
    [
        (node(gpus=8), shape(gpus=1), {}, 8),
        (node(gpus=8), shape(gpus=3), {}, 2),
        (node(gpus=8), shape(gpus=1), {GPU: 6}, 2),
        (node(gpus=8), shape(gpus=1), {GPU: 8}, 0),
        (node(gpus=8), shape(gpus=1), {GPU: 9}, 0),
        (node(gpus=8, cpu=4), shape(gpus=1, cpu=2), {}, 2),
        (node(gpus=8, pods=3), shape(gpus=1), {"pods": 2}, 1),
        (node(), shape(gpus=1), {}, 0),
        (node(gpus=8), shape(gpus=1, host_ports=(("0.0.0.0", "TCP", 80),)), {}, 1),
        (node(gpus=8, taints=(GPU_TAINT,)), shape(gpus=1), {}, 0),
        (node(gpus=8, taints=(GPU_TAINT,)), shape(gpus=1, tolerations=(TOLERATE_GPU,)), {}, 8),
        (node(gpus=8, taints=(Taint("k", "", "PreferNoSchedule"),)), shape(gpus=1), {}, 8),
        (node(gpus=8, taints=(Taint("k", "", "NoExecute"),)), shape(gpus=1), {}, 0),
        (
            node(gpus=8, unschedulable=True),
            shape(gpus=1, tolerations=(Toleration(operator="Exists"),)),
            {},
            0,
        ),
        (node(gpus=8, ready=False), shape(gpus=1, tolerations=(Toleration(operator="Exists"),)), {}, 0),
        (node(gpus=8, labels={"a": "1"}), shape(gpus=1, node_selector=(("a", "1"),)), {}, 8),
        (node(gpus=8, labels={"a": "2"}), shape(gpus=1, node_selector=(("a", "1"),)), {}, 0),
        (node(gpus=8), shape(gpus=1, node_selector=(("a", "1"),)), {}, 0),
    ],
)
def test_fits(where: Node, what: PodShape, used: dict[str, int], copies: int) -> None:
    assert fits(where, what, used) == copies
    assert bool(why_not(where, what, used)) is (copies == 0)


@pytest.mark.parametrize(
    ("key", "operator", "values", "holds"),
    [
        ("zone", "In", ("a", "b"), True),
        ("zone", "In", ("b",), False),
        ("none", "In", ("a",), False),
        ("zone", "NotIn", ("b",), True),
        ("zone", "NotIn", ("a",), False),
        ("none", "NotIn", ("a",), True),
        ("zone", "Exists", (), True),
        ("none", "Exists", (), False),
        ("none", "DoesNotExist", (), True),
        ("zone", "DoesNotExist", (), False),
        ("size", "Gt", ("7",), True),
        ("size", "Gt", ("8",), False),
        ("size", "Lt", ("9",), True),
        ("size", "Lt", ("8",), False),
        ("none", "Gt", ("7",), False),
        ("bad", "Gt", ("7",), False),
        ("size", "Gt", ("x",), False),
        ("size", "Gt", (), False),
        ("zone", "Near", ("a",), False),
    ],
)
def test_node_affinity_operators(key: str, operator: str, values: tuple[str, ...], holds: bool) -> None:
    term = (Requirement(key, operator, values),)
    assert (fits(node(labels=LABELS), shape(affinity=(term,))) > 0) is holds


@pytest.mark.parametrize(
    ("terms", "holds"),
    [
        ((), True),
        (((),), False),
        (((Requirement("zone", "In", ("b",)),), (Requirement("zone", "In", ("a",)),)), True),
        (((Requirement("zone", "In", ("a",)), Requirement("size", "In", ("9",))),), False),
        (((Requirement("metadata.name", "In", ("n1",), True),),), True),
        (((Requirement("metadata.name", "In", ("n2",), True),),), False),
        (((Requirement("metadata.name", "NotIn", ("n1",), True),),), False),
        (((Requirement("metadata.uid", "In", ("n1",), True),),), False),
    ],
)
def test_affinity_terms_are_alternatives_of_conjunctions(terms: Any, holds: bool) -> None:
    assert (fits(node(labels=LABELS), shape(affinity=terms)) > 0) is holds


@pytest.mark.parametrize(
    ("toleration", "covered"),
    [
        (Toleration("k", "Equal", "v", "NoSchedule"), True),
        (Toleration("k", "Equal", "v"), True),
        (Toleration("k", "", "v"), True),
        (Toleration("k", "Equal", "w"), False),
        (Toleration("k", "Exists"), True),
        (Toleration("", "Exists"), True),
        (Toleration("", "Exists", effect="NoExecute"), False),
        (Toleration("other", "Exists"), False),
        (Toleration("k", "Lt", "9"), False),
    ],
)
def test_tolerations(toleration: Toleration, covered: bool) -> None:
    assert tolerates(toleration, Taint("k", "v", "NoSchedule")) is covered


@pytest.mark.parametrize(
    ("taken", "asked", "free"),
    [
        (("0.0.0.0", "TCP", 80), ("0.0.0.0", "TCP", 80), False),
        (("10.0.0.1", "TCP", 80), ("0.0.0.0", "TCP", 80), False),
        (("0.0.0.0", "TCP", 80), ("10.0.0.1", "TCP", 80), False),
        (("10.0.0.1", "TCP", 80), ("10.0.0.1", "TCP", 80), False),
        (("10.0.0.2", "TCP", 80), ("10.0.0.1", "TCP", 80), True),
        (("0.0.0.0", "UDP", 80), ("0.0.0.0", "TCP", 80), True),
        (("0.0.0.0", "TCP", 8080), ("0.0.0.0", "TCP", 80), True),
    ],
)
def test_host_ports(taken: tuple[str, str, int], asked: tuple[str, str, int], free: bool) -> None:
    assert (fits(node(), shape(host_ports=(asked,)), charge_of((), (taken,))) > 0) is free


def test_charge_multiplies_requests_but_not_ports() -> None:
    assert charge_of((("cpu", 5), ("pods", 1)), (("0.0.0.0", "TCP", 80),), 3) == {
        "cpu": 15,
        "pods": 3,
        port_key("0.0.0.0", "TCP", 80): 1,
    }


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (node(gpus=8, unschedulable=True), "cordoned"),
        (node(gpus=8, ready=False), "not ready"),
        (node(gpus=8, taints=(GPU_TAINT,)), "with untolerated taint nvidia.com/gpu=present:NoSchedule"),
        (node(gpus=4), "insufficient nvidia.com/gpu"),
        (node(gpus=8), ""),
    ],
)
def test_why_not_says_what_is_in_the_way(where: Node, words: str) -> None:
    assert why_not(where, shape(gpus=8)) == words
