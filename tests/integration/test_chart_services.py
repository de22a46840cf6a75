"""The operator looks after InferenceServices with the rights that the chart gives, and is never refused anything."""

from __future__ import annotations

import json
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


class Chat:
    """The service in the release's namespace."""

    def __init__(self, helm: Helm, log: Path) -> None:
        self.cluster, self.namespace, self.log = helm.cluster, helm.namespace, log

    def status(self) -> Manifest:
        """As it stands."""
        found: Manifest = self.cluster.get("inferenceservice", "chat", "-n", self.namespace)
        return found.get("status", {})

    def seen(self) -> str:
        """For people, when a test fails."""
        return f"{json.dumps(self.status())}\n{self.log.read_text()[-3000:]}"

    def apply(self, image: str) -> None:
        """Make the service so."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps(service(image)))

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """In its namespace."""
        return self.cluster.kubectl(*arguments, "-n", self.namespace, **options)

    def ready(self, image: str, groups: int) -> None:
        """Until so many groups serve, half of them of two pods, all with that image, and nothing else is there."""
        until(lambda: self._is_ready(image, groups), self.seen)

    def _is_ready(self, image: str, groups: int) -> bool:
        pods = self.cluster.get("pods", "-n", self.namespace, "-l", "drumline.dev/service=chat")["items"]
        images = {p["spec"]["containers"][0]["image"] for p in pods}
        now = self.status()
        whole = now.get("readyReplicas") == now.get("replicas") == groups
        return whole and images == {image} and len(pods) == groups // 2 * 3

    def left(self) -> list[str]:
        """What still is there of it."""
        kinds = "pods,services,inferenceroles,poddisruptionbudgets,controllerrevisions"
        items = self.cluster.get(kinds, "-n", self.namespace)["items"]
        names = [str(item["metadata"]["name"]) for item in items]
        return [name for name in names if name.startswith("chat")]


def test_a_services_whole_life_under_the_charts_rights(helm: Helm, tmp_path: Path) -> None:
    chat = Chat(helm, tmp_path / "log")
    with operator(helm, tmp_path) as url:
        chat.apply("engine:1")
        chat.ready("engine:1", 2)
        chat.apply("engine:2")
        chat.ready("engine:2", 2)
        chat.kubectl("scale", "inferencerole/chat-prefill", "inferencerole/chat-decode", "--replicas=2")
        chat.ready("engine:2", 4)
        chat.apply("engine:1")
        chat.ready("engine:1", 4)
        chat.kubectl("annotate", "pod/chat-decode-1-3-1", "fake.drumline.dev/exit-code=1")
        until(lambda: chat.status().get("restarts"), chat.seen)
        chat.ready("engine:1", 4)
        assert refused(url) == {}, chat.seen()
        chat.kubectl("delete", "inferenceservice", "chat")
        until(lambda: not chat.left(), lambda: str(chat.left()))
        assert refused(url) == {}
