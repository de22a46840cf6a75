"""What Kueue does to groups of plain pods, with the test saying when it admits and evicts.

As its documentation tells it, and as version 0.19 was seen to do it: its webhook (here an admission policy) gates the
pods of its queues and gives them a finalizer; once all of a group are there it makes a Workload of the group's name;
to admit it lifts the gates of all, to evict it marks and deletes all; and it lets go of pods only when their group is
over, which for a group that did not succeed takes the annotation that no pod of it is to be replaced.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from drumline.runtime.http import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from drumline.runtime.http_paths import resource_path
from e2e.cluster.provider import Cluster
from tests.integration.operator.lab import SECONDS, Lab, Manifest

PREFIX = "kueue.x-k8s.io"
GATES = [{"name": f"{PREFIX}/admission"}, {"name": f"{PREFIX}/topology"}]
_WORKLOADS = f"/apis/{PREFIX}/v1beta2/namespaces"
_LONG_AGO = "2026-01-01T00:00:00Z"


def install_webhook(cluster: Cluster) -> None:
    """Gate every pod that names a queue, but in namespaces where Kueue is told to stay away."""
    queue = f"has(object.metadata.labels) && '{PREFIX}/queue-name' in object.metadata.labels"
    gates = ", ".join(f'Object.spec.schedulingGates{{name: "{gate["name"]}"}}' for gate in GATES)
    change = (
        f'Object{{metadata: Object.metadata{{labels: {{"{PREFIX}/managed": "true"}}, '
        f'finalizers: ["{PREFIX}/managed"]}}, spec: Object.spec{{schedulingGates: [{gates}]}}}}'
    )
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    away = {"key": "kueue", "operator": "NotIn", "values": ["away"]}
    kind = {"apiVersion": "admissionregistration.k8s.io/v1"}
    cluster.apply(
        {
            **kind,
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": "kueue-gates"},
            "spec": {
                "reinvocationPolicy": "Never",
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "resourceRules": [rule],
                    "namespaceSelector": {"matchExpressions": [away]},
                },
                "matchConditions": [{"name": "queue", "expression": queue}],
                "mutations": [
                    {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": change}}
                ],
            },
        },
        {
            **kind,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": "kueue-gates"},
            "spec": {"policyName": "kueue-gates"},
        },
    )


class Kueue:
    """Kueue in the lab's namespace."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    async def pods(self, group: str) -> list[Manifest]:
        """The pods of a group."""
        return await self._lab.pods(f"{PREFIX}/pod-group-name={group}")

    async def until(self, holds: Callable[[], Any], what: str) -> Any:
        """What `holds` answers once that is something."""
        deadline = time.monotonic() + SECONDS
        while not (found := await holds()):
            assert time.monotonic() < deadline, f"{what}: not within {SECONDS} s"
            await asyncio.sleep(0.1)
        return found

    async def whole(self, group: str) -> list[Manifest]:
        """The pods of a group once all are there, which must all say how many they are."""

        async def all_there() -> list[Manifest]:
            pods = await self.pods(group)
            counts = {p["metadata"]["annotations"][f"{PREFIX}/pod-group-total-count"] for p in pods}
            return pods if counts == {str(len(pods))} else []

        found: list[Manifest] = await self.until(all_there, f"the pods of {group}")
        return found

    async def queue(self, group: str, reason: str, message: str) -> None:
        """Make the group's Workload, and say why it waits."""
        pods = await self.whole(group)
        assert all(p["spec"]["schedulingGates"] == GATES for p in pods)
        template = {
            "spec": {"containers": pods[0]["spec"]["containers"][:1], "restartPolicy": "Never"},
        }
        queue = pods[0]["metadata"]["labels"][f"{PREFIX}/queue-name"]
        owners = [
            {"apiVersion": "v1", "kind": "Pod", "name": p["metadata"]["name"], "uid": p["metadata"]["uid"]}
            for p in pods
        ]
        body = {
            "apiVersion": f"{PREFIX}/v1beta2",
            "kind": "Workload",
            "metadata": {"name": group, "ownerReferences": owners},
            "spec": {
                "queueName": queue,
                "podSets": [{"name": "main", "count": len(pods), "template": template}],
            },
        }
        await self._lab.client.request("POST", self._workload(), body=body)
        await self._say(group, ("QuotaReserved", "False", reason, message))

    async def admit(self, group: str) -> None:
        """Let the group in: lift the gates of all its pods."""
        yes = (("QuotaReserved", "True", "QuotaReserved", ""), ("Admitted", "True", "Admitted", ""))
        await self._say(group, *yes)
        lift = [{"op": "remove", "path": "/spec/schedulingGates"}]
        for pod in await self.pods(group):
            await self._lab.client.request("PATCH", self._pod(pod), body=lift, content_type=JSON_PATCH)

    async def evict(self, group: str, why: str = "Preempted") -> None:
        """Take the group off its nodes, as for another that goes first."""
        await self._say(group, ("Evicted", "True", why, "for another"), ("Admitted", "False", "x", ""))
        mark = {"type": "TerminationTarget", "status": "True", "reason": f"WorkloadEvictedDueTo{why}"}
        for pod in await self.pods(group):
            body = {"status": {"conditions": [{**mark, "message": "for another"}]}}
            await self._lab.client.request(
                "PATCH", self._pod(pod, "status"), body=body, content_type=STRATEGIC_PATCH
            )
            await self._lab.client.request("DELETE", self._pod(pod))

    async def let_go(self, group: str) -> None:
        """The end of a group: no pod of it runs, and one says that none is to be replaced."""

        async def over() -> list[Manifest]:
            pods = await self.pods(group)
            return pods if pods and all(_ended(p) for p in pods) else []

        pods = await self.until(over, f"the end of {group}")
        assert any(p["metadata"]["annotations"].get(f"{PREFIX}/retriable-in-group") == "false" for p in pods)
        for pod in pods:
            body = {"metadata": {"finalizers": None}}
            await self._lab.client.request("PATCH", self._pod(pod), body=body, content_type=MERGE_PATCH)

    async def workloads(self) -> list[str]:
        """Names of the Workloads that are there and not on their way out."""
        found = await self._lab.client.request("GET", self._workload())
        return sorted(w["metadata"]["name"] for w in found["items"])

    async def _say(self, group: str, *conditions: tuple[str, str, str, str]) -> None:
        told = [
            {"type": kind, "status": status, "reason": reason, "message": m, "lastTransitionTime": _LONG_AGO}
            for kind, status, reason, m in conditions
        ]
        path = self._workload(group, "status")
        await self._lab.client.request(
            "PATCH", path, body={"status": {"conditions": told}}, content_type=MERGE_PATCH
        )

    def _workload(self, *parts: str) -> str:
        return "/".join((_WORKLOADS, self._lab.namespace, "workloads", *parts))

    def _pod(self, pod: Manifest, subresource: str = "") -> str:
        return resource_path("pods", self._lab.namespace, pod["metadata"]["name"], subresource)


def _ended(pod: Manifest) -> bool:
    """A kubelet has ended it, or there was none that had it."""
    gone = pod["metadata"].get("deletionGracePeriodSeconds") == 0
    return gone or pod["status"]["phase"] in ("Succeeded", "Failed")
