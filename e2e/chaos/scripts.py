"""Jobs by the seed: what each is, what is done to it, and how it has to end."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from drumline.api.meta import LABEL_ATTEMPT, LABEL_RANK

FAKE = "fake.drumline.dev/"  # what kwok makes of a pod
PLAYED = "chaos.drumline.dev/"  # the same of a pod whose program runs behind a launcher, which kwok knows nothing of
POOL = "cloud.google.com/gke-nodepool"


class Kind(StrEnum):
    """What becomes of a job if nothing else happens to it."""

    WORKS = "works"  # runs for a while and succeeds
    STUMBLES = "stumbles"  # a rank fails in the first attempt; later ones run until they are ended
    HOPELESS = "hopeless"  # a rank fails in every attempt
    ENDLESS = "endless"  # runs until it is deleted


class Form(StrEnum):
    """What a job asks for beside its gang."""

    PLAIN = "plain"
    IN_PLACE = "in place"  # its processes are restarted in their pods
    SPARED = "spared"  # places are held for nodes that are lost
    ELASTIC = "elastic"  # it runs with fewer slices where the rest can't be had, and is told to be larger or smaller


class End(StrEnum):
    """How a job has to end."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    GONE = "Gone"


@dataclass(frozen=True, slots=True)
class Script:
    """One job. Times are seconds since the seed began, each of an action.

    `suspend`, `resume`, `delete`, `slices N`, and `lose`: a node of the job's is lost.
    """

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
    form: Form = Form.PLAIN
    slices: int = 1
    queue: str = ""

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
            "slices": self.slices,
            "workersPerSlice": self.size // self.slices,
            "scheduling": {"gangTimeoutSeconds": 20},
            "failurePolicy": {
                "maxRestarts": self.restarts,
                "backoff": {"initialSeconds": 1, "maxSeconds": 3},
            },
            "template": template,
        }
        self._shape(spec)
        spec |= {"priorityClassName": self.priority} if self.priority else {}
        spec |= {"queue": self.queue} if self.queue else {}
        return {
            "apiVersion": "drumline.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": spec,
        }

    def _shape(self, spec: dict[str, Any]) -> None:
        """What the form of the job adds."""
        if self.form is Form.IN_PLACE:
            spec["failurePolicy"]["restartStrategy"] = "InPlace"
            spec["template"]["spec"]["containers"][0]["command"] = ["python", "train.py"]
        elif self.form is Form.SPARED:
            spec["spares"] = 1 + self.run_seconds % 2
        elif self.form is Form.ELASTIC:
            spec["elastic"] = {"minSlices": 1, "maxSlices": self.slices + 1, "regrowSeconds": 5}

    def _annotations(self) -> dict[str, str]:
        said: dict[str, str] = {}
        if self.kind is Kind.WORKS:
            said = {"run-seconds": str(self.run_seconds)}
        elif self.kind in (Kind.STUMBLES, Kind.HOPELESS):
            rank = str(self.run_seconds % (self.size // self.slices))
            said = {"run-seconds": "2", "exit-code": "3", "only-ranks": rank}
        if self.kind is Kind.STUMBLES:
            said["only-attempts"] = "1"
        prefix = PLAYED if self.form is Form.IN_PLACE else FAKE
        return {f"{prefix}{key}": value for key, value in said.items()}


@dataclass(frozen=True, slots=True)
class Room:
    """Chips that a job may ask for. `shared`: hosts on which others stay, wherever they came to lie."""

    chips: int
    shared: int = 0

    def holds(self, size: int, chips: int) -> bool:
        """Whether so many pods of so many chips fit, when each shared host has one too few left for another pod."""
        return size * chips + self.shared * (chips - 1) <= self.chips


def draw(
    chance: random.Random, count: int, sizes: tuple[int, ...], seconds: float, room: Room
) -> list[Script]:
    """Jobs that begin within the first half of `seconds`, each of which fits the room."""
    return [_one(chance, f"job-{number}", sizes, seconds, room) for number in range(count)]


def formed(chance: random.Random, scripts: list[Script], seconds: float) -> list[Script]:
    """The same jobs, two of three of them in one of the forms that recover in ways of their own."""
    return [_formed(chance, script, seconds) for script in scripts]


def _formed(chance: random.Random, script: Script, seconds: float) -> Script:
    form = chance.choices(list(Form), weights=(2, 2, 2, 2))[0]
    soon = round(min(seconds, script.begins + chance.uniform(1, 15)), 2)
    if form is Form.SPARED and chance.random() < 0.5:
        return replace(script, form=form, actions=_with(script, soon, "lose"))
    if form is not Form.ELASTIC:
        return replace(script, form=form)
    slices = chance.choice([n for n in (1, 2, 3, 4) if script.size % n == 0])
    scaled = _with(script, soon, f"slices {chance.randint(1, slices + 1)}")
    return replace(script, form=form, slices=slices, actions=scaled)


def _with(script: Script, at: float, what: str) -> tuple[tuple[float, str], ...]:
    return tuple(sorted((*script.actions, (at, what))))


def _one(chance: random.Random, name: str, sizes: tuple[int, ...], seconds: float, room: Room) -> Script:
    kind = chance.choices(list(Kind), weights=(5, 3, 2, 2))[0]
    size = chance.choice(sizes)
    chips = chance.choice([c for c in (1, 2, 4, 8) if room.holds(size, c)] or [1])
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


def script_of(pod: Mapping[str, Any]) -> dict[str, str]:
    """What a pod's annotations say of its program, where they count for this rank and attempt."""
    labels, notes = pod["metadata"].get("labels") or {}, pod["metadata"].get("annotations") or {}
    said = {k.partition("/")[2]: v for k, v in notes.items() if k.startswith((FAKE, PLAYED))}
    ranks, attempts = said.pop("only-ranks", None), said.pop("only-attempts", None)
    counts = (ranks is None or labels.get(LABEL_RANK, "") in ranks.split(",")) and (
        attempts is None or labels.get(LABEL_ATTEMPT, "0") in attempts.split(",")
    )
    return said if counts else {}
