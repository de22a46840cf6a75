"""What is measured: TrainingJobs of one-GPU pods, and the same pods with nothing around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from drumline.api.catalog import Catalog
from drumline.api.validation import parse_spec
from drumline.core.training.observation import JobMeta
from drumline.core.training.render import prepare_gang

IMAGE = "pause:3.10"


def training_job(name: str, namespace: str, pods: int, initial_seconds: int = 0) -> dict[str, Any]:
    """A job of `pods` workers with one GPU each."""
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "framework": "torch",
            "accelerator": {"type": "nvidia-h100-80gb", "chipsPerWorker": 1},
            "workersPerSlice": pods,
            "failurePolicy": {"backoff": {"initialSeconds": initial_seconds}},
            "template": {
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "train", "image": IMAGE}],
                }
            },
        },
    }


def raw_pods(namespace: str, nodes: Sequence[str], attempt: int = 1) -> list[bytes]:
    """The very pods that the operator would create for one job, one a node, encoded, and owned by nobody."""
    manifest = training_job("raw", namespace, len(nodes))
    spec, _ = parse_spec(manifest["spec"])
    if spec is None:
        raise ValueError("the benchmark's own job is not valid")
    job = JobMeta(namespace, "raw", "00000000-0000-0000-0000-000000000000", 1, "1", 0.0)
    gang = prepare_gang(job, spec, Catalog.default(), attempt)
    return [orjson.dumps(_unowned(gang.pod(i, node))) for i, node in enumerate(nodes)]


def _unowned(pod: dict[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in pod["metadata"].items() if k != "ownerReferences"}
    return {**pod, "metadata": metadata}
