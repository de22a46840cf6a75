"""`kubectl drumline explain` of jobs in a cluster: whom they wait for, what power is left, and how nodes are asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drumline.api.catalog import Catalog
from drumline.cli.explain_text import told
from drumline.cli.explain_view import explained, raw
from drumline.cli.settings import Settings
from drumline.cli.terminal import Terminal
from drumline.core.gang.names import Owner, revision_name
from drumline.core.gang.power import Budget, Power, ratings_of
from drumline.core.gang.revision import encode
from drumline.core.gang.types import Placement
from tests.unit.cli.test_explain import NOW, cluster, job
from tests.unit.cli.test_explain_queue import queue, with_queues

WIDE = Terminal(width=1000, unicode=True)
CATALOG = Catalog.default()
H100 = CATALOG["nvidia-h100-80gb"]
KIND = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
MINUTE_AGO = "2027-01-15T07:59:00Z"


def hosts(count: int) -> list[dict[str, Any]]:
    labels = {**H100.node_labels, "cloud.google.com/gce-topology-block": "a"}
    allocatable = {H100.resource: "8", "cpu": "64", "memory": "256Gi", "pods": "110"}
    status = {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": "True"}]}
    names = [f"n{i}" for i in range(count)]
    return [{"metadata": {"name": n, "uid": n, "labels": labels}, "status": status} for n in names]


def asking(name: str, minute: int, workers: int = 1, **spec: Any) -> dict[str, Any]:
    found = job(accelerator=KIND, workersPerSlice=workers, **spec)
    found["metadata"] |= {"name": name, "uid": name, "creationTimestamp": f"2027-01-15T07:{minute:02}:00Z"}
    return found


def refused(asked: dict[str, Any], reason: str, **status: Any) -> dict[str, Any]:
    said = {"type": "QuotaReserved", "status": "False", "reason": reason, "message": "no"}
    return {**asked, "status": {"conditions": [{**said, "lastTransitionTime": MINUTE_AGO}], **status}}


def with_running(found: dict[str, list[Any]], name: str, nodes: int, **spec: Any) -> dict[str, list[Any]]:
    """The cluster with a job that was admitted a minute ago to its first nodes."""
    asked = asking(name, 10, nodes, **spec)
    held = {"type": "QuotaReserved", "status": "True", "reason": "Placed", "lastTransitionTime": MINUTE_AGO}
    asked["status"] = {
        "attempt": 1,
        "attempts": [{"attempt": 1, "startedAt": MINUTE_AGO}],
        "admittedAt": MINUTE_AGO,
        "queue": spec.get("queue"),
        "conditions": [held],
        "placement": {"revision": revision_name(name, 1), "hash": "h", "pods": nodes},
    }
    owner = Owner("drumline.dev/v1alpha1", "TrainingJob", "team", name, name)
    where = encode(owner, 1, Placement(tuple(f"n{i}" for i in range(nodes))), "h")
    jobs, revisions = [*found["trainingjobs"], asked], [*found["controllerrevisions"], *where]
    return {**found, "trainingjobs": jobs, "controllerrevisions": revisions}


def lines_of(
    found: dict[str, list[Any]], name: str = "mine", settings: Settings | None = None
) -> dict[str, str]:
    view = explained(found, ("team", name), settings or Settings(), NOW)
    pairs = (line.strip().partition(":") for line in told(view, WIDE).splitlines()[1:])
    return {label: text.strip() for label, _, text in pairs}


def test_a_strict_queue_says_for_whom_it_waits() -> None:
    first, mine = asking("first", 20, 2, queue="strict"), asking("mine", 30, queue="strict")
    tpu = {"type": "tpu-v5p", "topology": "2x2x1"}
    chips = job(framework="jax", accelerator=tpu, queue="strict")
    chips["metadata"] |= {"name": "chips", "uid": "chips", "creationTimestamp": "2027-01-15T07:40:00Z"}
    quotas = [{"accelerator": kind, "nominalQuota": 64} for kind in ("nvidia-h100-80gb", "tpu-v5p")]
    strict = queue("strict", queueingStrategy="StrictFIFO", quotas=quotas)
    found = {**with_queues(strict, jobs=(first, mine, chips)), "nodes": hosts(3)}
    found = with_running(found, "taker", 2, queue="strict", activeDeadlineSeconds=120)
    lines = lines_of(found)
    assert lines["Now"] == (
        "HeadOfQueueReserved: queue strict is StrictFIFO; team/first is ahead and waits; "
        "if it waited for nobody, there would be room for it"
    )
    assert lines["In line"].endswith("or stand in its queue, which is StrictFIFO; before it team/first")
    assert lines["To begin"] == "first team/first has to begin, or to leave the line"
    assert lines["When"].startswith("by 2027-01-15T08:01:00Z (in 1m 00s) at the latest")
    view = explained(found, ("team", "chips"), Settings(), NOW)
    assert view.found.ahead == ("team/first", "team/mine")
    data = raw(explained(found, ("team", "mine"), Settings(), NOW))
    assert (data["waitsFor"], data["fitsNow"], data["roomNow"]) == ("team/first", False, True)


def test_the_bound_goes_through_those_before_it() -> None:
    """One of an hour waits before it, behind one of two minutes that began a minute ago."""
    e2, e3 = asking("e2", 20, 8, activeDeadlineSeconds=3600), asking("e3", 30, 8)
    found = with_running({**cluster(e2, e3), "nodes": hosts(8)}, "e1", 8, activeDeadlineSeconds=120)
    assert lines_of(found, "e2")["When"].startswith("by 2027-01-15T08:01:00Z (in 1m 00s) at the latest")
    assert lines_of(found, "e3")["When"] == (
        "by 2027-01-15T09:01:00Z (in 1h 01m) at the latest, by the deadlines of others and of those before it, "
        "if nobody else takes the room"
    )
    e2["spec"].pop("activeDeadlineSeconds")
    endless = "no telling: of those that hold nodes or stand before it these have no deadline: team/e2"
    assert lines_of(found, "e3")["When"] == endless


def test_power_counts_as_the_operator_counts_it() -> None:
    found = {**cluster(asking("mine", 30, 2), asking("all", 40, 4)), "nodes": hosts(4)}
    found = with_running(found, "taker", 1)
    power = Power((Budget("block", 2.5 * 8 * 700, "a"),), ratings_of(CATALOG))
    lines = lines_of(found, settings=Settings(power=power))
    assert lines["Now"].startswith(
        "PowerBudgetExceeded: there is room for 16 × nvidia-h100-80gb, but not the power"
    )
    assert lines["To begin"].startswith("at once, these would have to end: team/taker (8 accelerators")
    never = lines_of(found, "all", Settings(power=power))
    assert never["Ever"].startswith("not in this cluster: there is room for 32 × nvidia-h100-80gb, but not")
    assert lines_of(found)["Now"] == "there is room for it"


def test_budgets_that_are_not_known_are_said_not_to_be() -> None:
    found = {**cluster(refused(asking("mine", 30), "PowerBudgetExceeded")), "nodes": hosts(1)}
    lines = lines_of(found, settings=Settings(doubt="the operator's settings are not known: why"))
    assert lines["Now"] == "there is room for it, but power budgets are not known here (see Settings)"
    assert lines["Settings"] == (
        "the operator's settings are not known: why: defaults are taken, and no power budget is known"
    )
    known = lines_of(found)
    assert known["Now"].startswith("there is room for it; what the operator says may be of a look before")
    assert "Settings" not in known


@pytest.mark.parametrize(
    ("wish", "means"),
    [
        ({"mode": "Unpinned"}, "pods that are pinned to no node"),
        ({"mode": "ProvisioningRequest", "className": "queued"}, "a ProvisioningRequest of class queued"),
    ],
)
def test_a_gang_that_will_ask_for_nodes_says_so(wish: dict[str, Any], means: str) -> None:
    mine = asking("mine", 30, 3, scheduling={"provisioning": {**wish, "afterSeconds": 90}})
    found = {**cluster(mine), "nodes": hosts(1)}
    lines = lines_of(found)
    assert lines["Ever"].startswith("not on the nodes that there are: needs 24 × nvidia-h100-80gb")
    asks = f"it asks for nodes that are not there, by {means}"
    assert lines["Nodes"] == f"once it has been refused nodes for 90 s, {asks}"
    found["trainingjobs"] = [refused(mine, "InsufficientAccelerators", refusedSince=MINUTE_AGO)]
    assert lines_of(found)["Nodes"] == f"once it has been refused nodes for 90 s (in 30.0 s), {asks}"
    view = explained(found, ("team", "mine"), Settings(), NOW)
    assert raw(view)["asksForNodes"] == {"mode": wish["mode"], "afterSeconds": 90, "inSeconds": 30}
    assert raw(replace(view, nodes=None))["asksForNodes"] is None


def test_more_nodes_are_no_way_to_more_quota() -> None:
    wish = {"provisioning": {"mode": "Unpinned", "afterSeconds": 90}}
    mine = asking("mine", 30, 3, queue="blue", scheduling=wish)
    lines = lines_of({**with_queues(queue("blue"), jobs=(mine,)), "nodes": hosts(1)})
    assert "Nodes" not in lines
    assert lines["Ever"].startswith("not in this cluster")
