"""Which nodes are about to go, and from when on that matters."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.core.gang.departures import SCHEDULED, Departure, Signals, departure_of
from drumline.core.gang.types import Taint
from tests.builders import node

IMPENDING = "cloud.google.com/impending-node-termination"
ACTIVE = "cloud.google.com/active-node-maintenance"
OWN = Signals(taints=("example.com/going",), labels=("example.com/repair",))


def taint(key: str) -> tuple[Taint, ...]:
    return (Taint(key, "", "NoSchedule"),)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"unschedulable": True}, None),
        ({"taints": taint("node.kubernetes.io/not-ready")}, None),
        ({"taints": taint(IMPENDING)}, Departure("n1", f"taint {IMPENDING}")),
        ({"taints": taint("example.com/going")}, Departure("n1", "taint example.com/going")),
        ({"labels": {ACTIVE: "true"}}, Departure("n1", f"label {ACTIVE}")),
        ({"labels": {ACTIVE: "False"}}, None),
        ({"labels": {"example.com/repair": "since-monday"}}, Departure("n1", "label example.com/repair")),
        ({"labels": {SCHEDULED: "1800000000"}}, Departure("n1", f"label {SCHEDULED}", at=1.8e9)),
        ({"labels": {SCHEDULED: "tomorrow"}}, None),
        ({"labels": {SCHEDULED: "9" * 13}}, None),
        ({"labels": {SCHEDULED: ""}}, None),
    ],
)
def test_what_a_node_says(fields: dict[str, Any], expected: Departure | None) -> None:
    assert departure_of(node(**fields), OWN) == expected


@pytest.mark.parametrize("kind", ["gke-spot", "gke-preemptible"])
def test_a_spot_machine_has_little_notice(kind: str) -> None:
    spot = node(taints=taint(IMPENDING), labels={f"cloud.google.com/{kind}": "true"})
    found = departure_of(spot, Signals())
    assert found is not None
    assert found.notice == 30.0
    assert departure_of(node(labels={"cloud.google.com/gke-spot": "true"}), Signals()) is None


def test_from_when_on_it_matters() -> None:
    scheduled = Departure("n1", "", at=1000.0)
    assert [scheduled.is_due(now, 100.0) for now in (899.0, 900.0, 1000.0, 4600.0, 4601.0)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert Departure("n1", "").is_due(0.0, 0.0)
