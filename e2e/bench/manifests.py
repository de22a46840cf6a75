"""What is measured: TrainingJobs of one-GPU pods, and the same pods made by hand."""

from __future__ import annotations

from typing import Any

IMAGE = "pause:3.10"
GPU = "nvidia.com/gpu"


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


def raw_pod(name: str, namespace: str, node: str) -> dict[str, Any]:
    """One pinned pod with nothing around it."""
    pin = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [pin]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"bench": "raw"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "affinity": {"nodeAffinity": required},
            "tolerations": [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}],
            "containers": [{"name": "train", "image": IMAGE, "resources": {"limits": {GPU: "1"}}}],
        },
    }
