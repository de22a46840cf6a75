"""Where kube-dns serves, names stand in an Endpoints object too; where CoreDNS does, they do not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.integration.operator.lab import SECONDS, Lab

pytestmark = pytest.mark.cluster

PATH = "/api/v1/namespaces/kube-system/pods"


@asynccontextmanager
async def dns_pod(lab: Lab, *containers: str) -> AsyncIterator[None]:
    """A pod as the cluster's DNS has it, which no node takes."""
    name = f"{lab.prefix}{containers[0]}"
    pod = {
        "metadata": {"name": name, "labels": {"k8s-app": "kube-dns"}},
        "spec": {
            "nodeSelector": {"no": "node"},
            "containers": [{"name": c, "image": "dns"} for c in containers],
        },
    }
    await lab.client.request("POST", PATH, body=pod)
    try:
        yield
    finally:
        await lab.client.request("DELETE", f"{PATH}/{name}", params={"gracePeriodSeconds": 0})


async def addresses(lab: Lab, job: str) -> list[str]:
    """Host names in the Endpoints object of a job; empty when there is none."""
    found: list[dict[str, Any]] = [o for o in await lab.list("endpoints") if o["metadata"]["name"] == job]
    return [a["hostname"] for o in found for s in o.get("subsets") or () for a in s["addresses"]]


async def until(lab: Lab, job: str, wanted: list[str]) -> None:
    deadline = time.monotonic() + SECONDS
    while await addresses(lab, job) != wanted:
        assert time.monotonic() < deadline, f"{await addresses(lab, job)}, not {wanted}"
        await asyncio.sleep(0.1)


async def test_endpoints_are_written_where_kube_dns_serves_and_not_for_coredns(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    async with dns_pod(lab, "coredns"):
        await lab.apply(lab.job("names"))
        await lab.phase("names", "Running")
        await lab.settle("names")
        assert await addresses(lab, "names") == []
    async with dns_pod(lab, "kubedns", "dnsmasq", "sidecar"):
        await until(lab, "names", ["names-0-0", "names-0-1"])
        slices = await lab.list("endpointslices")
        assert [s["metadata"]["name"] for s in slices] == ["names-ipv4-0"]
    # kube-dns is gone: what it may have read is not left behind when the gang ends
    await lab.patch("names", {"op": "add", "path": "/spec/suspend", "value": True})
    await until(lab, "names", [])
