"""Jobs by the seed: what each is, what is done to it, and how it has to end."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

FAKE = "fake.drumline.dev/"
POOL = "cloud.google.com/gke-nodepool"


class Kind(StrEnum):
    """What becomes of a job if nothing else happens to it."""

    WORKS = "works"  # runs for a while and succeeds
    STUMBLES = "stumbles"  # a rank fails in the first attempt; later ones run until they are ended
    HOPELESS = "hopeless"  # a rank fails in every attempt
    ENDLESS = "endless"  # runs until it is deleted


class End(StrEnum):
    """How a job has to end."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    GONE = "Gone"


@dataclass(frozen=True, slots=True)
class Script:
    """One job. Times are seconds since the seed began, of an action: `suspend`, `resume`, `delete`."""

    name: str
    kind: Kind
    size: int
    chips: int
    priority: str
    begins: float
    actions: tuple[tuple[float, str], ...]
    end: End
    restarts: int
    run_seconds: int

    def manifest(self, namespace: str, pool: str) -> dict[str, Any]:
        """The TrainingJob, whose pods land on the hosts of that pool."""
        pod = {
            "terminationGracePeriodSeconds": 2,
            "nodeSelector": {POOL: pool},
            "containers": [{"name": "train", "image": "pause:3.10"}],
        }
        template = {"metadata": {"annotations": self._annotations()}, "spec": pod}
        spec = {
            "framework": "torch",
            "accelerator": {"type": "nvidia-h100-80gb", "chipsPerWorker": self.chips},
            "workersPerSlice": self.size,
            "scheduling": {"gangTimeoutSeconds": 20},
            "failurePolicy": {
                "maxRestarts": self.restarts,
                "backoff": {"initialSeconds": 1, "maxSeconds": 3},
            },
            "template": template,
        }
        if self.priority:
            spec["priorityClassName"] = self.priority
        return {
            "apiVersion": "drumline.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": spec,
        }

    def _annotations(self) -> dict[str, str]:
        said: dict[str, str] = {}
        if self.kind is Kind.WORKS:
            said = {"run-seconds": str(self.run_seconds)}
        elif self.kind in (Kind.STUMBLES, Kind.HOPELESS):
            rank = str(self.run_seconds % self.size)
            said = {"run-seconds": "2", "exit-code": "3", "only-ranks": rank}
        if self.kind is Kind.STUMBLES:
            said["only-attempts"] = "1"
        return {f"{FAKE}{key}": value for key, value in said.items()}


def draw(
    chance: random.Random, count: int, sizes: tuple[int, ...], seconds: float, most_chips: int
) -> list[Script]:
    """Jobs that begin within the first half of `seconds` and ask for at most `most_chips` chips each."""
    return [_one(chance, f"job-{number}", sizes, seconds, most_chips) for number in range(count)]


def _one(chance: random.Random, name: str, sizes: tuple[int, ...], seconds: float, most_chips: int) -> Script:
    kind = chance.choices(list(Kind), weights=(5, 3, 2, 2))[0]
    size = chance.choice(sizes)
    chips = chance.choice([c for c in (1, 2, 4, 8) if c * size <= most_chips] or [1])
    begins = round(chance.uniform(0, seconds / 2), 2)
    actions = _actions(chance, kind, begins, seconds)
    gone = any(what == "delete" for _, what in actions)
    end = End.GONE if gone else End.FAILED if kind is Kind.HOPELESS else End.SUCCEEDED
    return Script(
        name,
        kind,
        size,
        chips,
        chance.choice(("", "", "chaos-high", "chaos-low")),
        begins,
        actions,
        end,
        restarts=chance.randint(1, 3) if kind is Kind.HOPELESS else 100,
        run_seconds=chance.randint(5, 20),
    )


def _actions(
    chance: random.Random, kind: Kind, begins: float, seconds: float
) -> tuple[tuple[float, str], ...]:
    def moment(low: float, high: float) -> float:
        return round(chance.uniform(low, high), 2)

    found: list[tuple[float, str]] = []
    if chance.random() < 0.3:
        suspended = moment(begins, seconds * 0.8)
        found = [(suspended, "suspend"), (moment(suspended + 0.5, seconds), "resume")]
    if kind is Kind.ENDLESS or chance.random() < 0.12:
        found.append((moment(begins + 1, seconds), "delete"))
    return tuple(sorted(found))
