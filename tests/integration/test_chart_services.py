"""The operator looks after InferenceServices with the rights that the chart gives, and is never refused anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.chart import Helm
from tests.integration.test_chart_operator import helm, operator, own_cluster, refused, until

__all__ = ["helm", "own_cluster"]

pytestmark = pytest.mark.cluster

Manifest = dict[str, Any]


def service(image: str, replicas: int = 1) -> Manifest:
    container = {"name": "engine", "image": image, "resources": {"requests": {"cpu": "100m"}}}
    roles = [
        {
            "name": name,
            "replicas": replicas,
            "groupSize": size,
            "port": 8000,
            "accelerator": {"type": "cpu"},
            "template": {"spec": {"containers": [container]}},
            "autoscaling": {"mode": "External", "maxReplicas": 4},
        }
        for name, size in (("prefill", 1), ("decode", 2))
    ]
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "chat"},
        "spec": {
            "engine": "custom",
            "drain": {"settleSeconds": 0, "timeoutSeconds": 1},
            "failurePolicy": {"backoff": {"initialSeconds": 0, "maxSeconds": 0}},
            "roles": roles,
        },
    }


def test_a_services_whole_life_under_the_charts_rights(helm: Helm, tmp_path: Path) -> None:
    cluster, namespace = helm.cluster, helm.namespace

    def status() -> Manifest:
        found: Manifest = cluster.get("inferenceservice", "chat", "-n", namespace)
        return found.get("status", {})

    def seen() -> str:
        return f"{json.dumps(status())}\n{(tmp_path / 'log').read_text()[-3000:]}"

    def apply(manifest: Manifest) -> None:
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(manifest))

    def ready(images: set[str], groups: int) -> Callable[[], bool]:
        def look() -> bool:
            pods = cluster.get("pods", "-n", namespace, "-l", "drumline.dev/service=chat")["items"]
            found = {p["spec"]["containers"][0]["image"] for p in pods}
            now = status()
            whole = now.get("readyReplicas") == now.get("replicas") == groups
            return whole and found == images and len(pods) == groups // 2 * 3

        return look

    with operator(helm, tmp_path) as url:
        apply(service("engine:1"))
        until(ready({"engine:1"}, 2), seen)
        apply(service("engine:2"))
        until(ready({"engine:2"}, 2), seen)
        cluster.kubectl(
            "scale",
            "inferencerole/chat-prefill",
            "inferencerole/chat-decode",
            "--replicas=2",
            "-n",
            namespace,
        )
        until(ready({"engine:2"}, 4), seen)
        apply(service("engine:1"))
        until(ready({"engine:1"}, 4), seen)
        cluster.kubectl("annotate", "pod/chat-decode-1-3-1", "fake.drumline.dev/exit-code=1", "-n", namespace)
        until(lambda: status().get("restarts"), seen)
        until(ready({"engine:1"}, 4), seen)
        assert refused(url) == {}, seen()
        cluster.kubectl("delete", "inferenceservice", "chat", "-n", namespace)
        kinds = "pods,services,inferenceroles,poddisruptionbudgets,controllerrevisions"
        until(
            lambda: (
                not [
                    i
                    for i in cluster.get(kinds, "-n", namespace)["items"]
                    if i["metadata"]["name"].startswith("chat")
                ]
            ),
            seen,
        )
        assert refused(url) == {}
