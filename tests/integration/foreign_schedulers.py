"""The CRDs of Kueue, Volcano and coscheduling, out of their Go modules, and one of KAI's PodGroups.

KAI's module is not had from every Go proxy, so the schema of its PodGroup is written here and was held against the
one that version 0.17.0 publishes (scheduling.run.ai/v2alpha2): the same fields at the first level of spec and
status, and below them what anything of ours sets or reads.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

from e2e.cluster.provider import Cluster
from tests.integration.go_modules import folder

# module, version, the checksum that Go's database has of it, the CRD
_MODULES: Final = (
    (
        "sigs.k8s.io/kueue",
        "v0.19.2",
        "h1:mPNzr37u0nwI7ikST5QQl5gg6EgtYOAvC9ZbTgywdN8=",
        "config/components/crd/bases/kueue.x-k8s.io_workloads.yaml",
    ),
    (
        "volcano.sh/volcano",
        "v1.15.1",
        "h1:M0iGzhy1dvod2GFy1QiyWdv1jmmNfHW4+2WoRU7CIAk=",
        "config/crd/volcano/bases/scheduling.volcano.sh_podgroups.yaml",
    ),
    (
        "sigs.k8s.io/scheduler-plugins",
        "v0.34.7",
        "h1:GENSA4rKpCKBrPvNSo2AV2QHU7j3a6LT14kNlHhXfeg=",
        "config/crd/bases/scheduling.x-k8s.io_podgroups.yaml",
    ),
)
_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "format": "int32", "minimum": 1}
_ANY: Final = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def install(cluster: Cluster) -> None:
    """Install all of them and wait until they are served."""
    files = [str(folder(name, version, checksum) / crd) for name, version, checksum, crd in _MODULES]
    for file in files:
        cluster.kubectl("apply", "--server-side", "-f", file)
    cluster.apply(_kai())
    names = [_name(file) for file in files]
    for name in (*names, _kai()["metadata"]["name"]):
        wait_served(cluster, name)


def wait_served(cluster: Cluster, name: str) -> None:
    """Until the CRD is established: `kubectl wait` fails on one that has no conditions yet."""
    deadline = time.monotonic() + 120
    while True:
        conditions = cluster.get("crd", name).get("status", {}).get("conditions") or ()
        if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
            return
        assert time.monotonic() < deadline, f"{name} is not established after 120 s"
        time.sleep(0.1)


def _name(file: str) -> str:
    """Of a CRD, out of its file's: <group>_<plural>.yaml."""
    group, _, plural = Path(file).stem.partition("_")
    return f"{plural}.{group}"


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _kai() -> dict[str, Any]:
    topology = _object(topology=_TEXT, requiredTopologyLevel=_TEXT, preferredTopologyLevel=_TEXT)
    spec = _object(
        markUnschedulable={"type": "boolean"},
        minMember=_COUNT,
        minSubGroup=_COUNT,
        preemptibility={**_TEXT, "enum": ["preemptible", "non-preemptible"]},
        preemptionDelay=_TEXT,
        priorityClassName=_TEXT,
        queue=_TEXT,
        schedulingBackoff={"type": "integer", "format": "int32"},
        stalenessGracePeriod=_TEXT,
        subGroups=_list(_ANY),
        topologyConstraint=topology,
    )
    said = _object(reason=_TEXT, message=_TEXT)
    scheduling = _object(
        type=_TEXT, status=_TEXT, nodePool=_TEXT, reason=_TEXT, message=_TEXT, reasons=_list(said)
    )
    status = _object(conditions=_list(_ANY), resourcesStatus=_ANY, schedulingConditions=_list(scheduling))
    version = {
        "name": "v2alpha2",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": _object(spec=spec, status=status)},
    }
    names = {"kind": "PodGroup", "listKind": "PodGroupList", "plural": "podgroups", "singular": "podgroup"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "podgroups.scheduling.run.ai"},
        "spec": {
            "group": "scheduling.run.ai",
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
        },
    }


def say(cluster: Cluster, where: str, name: str, namespace: str, status: dict[str, Any]) -> None:
    """Write a status as the scheduler of that kind does; `where` is the resource's full name."""
    command = ["patch", where, name, "-n", namespace, "--type=merge", "-p", json.dumps({"status": status})]
    has_status = "volcano" not in where  # Volcano's PodGroup has no status subresource
    cluster.kubectl(*command, *(["--subresource=status"] if has_status else []))
