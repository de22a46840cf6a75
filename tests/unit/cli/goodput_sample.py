"""A TrainingJob with a ledger, for the views."""

from __future__ import annotations

from typing import Any

DAY = "2026-11-20T"

ATTEMPTS: list[dict[str, Any]] = [
    {
        "attempt": 1,
        "startedAt": f"{DAY}08:02:00Z",
        "finishedAt": f"{DAY}10:13:00Z",
        "cause": "ApplicationExit",
        "pod": "llama-1-0-1",
        "exitCode": 137,
        "message": "exit <script>alert(1)</script> & more",
        "lostSteps": 20,
    },
    {
        "attempt": 2,
        "startedAt": f"{DAY}10:13:10Z",
        "recovery": [{"phase": "draining", "ms": 1200}, {"phase": "total", "ms": 161_200}],
    },
]
STATES: list[dict[str, Any]] = [
    {"state": "queued", "ms": 3_840_000},
    {"state": "productive", "ms": 400_000_000},
    {"state": "compile", "ms": 10_160_000, "restartMs": 5_000_000},
    {"state": "lost_progress", "ms": 46_000_001},
]
GOODPUT: dict[str, Any] = {
    "at": f"{DAY}12:00:00Z",
    "startedAt": f"{DAY}08:00:00Z",
    "lanes": 4,
    "chipsPerLane": 8,
    "source": "reported",
    "elapsedMs": 460_800_001,
    "heldMs": 456_960_001,
    "gangReadyMs": 450_000_000,
    "provisionalMs": 800_000,
    "states": STATES,
    "step": 3000,
    "committedStep": 2900,
    "lostSteps": 20,
    "tokensPerSecond": "250000.0",
    "stepTimes": {"count": 3020, "medianMs": 4800, "madMs": 20, "p90Ms": 4900, "p99Ms": 7000},
    "stragglers": [{"lane": "0-3", "medianMs": 6100}],
    "ratios": [
        {"name": "scheduling", "value": "0.9766", "source": "observed"},
        {"name": "ettr", "value": "0.8681", "source": "reported"},
        {"name": "of_the_future", "value": "n/a", "source": "reported"},
    ],
    "costDollars": "1393.73",
    "badputDollars": "171.29",
    "energyJoules": 319_872_000,
    "timeline": [
        "queued:120000:0",
        "compile:160000:1",
        "productive:7500000:1",
        "compile:160000:2",
        "productive:6460000:2",
    ],
    "resume": "operators-business",
}


def job(name: str = "llama", namespace: str = "research", **goodput: Any) -> dict[str, Any]:
    """A TrainingJob that runs; fields of its goodput may be changed."""
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"accelerator": {"type": "nvidia-h100-80gb"}},
        "status": {"phase": "Running", "attempts": ATTEMPTS, "goodput": {**GOODPUT, **goodput}},
    }


def without_ledger(name: str = "new") -> dict[str, Any]:
    """A TrainingJob that the operator has not accounted for yet."""
    return {**job(name), "status": {"phase": "Queued"}}
