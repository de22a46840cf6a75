"""The taint on nodes that fail job after job: an operator of its own, since the setting is off by default."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from drumline.runtime.http import MERGE_PATCH
from drumline.runtime.http_paths import resource_path
from e2e.cluster.provider import Cluster
from tests.integration.operator.lab import SECONDS, Lab, Manifest
from tests.integration.operators import leading, make_lab

pytestmark = pytest.mark.cluster

UNTIL = "drumline.dev/bad-node-until"
EXCLUDE = 45  # within which both jobs have to fail, on a busy machine
_FAILS = {"run-seconds": "1", "exit-code": "1", "only-attempts": "1", "only-ranks": "0"}


@pytest.fixture(scope="module")
def tainting(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose operator puts taints on bad nodes, for a short time."""
    log: Path = tmp_path_factory.mktemp("tainting") / "log"
    flags = ("--taint-bad-nodes", "on", "--exclude", str(EXCLUDE))
    with leading(own_cluster.kubeconfig, log, *flags):
        yield own_cluster


@pytest.fixture
async def lab(tainting: Cluster) -> AsyncIterator[Lab]:
    async with make_lab(tainting) as made:
        yield made


def _taint(node: Manifest) -> str:
    found = (t for t in node["spec"].get("taints", ()) if t["key"] == "drumline.dev/bad-node")
    return next((f"{t['value']}:{t['effect']}" for t in found), "")


async def _node(lab: Lab, name: str, holds: Callable[[Manifest], bool]) -> Manifest:
    deadline = time.monotonic() + SECONDS
    while True:
        found: Manifest = await lab.client.request("GET", resource_path("nodes", "", name))
        if holds(found):
            return found
        assert time.monotonic() < deadline, (found["spec"], found["metadata"].get("annotations"))
        await asyncio.sleep(0.1)


async def _said(lab: Lab, node: str, count: int) -> list[tuple[str, str]]:
    """What the operator said of the node, once it is so much."""
    deadline = time.monotonic() + SECONDS
    while True:
        found = await lab.client.request("GET", resource_path("events", "default"))
        ours = [e for e in found["items"] if e["source"].get("component") == "drumline"]
        said = sorted(
            (e["lastTimestamp"], e["reason"], e["message"])
            for e in ours
            if e["involvedObject"]["name"] == node
        )
        if len(said) >= count:
            return [(reason, message) for _, reason, message in said]
        assert time.monotonic() < deadline, said
        await asyncio.sleep(0.2)


async def test_a_node_that_failed_two_jobs_gets_a_taint_for_a_while(lab: Lab) -> None:
    (name,) = await lab.nodes("1 hosts of h100 in blocks of 1")
    before = (await _node(lab, name, lambda _: True))["spec"].get("taints", [])
    await lab.apply(lab.job("first", _FAILS))
    await lab.until("first", lambda j: j.get("status", {}).get("attempt") == 2)
    await asyncio.sleep(6)  # more than a round: one job alone says nothing
    assert _taint(await _node(lab, name, lambda _: True)) == ""
    await lab.apply(lab.job("second", _FAILS))
    node = await _node(lab, name, lambda n: _taint(n) != "")
    assert _taint(node) == "ApplicationExit:NoSchedule"
    assert UNTIL in node["metadata"]["annotations"]
    await lab.phases(["first", "second"], ["Running", "Running"])
    free = await _node(lab, name, lambda n: _taint(n) == "")
    assert UNTIL not in free["metadata"].get("annotations", {})
    assert free["spec"].get("taints", []) == before
    said = await _said(lab, name, 2)
    assert [reason for reason, _ in said] == ["BadNode", "BadNodeExpired"]
    assert said[0][1].startswith("first to fail in 2 jobs, lately with ApplicationExit: ")


async def test_a_device_at_fault_is_enough_and_a_taint_that_was_taken_off_stays_off(lab: Lab) -> None:
    names = await lab.nodes("2 hosts of h100 in blocks of 2")
    rules = [{"name": "x", "action": "ReplaceNode", "cause": "DeviceFault", "onCause": ["ApplicationExit"]}]
    policy = {"rules": rules, "backoff": {"initialSeconds": 0, "maxSeconds": 0}}
    await lab.apply(lab.job("faulty", _FAILS, failurePolicy=policy))
    job = await lab.until("faulty", lambda j: j.get("status", {}).get("attempt") == 2)
    bad = job["status"]["attempts"][0]["node"]
    assert bad in names
    node = await _node(lab, bad, lambda n: _taint(n) == "DeviceFault:NoSchedule")
    kept = [t for t in node["spec"]["taints"] if t["key"] != "drumline.dev/bad-node"]
    body = {"spec": {"taints": kept}}
    await lab.client.request("PATCH", resource_path("nodes", "", bad), body=body, content_type=MERGE_PATCH)
    await asyncio.sleep(6)
    assert _taint(await _node(lab, bad, lambda _: True)) == ""
