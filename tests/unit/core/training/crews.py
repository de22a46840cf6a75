"""Builders of jobs whose launchers speak: a gang in place, and what its launchers say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from drumline.api.orders import ProcessState
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.crew import Process
from drumline.core.gang.plan import Plan
from drumline.core.training.decide import decide
from drumline.core.training.observation import Observation, Settings
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

SETTINGS = Settings(report_url="https://reports:8443/v1/reports", launcher_image="example.org/drumline:1")
TEMPLATE = {
    "spec": {"containers": [{"name": "train", "image": "example.org/train:1", "command": ["python", "t.py"]}]}
}


def running(**changes: Any) -> Observation:
    """A gang of four that restarts in place, all of its processes running."""
    policy = {
        "restartStrategy": "InPlace",
        "maxRestarts": 9,
        "backoff": {"initialSeconds": 0},
        **changes.pop("failurePolicy", {}),
    }
    raw = jobs.spec(**{"template": TEMPLATE, **changes, "failurePolicy": policy})
    observation = jobs.running(replace(jobs.job(raw), settings=SETTINGS))
    return replace(observation, crew=all_of(observation, ProcessState.RUNNING))


def process(state: ProcessState, epoch: int = 0, at: float = NOW, code: int = 0, text: str = "") -> Process:
    """What one launcher says."""
    return Process(epoch, state, "o", at, exit_code=code, text=text)


def all_of(
    observation: Observation, state: ProcessState, epoch: int = 0, at: float = NOW
) -> dict[int, Process]:
    """All workers' launchers say the same."""
    assert observation.roster is not None
    return {i: process(state, epoch, at) for i in range(observation.roster.workers)}


def saying(observation: Observation, **said: Process) -> Observation:
    """The observation with what single ranks say (`r1=…`) changed."""
    crew = {**observation.crew, **{int(rank[1:]): what for rank, what in said.items()}}
    return replace(observation, crew=crew)


def ended(epoch: int = 0, code: int = 3, at: float = NOW + 60, text: str = "exit code 3") -> Process:
    """A process that failed."""
    return process(ProcessState.ENDED, epoch, at, code, text)


def at_epoch(observation: Observation, state: ProcessState, at: float = NOW + 61) -> Observation:
    """All launchers are at the epoch of the status."""
    return replace(observation, crew=all_of(observation, state, observation.status.epoch, at))


def after(observation: Observation, now: float) -> tuple[Plan, Observation]:
    """The plan, and the world with its status written."""
    plan = decide(observation, now)
    assert plan == decide(observation, now)
    written: Mapping[str, Any] | None = jobs.written(plan)
    status = TrainingJobStatus.model_validate(written) if written is not None else observation.status
    return plan, replace(observation, status=status)
