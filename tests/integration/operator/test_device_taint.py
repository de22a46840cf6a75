"""The device taint eviction controller's signal, from a claim that the real scheduler allocated.

The pod here is nobody's: what is asked is what the controller writes, and which cause that is. What becomes of a gang
is asked in `tests/integration/operator/test_dra.py`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from drumline.api.reasons import Cause
from drumline.core.gang.failures import cause_of
from drumline.core.gang.projection import project_pod
from drumline.runtime.http import MERGE_PATCH
from drumline.runtime.http_paths import resource_path
from tests.integration.operator.lab import SECONDS, Lab, Manifest

pytestmark = pytest.mark.cluster

API = "/apis/resource.k8s.io/v1"
DRIVER = "devices.fake.drumline.dev"


async def _make(lab: Lab, kind: str, name: str, spec: Manifest, *, namespaced: bool = False) -> str:
    """Create an object of the resource API; its path."""
    plural = f"{kind.lower()}es" if kind.endswith("s") else f"{kind.lower()}s"
    where = f"{API}/namespaces/{lab.namespace}/{plural}" if namespaced else f"{API}/{plural}"
    body = {"apiVersion": "resource.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    await lab.client.request("POST", where, body=body)
    return f"{where}/{name}"


def _slice(node: str, *taints: dict[str, str]) -> Manifest:
    device = {"name": "gpu-0", **({"taints": list(taints)} if taints else {})}
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    return {"driver": DRIVER, "nodeName": node, "pool": pool, "devices": [device]}


def _pod(annotation: str) -> Manifest:
    spec = {
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}],
        "resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu"}],
        "containers": [{"name": "main", "image": "pause:3.10", "resources": {"claims": [{"name": "gpu"}]}}],
    }
    metadata = {"name": "claims", "annotations": {annotation: "true"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def _pod_when(lab: Lab, holds: Any) -> Manifest:
    deadline = time.monotonic() + SECONDS
    while True:
        found: Manifest = await lab.client.request("GET", resource_path("pods", lab.namespace, "claims"))
        if holds(found):
            return found
        assert time.monotonic() < deadline, found["status"]
        await asyncio.sleep(0.1)


async def test_a_device_with_a_taint_takes_its_pod(lab: Lab) -> None:
    (node,) = await lab.nodes("1 hosts of h100 in blocks of 1")
    selector = {"cel": {"expression": f"device.driver == '{DRIVER}' && '{lab.prefix}' != ''"}}
    made = [
        await _make(lab, "DeviceClass", f"{lab.prefix}class", {"selectors": [selector]}),
        await _make(lab, "ResourceSlice", f"{lab.prefix}slice", _slice(node)),
    ]
    request = {"name": "gpu", "exactly": {"deviceClassName": f"{lab.prefix}class"}}
    await _make(lab, "ResourceClaim", "gpu", {"devices": {"requests": [request]}}, namespaced=True)
    await lab.client.request(
        "POST", resource_path("pods", lab.namespace), body=_pod("fake.drumline.dev/hang-terminating")
    )
    await _pod_when(lab, lambda p: p["status"]["phase"] == "Running")
    fault = {"key": f"{DRIVER}/unhealthy", "value": "xid-79", "effect": "NoExecute"}
    await lab.client.request("PATCH", made[1], body={"spec": _slice(node, fault)}, content_type=MERGE_PATCH)
    pod = await _pod_when(lab, lambda p: p["metadata"].get("deletionTimestamp"))
    seen = project_pod(pod)
    assert seen.disruption == "DeletionByDeviceTaintManager"
    assert cause_of(seen) is Cause.DEVICE_FAULT
    await lab.delete("pods", "claims", gracePeriodSeconds=0)
    for path in made:
        await lab.client.request("DELETE", path)
