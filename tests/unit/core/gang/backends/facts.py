"""A gang as adapters see it: two workers and two loaders that start together."""

from dataclasses import replace
from typing import Any

from drumline.core.gang.backends.base import GangFacts, Need, RoleFacts
from drumline.core.gang.names import Owner

OWNER = Owner("drumline.dev/v1alpha1", "TrainingJob", "team", "llama", "uid-1")
WORKERS = RoleFacts("worker", 2, 0, {"cpu": 1500, "memory": 2**30, "nvidia.com/gpu": 8, "pods": 1})
LOADERS = RoleFacts("loader", 2, 2, {"cpu": 500})
FACTS = GangFacts(
    OWNER,
    "llama-3",
    3,
    (WORKERS, LOADERS),
    queue="research",
    priority_class="high",
    pod_class="drumline-worker",
    labels={"drumline.dev/job": "llama"},
)
LATER = 4  # the index of a helper that comes when another runs


def facts(**changes: Any) -> GangFacts:
    return replace(FACTS, **changes)


def pod(index: int = 0) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"llama-3-0-{index}", "labels": {"drumline.dev/job": "llama"}},
        "spec": {"containers": [{"name": "train"}], "priorityClassName": "drumline-worker"},
    }


def found(need: Need, name: str = "llama-3", namespace: str = "team", **parts: Any) -> dict[str, Any]:
    """The object as the backend left it."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": f"{need.group}/{need.version}", "kind": need.kind, "metadata": metadata, **parts}
