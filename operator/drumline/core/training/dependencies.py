"""Which helpers of a gang are not due yet: those with `dependsOn` that does not hold."""

from __future__ import annotations

from collections.abc import Mapping

from drumline.api.meta import ROLE_WORKER
from drumline.api.training import Dependency, DependencyStatus, TrainingJobSpec
from drumline.core.gang.types import Pod, PodPhase
from drumline.core.training.view import View

WORKERS = "workers"  # how `dependsOn` names them


def not_due(view: View, current: Mapping[int, Pod]) -> frozenset[int]:
    """Indexes of helpers that have no pod yet and wait for another role. `current` is by index."""
    held: set[int] = set()
    for helper in view.spec.helpers:
        if not all(_satisfied(view, d, current) for d in helper.depends_on):
            held.update(view.roster.role_range(helper.name))
    return frozenset(held - current.keys() - view.succeeded()) if held else frozenset()


def dependent_helpers(view: View) -> tuple[str, ...]:
    """Names of the helpers that depend on another role."""
    return later_helpers(view.spec)


def later_helpers(spec: TrainingJobSpec | None) -> tuple[str, ...]:
    """The same of a spec; none of one that does not hold."""
    return tuple(h.name for h in spec.helpers if h.depends_on) if spec is not None else ()


def dependent_indexes(view: View) -> frozenset[int]:
    """Indexes of the helpers that depend on another role."""
    return frozenset(i for name in dependent_helpers(view) for i in view.roster.role_range(name))


def _satisfied(view: View, dependency: Dependency, current: Mapping[int, Pod]) -> bool:
    role = ROLE_WORKER if dependency.name == WORKERS else dependency.name
    succeeded = view.succeeded()
    for index in view.roster.role_range(role):
        pod = current.get(index)
        done = index in succeeded or (pod is not None and pod.phase is PodPhase.SUCCEEDED)
        ready = dependency.status is DependencyStatus.READY and pod is not None and pod.ready
        if not (done or ready):
            return False
    return True
