"""An InferenceService with an account, for the views."""

from __future__ import annotations

from typing import Any

PREFILL: dict[str, Any] = {
    "role": "prefill",
    "states": [{"state": "loading", "ms": 1_000}, {"state": "serving", "ms": 9_000}],
    "promptTokens": 12_000,
    "requests": 100,
    "ttftMet": 95,
    "ttftMeasured": 100,
}
DECODE: dict[str, Any] = {
    "role": "decode",
    "states": [
        {"state": "serving", "ms": 60_000},
        {"state": "queued", "ms": 20_000},
        {"state": "idle", "ms": 10_500},
        {"state": "of_the_future", "ms": 500},
    ],
    "generationTokens": 8_000,
    "requests": 98,
    "failedRequests": 2,
    "tpotMet": 800,
    "tpotMeasured": 1000,
    "draftTokens": 50,
    "acceptedTokens": 30,
}
SERVING: dict[str, Any] = {
    "at": "2026-11-21T12:00:00.000Z",
    "elapsedMs": 101_000,
    "heldMs": 81_000,
    "roles": [DECODE, PREFILL],
    "tokensPerAcceleratorSecond": 98.765432,
    "requestsPerAcceleratorSecond": 2.444444,
    "sloAttainment": 0.8,
    "acceptanceRate": 0.6,
    "costUsd": 1234.5,
    "resume": "operators-business",
}


def service(name: str = "chat", namespace: str = "research", **serving: Any) -> dict[str, Any]:
    """An InferenceService in service; fields of its account may be changed."""
    roles = [
        {"name": "prefill", "desired": 1, "replicas": 1, "ready": 1, "updated": 1},
        {"name": "decode", "desired": 3, "replicas": 3, "ready": 2, "updated": 2},
    ]
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "engine": "vllm",
            "model": {"name": "llama-3-70b"},
            "slo": {"ttftSeconds": 0.5, "tpotSeconds": 0.05},
        },
        "status": {
            "phase": "Degraded",
            "readyReplicas": 3,
            "roles": roles,
            "restarts": [{"cause": "NodeLost", "count": 3}],
            "serving": {**SERVING, **serving},
        },
    }


def without_account(name: str = "young") -> dict[str, Any]:
    """An InferenceService that the operator has not accounted for yet."""
    return {**service(name), "status": {"phase": "Pending"}}
