"""A launcher that applies and does not run: when that is known, and what the condition then says.

A launcher reports at once when it begins. One that has not been heard of for `launcher_silence_seconds` after
its container started is missed: its image lacks Python, or its reports do not get through. A Python that is too
old says so itself. While the condition speaks of an attempt that has begun with another hope than the launcher,
or steps are known, nothing of this matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from drumline.api.reasons import ConditionType, Reason
from drumline.api.status import TrainingJobStatus
from drumline.api.training import TrainingJobSpec
from drumline.core.gang.types import Pod
from drumline.core.training import conditions
from drumline.core.training.observation import Observation
from drumline.core.training.progress_condition import ProgressReported, silent
from drumline.core.training.progress_render import launches
from drumline.core.training.rendering import reporting

_OPEN: Final = frozenset({Reason.NO_REPORTS.value, Reason.LAUNCHER_SILENT.value})
_REMEDY: Final = (
    "the command runs on without it; progress.source log, report or none does without the launcher"
)


@dataclass(frozen=True, slots=True)
class Hello:
    """What the workers of an attempt said of themselves, whatever else they reported."""

    attempt: int
    old_python: str = ""  # its version, where it is too old for the launcher


@dataclass(frozen=True, slots=True)
class Silence:
    """What the condition is to say from now on, None = what it says; and in how many seconds to look again."""

    said: ProgressReported | None = None
    due: float | None = None


NOTHING: Final = Silence()


def judge(
    obs: Observation, status: TrainingJobStatus, hello: Hello | None, since: float, now: float
) -> Silence:
    """For a job's status as it will be. `since`: from when on a hello would have been heard, Unix seconds."""
    known = conditions.find(status, ConditionType.PROGRESS_REPORTED)
    if known is None or known.reason not in _OPEN or obs.spec is None or not _expected(obs, obs.spec):
        return NOTHING
    if hello is not None and hello.attempt == status.attempt:
        return _heard(obs, obs.spec, status.attempt, hello, known.reason)
    pod = _reporter(obs, status)
    if pod is None or known.reason == Reason.LAUNCHER_SILENT:
        return NOTHING
    left = max(pod.times.started_at, since) + obs.settings.launcher_silence_seconds - now
    return Silence(due=left) if left > 0 else Silence(_missed(obs.spec, status.attempt, pod))


def _expected(obs: Observation, spec: TrainingJobSpec) -> bool:
    """Whether the launcher is to say hello: the template may forbid it to report."""
    if not launches(spec, reporting(obs.settings)):
        return False
    env = spec.template["spec"]["containers"][0].get("env") or ()
    said = [e.get("value") for e in env if isinstance(e, dict) and e.get("name") == "DRUMLINE_REPORTER"]
    return "none" not in said


def _heard(obs: Observation, spec: TrainingJobSpec, attempt: int, hello: Hello, reason: str) -> Silence:
    if hello.old_python:
        text = (
            f"attempt {attempt}: the launcher needs Python 3.9 or newer, and the image's is "
            f"{hello.old_python}; {_REMEDY}"
        )
        return Silence(ProgressReported(False, Reason.NO_PYTHON, text))
    if reason == Reason.LAUNCHER_SILENT:
        return Silence(silent(spec, reporting(obs.settings), attempt))
    return NOTHING


def _reporter(obs: Observation, status: TrainingJobStatus) -> Pod | None:
    """The pod that says hello, while its program runs: worker 0 of slice 0."""
    running = status.placement is not None and status.attempts and status.attempts[-1].finished_at is None
    if not running or obs.roster is None:
        return None
    pod = obs.pods.get(obs.roster.name_of(0, status.attempt))
    return pod if pod is not None and pod.times.started_at and not pod.terminal and not pod.deleting else None


def _missed(spec: TrainingJobSpec, attempt: int, pod: Pod) -> ProgressReported:
    container = spec.template["spec"]["containers"][0]["name"]
    text = (
        f"attempt {attempt}: the launcher in pod {pod.name} says nothing: either the image of container "
        f"{container} has no Python 3.9 or newer on its PATH, or the pod does not reach the operator's report "
        f"Service; {_REMEDY}"
    )
    return ProgressReported(False, Reason.LAUNCHER_SILENT, text)
