"""`kubectl drumline capacity` of a cluster in which an operator runs jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from drumline.runtime.http import JSON_PATCH
from drumline.runtime.http_paths import resource_path
from tests.integration.operator.lab import Lab

pytestmark = pytest.mark.cluster


async def _capacity(lab: Lab, *arguments: str) -> str:
    done = await lab.plugin("capacity", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _nodes(domain: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if domain["level"] == "node":
        yield domain
    for child in domain.get("children", ()):
        yield from _nodes(child)


async def _mine(lab: Lab) -> dict[str, dict[str, Any]]:
    """This test's nodes, as the command tells of them."""
    found = json.loads(await _capacity(lab, "--nodes", "-o", "json"))
    return {n["name"]: n for tree in found["accelerators"] for n in _nodes(tree) if n["name"] in lab.hosts}


async def test_each_chip_is_used_reserved_broken_or_free(lab: Lab) -> None:
    first, second, third = sorted(await lab.nodes("3 hosts of h100 in blocks of 3"))
    cordon = [{"op": "add", "path": "/spec/unschedulable", "value": True}]
    await lab.client.request("PATCH", resource_path("nodes", "", third), body=cordon, content_type=JSON_PATCH)
    wide = {"type": "nvidia-h100-80gb", "chipsPerWorker": 6}
    backoff = {"maxRestarts": 3, "backoff": {"initialSeconds": 600, "maxSeconds": 600}}
    job = lab.job(
        "train",
        {"run-seconds": "15", "exit-code": "3", "only-ranks": "0"},
        accelerator=wide,
        failurePolicy=backoff,
    )
    await lab.apply(job)
    await lab.phase("train", "Running")
    seen = await _mine(lab)
    held = f"{lab.namespace}/train"
    for name in (first, second):
        assert seen[name]["chips"] == {"total": 8, "used": 6, "reserved": 0, "broken": 0, "free": 2}
        assert seen[name]["holders"] == [held]
    assert seen[third]["chips"] == {"total": 8, "used": 0, "reserved": 0, "broken": 8, "free": 0}
    assert seen[third]["note"] == "cordoned"

    await lab.phase("train", "Restarting")
    await lab.until_pods(lambda names: not names)
    seen = await _mine(lab)
    for name in (first, second):
        assert seen[name]["chips"] == {"total": 8, "used": 0, "reserved": 6, "broken": 0, "free": 2}
        assert seen[name]["holders"] == [held]

    text = await _capacity(lab, "--nodes", "--type", "nvidia-h100-80gb")
    line = next(line for line in text.splitlines() if first in line)
    assert line.split()[1:] == [first, "8", "0", "6", "0", "2", "r" * 18 + "." * 6, held]
    assert "DOMAIN" in text
