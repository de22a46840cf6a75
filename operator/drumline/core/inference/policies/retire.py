"""Pods of attempts that are over go, all at once, and the entry of a finished group after the last of them.

Everything here follows from what is on record: a plan that was cut off is made up for by the next one.
"""

from __future__ import annotations

from drumline.core.gang.plan import Delete
from drumline.core.inference.groups import deletions, every, finished, live
from drumline.core.inference.view import View


def retire(view: View) -> View:
    """Delete every pod that is of no running attempt; drop the groups that are gone."""
    attempts = {(role, group.id): group.attempt for role, group in every(view) if live(group)}
    doomed = {a.uid for stage in view.actions for a in stage if isinstance(a, Delete)}
    old = [
        pod
        for key, pods in view.obs.pods.items()
        for pod in pods
        if pod.uid not in doomed and (pod.member is None or pod.member.attempt != attempts.get(key))
    ]
    view = view.act(*deletions(old))
    for role, group in every(view):
        if finished(group) and not view.pods_of_any_attempt(role, group.id):
            view = view.drop(role, group.id)
    return view
