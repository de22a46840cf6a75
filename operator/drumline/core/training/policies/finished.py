"""After the end: survivors go after a grace, names stop resolving, and the job itself goes after its TTL."""

from __future__ import annotations

from dataclasses import replace

from drumline.api.reasons import ConditionType
from drumline.core.training import conditions
from drumline.core.training.clock import unix
from drumline.core.training.policies.discovery import publish
from drumline.core.training.view import View, deletions


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
    survivors = [p for p in view.obs.pods.values() if not p.terminal]
    if survivors:
        complete = conditions.is_true(view.status, ConditionType.COMPLETE)
        left = ended_at + view.obs.settings.survivor_grace_seconds - view.now if complete else 0.0
        if left > 0:
            return view.again_in(left)
        view = view.act(*deletions(survivors))
    return publish(view, {})
