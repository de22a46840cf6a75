"""Valid and malformed InferenceService specs: what both the models and the API server have to say."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

Raw = dict[str, Any]


def template(image: str = "vllm:1", **container: Any) -> Raw:
    return {"spec": {"containers": [{"name": "engine", "image": image, **container}]}}


def role(name: str = "serve", **more: Any) -> Raw:
    accelerator = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
    return {"name": name, "accelerator": accelerator, "template": template(), **more}


def full() -> Raw:
    """Every field of a service, valid."""
    decode = role(
        "decode",
        replicas=2,
        groupSize=2,
        leaderTemplate=template("vllm:leader"),
        port=8001,
        parallelism={"tensor": 8, "pipeline": 2, "scaleUp": "Preferred"},
        startPolicy="LeaderFirst",
        startAfter=["prefill"],
        variants=[{"accelerator": {"type": "nvidia-a100-80gb"}, "capacity": 0.5, "maxReplicas": 2}],
        autoscaling={
            "minReplicas": 1,
            "maxReplicas": 8,
            "metrics": [
                {"name": "kvCacheUsage", "target": 0.8},
                {"name": "tpot", "targetSeconds": 0.05, "quantile": 0.9},
            ],
            "behavior": {"scaleDown": {"stabilizationSeconds": 60, "groups": 1}},
            "ratio": {"role": "prefill", "min": 0.5, "max": 4},
        },
    )
    return {
        "engine": "vllm",
        "model": {
            "name": "meta-llama/Llama-3-70B",
            "source": "/models/llama",
            "secretRef": {"name": "hf-token"},
            "cache": {"claimName": "weights", "subPath": "llama"},
            "adapters": [{"name": "sql", "source": "/adapters/sql"}],
        },
        "roles": [role("prefill", replicas=4), decode],
        "queue": "serving",
        "priorityClassName": "high",
        "scheduling": {"together": "block", "placement": {"policy": "Preferred", "level": "block"}},
        "rollout": {"maxSurge": 1, "partition": 1, "canary": {"replicas": 1, "weight": 5}},
        "drain": {"timeoutSeconds": 60},
        "failurePolicy": {"maxRestarts": 3, "backoff": {"initialSeconds": 1, "maxSeconds": 9}},
        "speculative": {"draftModel": {"name": "llama-1b"}, "tokens": 5, "roles": ["decode"]},
        "kvTransfer": {"connector": "NixlConnector", "port": 5600, "parameters": {"kv_buffer_size": "1e9"}},
        "slo": {"ttftSeconds": 0.5, "tpotSeconds": 0.05},
        "routing": {"port": 8080, "role": "decode", "gateway": {"name": "web"}},
    }


def changed(change: Callable[[Raw], object]) -> Raw:
    """The full spec with one change."""
    raw = copy.deepcopy(full())
    change(raw)
    return raw


def _set(path: str, value: Any) -> Callable[[Raw], object]:
    def change(raw: Raw) -> None:
        at: Any = raw
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in way:
            at = at[part]
        at[last] = value

    return change


DECODE = "roles.1"
# what is changed, to what, the field at fault, and whether CEL or the schema refuses it too
MALFORMED: list[tuple[str, Any, str, bool]] = [
    ("engine", "ollama", "spec.engine", True),
    ("model", None, "spec.model", True),
    ("profile", "edge", "spec.roles[1].groupSize", True),
    ("roles.0.name", "canary", "spec.roles[0].name", True),
    ("roles.0.name", "Prefill", "spec.roles[0].name", True),
    (f"{DECODE}.startAfter", ["nobody"], "spec.roles[1].startAfter[0]", True),
    (f"{DECODE}.startAfter", ["decode"], "spec.roles[1].startAfter[0]", True),
    (f"{DECODE}.groupSize", 0, "spec.roles[1].groupSize", True),
    (f"{DECODE}.replicas", 9, "spec.roles[1].replicas", True),
    (f"{DECODE}.accelerator", {"type": "tpu-v6e"}, "spec.roles[1].accelerator.topology", True),
    (f"{DECODE}.accelerator", {"type": "cpu", "topology": "2x2"}, "spec.roles[1].accelerator.topology", True),
    (f"{DECODE}.parallelism.tensor", 0, "spec.roles[1].parallelism.tensor", True),
    (f"{DECODE}.parallelism.scaleUp", "Never", "spec.roles[1].parallelism.scaleUp", True),
    (f"{DECODE}.parallelism.fsdp", 2, "spec.roles[1].parallelism.fsdp", True),
    (f"{DECODE}.parallelism.tensor", 16, "spec.roles[1].parallelism", False),
    (f"{DECODE}.parallelism.expert", 3, "spec.roles[1].parallelism.expert", False),
    (
        "roles.0",
        role("prefill", accelerator={"type": "cpu"}, parallelism={}),
        "spec.roles[0].parallelism",
        True,
    ),
    (f"{DECODE}.accelerator", {"type": "gpu-of-1999"}, "spec.roles[1].accelerator.type", False),
    (
        f"{DECODE}.variants.0.accelerator",
        {"type": "gpu-of-1999"},
        "spec.roles[1].variants[0].accelerator.type",
        False,
    ),
    (f"{DECODE}.autoscaling.minReplicas", 9, "spec.roles[1].autoscaling.minReplicas", True),
    (f"{DECODE}.autoscaling.minReplicas", 0, "spec.roles[1].autoscaling.minReplicas", True),
    (f"{DECODE}.autoscaling.mode", "External", "spec.roles[1].autoscaling.metrics", True),
    (f"{DECODE}.autoscaling.ratio.role", "decode", "spec.roles[1].autoscaling.ratio.role", True),
    (f"{DECODE}.autoscaling.ratio.min", 5, "spec.roles[1].autoscaling.ratio.min", True),
    (f"{DECODE}.autoscaling.metrics.0.target", None, "spec.roles[1].autoscaling.metrics[0].target", True),
    (
        f"{DECODE}.autoscaling.metrics.1.target",
        3.0,
        "spec.roles[1].autoscaling.metrics[1].target",
        True,
    ),
    (
        f"{DECODE}.autoscaling.metrics.0.quantile",
        0.5,
        "spec.roles[1].autoscaling.metrics[0].quantile",
        True,
    ),
    (f"{DECODE}.template.spec.hostname", "mine", "spec.roles[1].template.spec.hostname", True),
    (f"{DECODE}.template.spec.restartPolicy", "Always", "spec.roles[1].template.spec.restartPolicy", True),
    (
        f"{DECODE}.template.spec.containers.0.env",
        [{"name": "DRUMLINE_GROUP", "value": "1"}],
        "spec.roles[1].template.spec.containers[0].env[0].name",
        True,
    ),
    (
        f"{DECODE}.leaderTemplate.spec.containers.0.env",
        [{"name": "LWS_GROUP_SIZE", "value": "1"}],
        "spec.roles[1].leaderTemplate.spec.containers[0].env[0].name",
        False,
    ),
    (
        f"{DECODE}.template.spec.containers.0.env",
        [{"name": "MASTER_ADDR", "value": "me"}],
        "spec.roles[1].template.spec.containers[0].env[0].name",
        False,
    ),
    (
        "roles.0.template.spec.containers.0.resources",
        {"limits": {"nvidia.com/gpu": 4}},
        "spec.roles[0].template.spec.containers[0].resources.limits[nvidia.com/gpu]",
        False,
    ),
    ("rollout", {"maxSurge": 0, "maxUnavailable": 0}, "spec.rollout.maxSurge", True),
    ("rollout.canary.weight", 101, "spec.rollout.canary.weight", True),
    ("scheduling.placement", {"policy": "Required"}, "spec.scheduling.placement.level", True),
    ("scheduling.backend", "slurm", "spec.scheduling.backend", True),
    ("scheduling", {"backend": "builtin", "backendQueue": "a"}, "spec.scheduling.backendQueue", True),
    ("scheduling.backend", "native", "spec.scheduling.together", True),
    ("scheduling", {"backend": "kueue"}, "spec.roles[1].variants", True),
    (
        "failurePolicy.backoff",
        {"initialSeconds": 5, "maxSeconds": 1},
        "spec.failurePolicy.backoff.initialSeconds",
        True,
    ),
    ("speculative.draftModel", None, "spec.speculative.draftModel", True),
    ("speculative.method", "ngram", "spec.speculative.draftModel", True),
    ("speculative.roles", ["nobody"], "spec.speculative.roles[0]", False),
    ("slo.quantile", 1, "spec.slo.quantile", True),
    ("routing.role", "nobody", "spec.routing.role", True),
    ("surprise", 1, "spec.surprise", True),
]


def malformed() -> list[tuple[Raw, str, bool]]:
    """(spec, the field at fault, whether the API server refuses it without the operator)."""
    found = []
    for path, value, field, refused in MALFORMED:
        raw = changed(_set(path, value))
        found.append((_without_none(raw), field, refused))
    return found


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value
