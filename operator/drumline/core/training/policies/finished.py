"""After the end: survivors go after a grace, names stop resolving, and the job itself goes after its TTL."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from drumline.api.reasons import ConditionType
from drumline.core.gang.clock import unix
from drumline.core.gang.types import Pod
from drumline.core.training import conditions
from drumline.core.training.policies.discovery import publish
from drumline.core.training.policies.spares import is_spare
from drumline.core.training.policies.termination import force_overdue
from drumline.core.training.view import View, deletions

LET_GO_SECONDS: Final = 10.0  # for a pod to end whose process has


def finished(view: View) -> View:
    """Nothing starts again in a job that is Complete or Failed."""
    if not conditions.is_finished(view.status):
        return view
    ended_at = unix(view.status.completion_time, view.now)
    view = _clean_up(view, ended_at)
    ttl = view.obs.spec.ttl_seconds_after_finished if view.obs.spec is not None else None
    if ttl is not None:
        left = ended_at + ttl - view.now
        view = replace(view, delete_self=True) if left <= 0 else view.again_in(left)
    return view.done(finished.__name__)


def _clean_up(view: View, ended_at: float) -> View:
    # What a backend has of the gang stays: with its Workload Kueue deletes pods that have ended too, and their logs.
    view = view.act(*deletions([p for p in view.obs.pods.values() if is_spare(p) and not p.terminal]))
    survivors = [p for p in view.obs.pods.values() if not p.terminal and not is_spare(p)]
    view, survivors = _letting_go(view, survivors, ended_at)
    if survivors:
        complete = conditions.is_true(view.status, ConditionType.COMPLETE)
        left = ended_at + view.obs.settings.survivor_grace_seconds - view.now if complete else 0.0
        if left > 0:
            return view.again_in(left)
        view = view.act(*deletions(survivors))
    return publish(force_overdue(view)[0], {})


def _letting_go(view: View, survivors: list[Pod], ended_at: float) -> tuple[View, list[Pod]]:
    """Survivors without the pod that failed first, while that may still be ending by itself: its logs stay."""
    last = view.status.attempts[-1] if view.status.attempts else None
    left = ended_at + LET_GO_SECONDS - view.now
    if last is None or last.cause is None or left <= 0:
        return view, survivors
    others = [p for p in survivors if p.name != last.pod or p.deleting]
    return (view.again_in(left), others) if len(others) < len(survivors) else (view, survivors)
