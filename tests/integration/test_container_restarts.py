"""Whether a container may be restarted in its pod is asked of the API server, and it answers what it then does."""

from __future__ import annotations

import uuid

import pytest

from drumline.core.training.progress_render import RESTART_WHEN_KILLED
from drumline.runtime.http_paths import resource_path
from drumline.runtime.kube import connect
from drumline.runtime.versions import restarts_containers
from e2e.cluster.provider import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


async def test_the_rules_are_kept_and_the_answer_says_so(cluster: Cluster) -> None:
    async with await connect(str(cluster.kubeconfig)) as client:
        path = resource_path("pods", "default")
        before = len((await client.request("GET", path))["items"])
        assert await restarts_containers(client, "default")
        assert len((await client.request("GET", path))["items"]) == before
        name = f"kept-{uuid.uuid4().hex[:6]}"
        container = {"name": "train", "image": "pause:3.10", **RESTART_WHEN_KILLED}
        gate = [{"name": "drumline.dev/test"}]
        spec = {"restartPolicy": "Never", "containers": [container], "schedulingGates": gate}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        made = await client.request("POST", path, body=pod)
        assert (
            made["spec"]["containers"][0]["restartPolicyRules"] == RESTART_WHEN_KILLED["restartPolicyRules"]
        )
        await client.request(
            "DELETE", resource_path("pods", "default", name), params={"gracePeriodSeconds": 0}
        )


async def test_who_can_not_ask_is_told_no(cluster: Cluster) -> None:
    async with await connect(str(cluster.kubeconfig)) as client:
        assert not await restarts_containers(client, "there-is-no-such-namespace")
