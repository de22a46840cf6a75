"""Pods and clients of the engines: a plain pod that serves the tiny model, and HTTP to talk to it."""

import json
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from e2e.engines import claims
from e2e.suites.pods import pod

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def engine_pod(
    name: str, image: str, arguments: Sequence[str], trees: Mapping[str, Path], port: int, **spec: Any
) -> dict[str, Any]:
    """A pod on the real node that runs an engine's image, with host directories mounted read-only."""
    hosted = [
        {"name": volume["name"], "hostPath": {"path": str(path), "type": "Directory"}}
        for volume, path in zip(claims.volumes(trees), trees.values(), strict=True)
    ]
    container = {
        "args": list(arguments),
        "ports": [{"containerPort": port}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": port}, "periodSeconds": 1},
        "volumeMounts": [*claims.mounts(trees), claims.SHARED_MEMORY_MOUNT],
        "securityContext": RESTRICTED,
    }
    return pod(name, image, [], container=container, volumes=[*hosted, claims.SHARED_MEMORY], **spec)


def is_ready(found: Mapping[str, Any]) -> bool:
    """Whether a pod's condition ``Ready`` is true."""
    conditions = found["status"].get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def complete(url: str, prompt: str, tokens: int, **parameters: Any) -> str:
    """The text of a completion of exactly ``tokens`` tokens; raises ``OSError`` when the server refuses."""
    wish = {"model": "tiny", "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    request = urllib.request.Request(
        f"{url}/v1/completions",
        json.dumps(wish | parameters).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.load(answer)["choices"][0]["text"])


def metrics(url: str) -> str:
    """What the server exposes for Prometheus, as text."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        return str(answer.read().decode())
