"""Pods of attempts that are over go, all at once, and the entry of a finished group after the last of them.

What is left of a failed attempt serves nobody: without a part of itself a group answers nothing, so its pods get
`BROKEN_SECONDS` to end, whatever grace a server that has work would need. The next attempt waits for their nodes.
A leader that is deleted, at the end of a drain or by an eviction, may still have to answer what it has in flight, and
cannot without its workers: they stay until it has ended, or its grace is over.

What another scheduler or queue has of an attempt goes with the attempt, but not before the workers that its leader needs:
one that misses it deletes their pods.

Everything here follows from what is on record: a plan that was cut off is made up for by the next one.
"""

from __future__ import annotations

from typing import Final

from drumline.api.inference_status import GroupStatus
from drumline.core.gang.backends.base import Found
from drumline.core.gang.backing import ended
from drumline.core.gang.plan import Delete
from drumline.core.gang.types import Member
from drumline.core.inference.backing import all_seen, objects_of, of_attempt
from drumline.core.inference.groups import deletions, every, finished, live
from drumline.core.inference.names import backend_group
from drumline.core.inference.view import View, is_going

BROKEN_SECONDS: Final = 5
LOOK_SECONDS: Final = 1.0  # until what backends have is seen by a new leader


def retire(view: View) -> View:
    """Delete every pod that is of no running attempt; drop the groups that are gone."""
    attempts = {(role, group.id): group.attempt for role, group in every(view) if live(group)}
    view, needed = _needed(view)
    doomed = needed | {a.uid for stage in view.actions for a in stage if isinstance(a, Delete)}
    old = [
        pod
        for key, pods in view.obs.pods.items()
        for pod in pods
        if pod.uid not in doomed and (pod.member is None or pod.member.attempt != attempts.get(key))
    ]
    staying = {(role, group.id) for role, group in every(view) if not is_going(group)}
    broken = [pod for pod in old if pod.member is not None and _group(pod.member) in staying]
    view = view.act(*deletions(broken, BROKEN_SECONDS), *deletions(pod for pod in old if pod not in broken))
    for role, group in every(view):
        theirs = _over(view, role, group)
        kept = _answering(view, role, group, needed)
        view = view.act(*ended(f for f in theirs if f.document["metadata"]["name"] not in kept))
        if finished(group) and not theirs and not view.pods_of_any_attempt(role, group.id):
            seen = all_seen(view, group)
            view = view.drop(role, group.id) if seen else view.again_in(LOOK_SECONDS)
    return view


def _over(view: View, role: str, group: GroupStatus) -> list[Found]:
    """What other schedulers and queues have of attempts that are over."""
    running = of_attempt(view, role, group) if live(group) else ()
    return [found for found in objects_of(view, role, group) if found not in running]


def _answering(view: View, role: str, group: GroupStatus, needed: set[str]) -> set[str]:
    """What backends know the attempts by of which a pod is needed."""
    service, pods = view.obs.service.name, view.pods_of_any_attempt(role, group.id)
    attempts = {pod.member.attempt for pod in pods if pod.uid in needed and pod.member is not None}
    return {backend_group(service, role, attempt, group.id) for attempt in attempts}


def _needed(view: View) -> tuple[View, set[str]]:
    """Uids of pods whose leader is ending, or is to be told to, and a look at when its grace is over."""
    needed: set[str] = set()
    over = {(role, group.id) for role, group in every(view) if finished(group)}
    for pods in view.obs.pods.values():
        for leader in pods:
            member, left = leader.member, leader.deleting_until - view.now
            if member is None or member.worker or leader.terminal:
                continue
            if left <= 0 if leader.deleting else _group(member) not in over:
                continue
            others = {p.uid for p in pods if p.member is not None and p.member.attempt == member.attempt}
            needed |= others - {leader.uid}
            view = view.again_in(left) if leader.deleting and len(others) > 1 else view
    return view, needed


def _group(member: Member) -> tuple[str, int]:
    return member.role, member.slice
