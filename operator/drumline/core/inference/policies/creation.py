"""Create what is missing of the running attempts, each pod as soon as its node is free of older attempts.

Start policy LeaderFirst: workers are created once their leader runs. It is not asked to be ready, since most
engines' leaders are ready only when they have their workers.

Of a group that another scheduler or queue admits, what that needs goes before the pods, and the first pod goes alone:
should the API server drop what makes it one of a gang, none follows it.

`created` is put on record when all pods of the attempt have been seen: from then on a pod that is not there is one
that is gone, before that it is one to be created.
"""

from __future__ import annotations

from functools import partial

from drumline.api.inference import StartPolicy
from drumline.api.inference_status import GroupStatus
from drumline.core.gang.backing import Backed
from drumline.core.gang.charges import charged
from drumline.core.gang.lazy import Lazy
from drumline.core.gang.plan import Action, Create, Manifest
from drumline.core.gang.pods import kept_off
from drumline.core.gang.types import Charge, Pod, PodPhase
from drumline.core.inference import backing
from drumline.core.inference.groups import every, live
from drumline.core.inference.policies.admission import size_of
from drumline.core.inference.render import PreparedGroup
from drumline.core.inference.view import View, is_going

CREATES_PER_PLAN = 2000  # so that a service that starts never blinds its own reconciliation for long
NO_BACKEND_SECONDS = 10.0  # between looks for a backend whose API is gone
LEADER = 0


def creation(view: View) -> View:
    """Create the pods of running attempts that are due and not there yet."""
    before: list[Action] = []
    firsts: list[Action] = []
    pods: list[Action] = []
    for role, group in every(view):
        if not live(group) or is_going(group):
            continue
        there = view.pods(role, group)
        before += _deleted(view, role, group, there)
        if group.created:
            continue
        if len(there) == len(group.nodes):
            view = view.put(role, group.model_copy(update={"created": True}))
            continue
        if view.obs.errors and size_of(view, role, group) is None:
            continue
        if group.backend is not None and backing.choice_of(view, group).adapter is None:
            view = view.again_in(NO_BACKEND_SECONDS)
            continue
        due = _due(view, role, group, there)[: CREATES_PER_PLAN - len(pods)]
        if due:
            needed, creates = _creates(view, role, group, due)
            alone = 1 if group.backend is not None and not there else 0
            before += needed if not there else []
            firsts += creates[:alone]
            pods += creates[alone:]
        if len(pods) >= CREATES_PER_PLAN:
            view = view.again_in(0.0)
    return view.act(*before).act(*firsts).act(*pods)


def _deleted(view: View, role: str, group: GroupStatus, there: dict[int, Pod]) -> tuple[Create, ...]:
    """What its backend needs of a group that waits there, and somebody else deleted."""
    waits = group.backend is not None and any(not pod.bound for pod in there.values())
    behind = backing.backed(view, role, group) if waits else None
    if behind is None:
        return ()
    return behind.missing(there.values(), backing.of_attempt(view, role, group), view.obs.theirs_known)


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
    """What has to be there before the pods, and the pods."""
    prepared = backing.prepared(view, role, group)
    behind = backing.backed(view, role, group, prepared) if group.backend is not None else None
    if behind is None:
        made = partial(_charged, prepared, group)
        pods = [Create("pods", Lazy(partial(made, worker))) for worker in due]
        return list(prepared.shared()), list(pods)
    left = partial(_left, prepared, behind, group.excluded)
    marked = [Create("pods", Lazy(partial(left, worker)), kept=behind.adapter.kept) for worker in due]
    return [*prepared.shared(), *behind.objects], list(marked)


def _charged(prepared: PreparedGroup, group: GroupStatus, worker: int) -> Manifest:
    """The pod on its node, with what it counts for in the group's queue."""
    shape = prepared.shape
    charge = Charge(group.queue, shape.accelerator, shape.chips_per_worker) if group.queue else None
    return charged(prepared.pod(worker, group.nodes[worker] or None), charge)


def _left(prepared: PreparedGroup, behind: Backed, excluded: tuple[str, ...], worker: int) -> Manifest:
    """The pod as its backend wants it, kept off the nodes that the group avoids."""
    pod = behind.pod(prepared.pod(worker, None), worker)
    if not excluded:
        return pod
    off = kept_off(pod["spec"].get("affinity"), [(node, True) for node in excluded])
    return {**pod, "spec": {**pod["spec"], "affinity": off}}
