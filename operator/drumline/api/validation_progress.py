"""Whether `progress`, `checkpoint` and `model` hold together, and leave the operator what is its own.

Patterns are Python's: they are compiled here, as the operator and the launcher will compile them. FLOPs of
attention need every size of it: one missing size would silently leave them out.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final

from drumline.api import mounts
from drumline.api.errors import FieldError
from drumline.api.progress import ModelSpec, Progress, ProgressSource
from drumline.api.training import TrainingJobSpec
from drumline.api.wire import given

STEP: Final = "step"
STEP_GROUPS: Final = (STEP, "tokens", "seconds", "flops", "loss")
COMMIT_GROUPS: Final = (STEP,)
ATTENTION: Final = {
    "layers": "layers",
    "heads": "heads",
    "headDim": "head_dim",
    "sequenceLength": "sequence_length",
}


def progress_errors(spec: TrainingJobSpec) -> Iterator[FieldError]:
    """Errors of `spec.progress` and `spec.model`, and of a template that takes what reporting needs."""
    yield from _scrape_errors(spec.progress)
    yield from _pattern_errors("spec.progress.pattern", spec.progress.pattern, STEP_GROUPS)
    yield from _pattern_errors("spec.progress.commitPattern", spec.progress.commit_pattern, COMMIT_GROUPS)
    if spec.model is not None:
        yield from _model_errors(spec.model)


def mount_errors(path: str, spec: TrainingJobSpec) -> Iterator[FieldError]:
    """What of the workers' well-formed template stands where the operator's volumes go."""
    if spec.progress.source is ProgressSource.NONE:
        return
    pod = spec.template["spec"]
    yield from _name_errors(f"{path}.volumes", pod.get("volumes"), mounts.VOLUMES)
    for kind in ("containers", "initContainers"):
        containers = pod.get(kind) or ()
        yield from _name_errors(f"{path}.{kind}", containers, (mounts.LAUNCHER_CONTAINER,))
        for index, container in enumerate(containers):
            yield from _path_errors(f"{path}.{kind}[{index}].volumeMounts", container.get("volumeMounts"))


def _scrape_errors(progress: Progress) -> Iterator[FieldError]:
    wanted = progress.source is ProgressSource.SCRAPE
    if wanted and progress.scrape is None:
        yield FieldError(
            "spec.progress.scrape", "required with source scrape; allowed: port and step of rank 0's metrics"
        )
    if not wanted and progress.scrape is not None:
        yield FieldError(
            "spec.progress.scrape", f"given with source {progress.source}; allowed: absent, or source scrape"
        )


def _pattern_errors(path: str, pattern: str | None, groups: tuple[str, ...]) -> Iterator[FieldError]:
    if pattern is None:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what may mean something else in some later Python
            named = re.compile(pattern).groupindex
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        yield FieldError(
            path, f"given {given(pattern)} ({error}); allowed: a regular expression of Python's re"
        )
        return
    if STEP not in named:
        yield FieldError(path, f"given {given(pattern)}; allowed: a pattern with the group (?P<{STEP}>\\d+)")
    if unknown := sorted(named.keys() - set(groups)):
        yield FieldError(path, f"given the groups {', '.join(unknown)}; allowed: {', '.join(groups)}")


def _model_errors(model: ModelSpec) -> Iterator[FieldError]:
    active = model.active_parameters
    if active is not None and active > model.parameters:
        yield FieldError(
            "spec.model.activeParameters",
            f"given {active:g}; allowed: at most parameters, {model.parameters:g}",
        )
    named = [name for name, field in ATTENTION.items() if getattr(model, field) is not None]
    if model.window is not None:
        named.append("window")
    if not named:
        return
    for name, field in ATTENTION.items():
        if getattr(model, field) is None:
            yield FieldError(
                f"spec.model.{name}",
                f"required with {', '.join(named)}; allowed: all of {', '.join(ATTENTION)}, or none of them",
            )


def _name_errors(path: str, items: Any, taken: tuple[str, ...]) -> Iterator[FieldError]:
    for index, item in enumerate(items or ()):
        if item.get("name") in taken:
            yield FieldError(
                f"{path}[{index}].name",
                f"given {item['name']!r}, which the operator adds; allowed: any other name, or "
                "spec.progress.source none",
            )


def _path_errors(path: str, volume_mounts: Any) -> Iterator[FieldError]:
    """Mounts are not in the shallow schema: whatever they look like, they are looked at with care."""
    for index, mount in enumerate(volume_mounts if isinstance(volume_mounts, list) else ()):
        where = mount.get("mountPath") if isinstance(mount, Mapping) else None
        if isinstance(where, str) and mounts.is_taken(where):
            yield FieldError(
                f"{path}[{index}].mountPath",
                f"given {where!r}, where the operator mounts its own; allowed: any other path, or "
                "spec.progress.source none",
            )
