"""Create what is missing of the running attempts, each pod as soon as its node is free of older attempts.

Start policy LeaderFirst: workers are created once their leader runs. It is not asked to be ready, since most
engines' leaders are ready only when they have their workers.

`created` is put on record when all pods of the attempt have been seen: from then on a pod that is not there is one
that is gone, before that it is one to be created.
"""

from __future__ import annotations

from functools import partial

from drumline.api.inference import StartPolicy
from drumline.api.inference_status import GroupStatus
from drumline.core.gang.lazy import Lazy
from drumline.core.gang.plan import Action, Create
from drumline.core.gang.types import Pod, PodPhase
from drumline.core.inference.groups import every, live
from drumline.core.inference.policies.admission import size_of
from drumline.core.inference.render import prepare_group
from drumline.core.inference.view import View, is_going

CREATES_PER_PLAN = 2000  # so that a service that starts never blinds its own reconciliation for long
LEADER = 0


def creation(view: View) -> View:
    """Create the pods of running attempts that are due and not there yet."""
    before: list[Action] = []
    pods: list[Action] = []
    for role, group in every(view):
        if not live(group) or is_going(group) or group.created:
            continue
        there = view.pods(role, group)
        if len(there) == len(group.nodes):
            view = view.put(role, group.model_copy(update={"created": True}))
            continue
        if view.obs.errors and size_of(view, role, group) is None:
            continue
        due = _due(view, role, group, there)[: CREATES_PER_PLAN - len(pods)]
        if due:
            shared, creates = _creates(view, role, group, due)
            before += shared if not there else []
            pods += creates
        if len(pods) >= CREATES_PER_PLAN:
            view = view.again_in(0.0)
    return view.act(*before).act(*pods)


def _due(view: View, role: str, group: GroupStatus, there: dict[int, Pod]) -> list[int]:
    """The workers to create now."""
    found = view.role_spec_of(role, group)
    if found is None:
        return []
    occupied = {
        p.node
        for p in view.pods_of_any_attempt(role, group.id)
        if p.node and not p.terminal and (p.member is None or p.member.attempt != group.attempt)
    }
    missing = [
        w for w, node in enumerate(group.nodes) if w not in there and (node not in occupied or not node)
    ]
    leader = there.get(LEADER)
    held = found.start_policy is StartPolicy.LEADER_FIRST and (
        leader is None or leader.phase is not PodPhase.RUNNING
    )
    return [w for w in missing if w == LEADER or not held]


def _creates(view: View, role: str, group: GroupStatus, due: list[int]) -> tuple[list[Action], list[Action]]:
    """What the pods refer to, and the pods."""
    prepared = prepare_group(
        view.obs.service,
        view.spec_of(group) or view.spec,
        role,
        group,
        view.obs.catalog,
        view.obs.settings,
        pod_priority_class=view.obs.pod_priority_class,
    )
    pods = [
        Create("pods", Lazy(partial(prepared.pod, worker, group.nodes[worker] or None))) for worker in due
    ]
    return list(prepared.shared()), list(pods)
