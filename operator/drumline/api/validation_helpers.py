"""Whether helpers have sound names and an order in which they can start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Final

from drumline.api.errors import FieldError
from drumline.api.training import Helper, TrainingJobSpec

WORKERS: Final = "workers"
TAKEN: Final = ("spare", "worker", WORKERS)  # roles of ours, and the workers' name in dependsOn


def helper_errors(spec: TrainingJobSpec) -> Iterator[FieldError]:
    """Errors of `spec.helpers`, their templates aside."""
    names = Counter(helper.name for helper in spec.helpers)
    for index, helper in enumerate(spec.helpers):
        path = f"spec.helpers[{index}]"
        if helper.name in TAKEN:
            yield FieldError(
                f"{path}.name", f"given {helper.name!r}; allowed: any name but {', '.join(TAKEN)}"
            )
        if names[helper.name] > 1:
            yield FieldError(f"{path}.name", f"given {helper.name!r} twice; allowed: unique names")
        yield from _dependency_errors(path, helper, frozenset(names))
    yield from _cycle_errors(spec)


def _dependency_errors(path: str, helper: Helper, names: frozenset[str]) -> Iterator[FieldError]:
    allowed = ", ".join(sorted({*names, WORKERS} - {helper.name}))
    seen: set[str] = set()
    for index, dependency in enumerate(helper.depends_on):
        where = f"{path}.dependsOn[{index}].name"
        if dependency.name == helper.name:
            yield FieldError(where, f"given {dependency.name!r}, the helper itself; allowed: {allowed}")
        elif dependency.name not in {*names, WORKERS}:
            yield FieldError(where, f"given {dependency.name!r}, which is no helper; allowed: {allowed}")
        if dependency.name in seen:
            yield FieldError(where, f"given {dependency.name!r} twice; allowed: each name once")
        seen.add(dependency.name)


def _cycle_errors(spec: TrainingJobSpec) -> Iterator[FieldError]:
    graph = {h.name: {d.name for d in h.depends_on} - {h.name} for h in spec.helpers}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1]
        index = next(i for i, helper in enumerate(spec.helpers) if helper.name in circle)
        yield FieldError(
            f"spec.helpers[{index}].dependsOn",
            f"given a circle, {' → '.join(reversed(circle))}; allowed: helpers that can start one after the other",
        )
