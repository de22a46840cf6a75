"""Where a rollout is to go: from spec and status to the planner's task (see `rollout`).

    target   the update revision; the current one again where the update was refused
    canary   min(canary.replicas, desired) new groups beside the old ones, as long as the target is not promoted.
             They use the surge, so that the old revision keeps all its groups as far as the surge goes
    full     all but `partition` groups are of the target
    paused   what is there of either revision stays; scaling goes on with the current revision

The way back to the current revision knows neither canary nor partition.
"""

from __future__ import annotations

from dataclasses import dataclass

from drumline.api.inference import InferenceServiceSpec, Profile
from drumline.api.inference_rollout import Canary, Rollout
from drumline.api.inference_status import GroupStatus
from drumline.api.reasons import DrainReason
from drumline.core.gang.clock import unix
from drumline.core.gang.types import Pod
from drumline.core.inference import scale
from drumline.core.inference.groups import blip_left, live
from drumline.core.inference.rollout import Side, Standing, Task, Unit
from drumline.core.inference.view import View, in_service, is_going


@dataclass(frozen=True, slots=True)
class Way:
    """Between which revisions a rollout goes, by the status."""

    update: str  # revision of the spec
    current: str  # revision that serves by right
    target: str

    @property
    def back(self) -> bool:
        """Whether it returns to the revision that serves by right."""
        return self.target == self.current


def way(view: View) -> Way:
    """The way by the status; the policy `revisions` has set the update revision."""
    update = view.status.update_revision or ""
    current = view.status.current_revision or update
    refused = view.status.rollout.refused == update and _spec(view, current) is not None
    return Way(update, current, current if refused else update)


def canary_of(view: View) -> Canary | None:
    """The canary under way; None when there is none, or no more."""
    path = way(view)
    if path.back or view.status.rollout.promoted == path.update:
        return None
    return view.spec.rollout.canary


def task(view: View) -> Task:
    """The planner's task as things stand."""
    path = way(view)
    rollout = view.spec.rollout
    wanted = _roles(_spec(view, path.target))
    named = [*wanted, *(r.name for r in view.status.roles if r.name not in wanted)]
    return Task(
        target=path.target,
        stable=path.current,
        surge=rollout.max_surge,
        unavailable=rollout.max_unavailable,
        sides=tuple(_side(view, path, name, gone=name not in wanted) for name in named),
        paused=rollout.paused,
        why=DrainReason.ROLLED_BACK if path.target != path.update else DrainReason.ROLLOUT,
    )


def wanted_groups(view: View, role: str) -> int:
    """Groups that a role should have; one that the spec has no more keeps its last number while it is needed."""
    if view.spec.suspend or scale.role_spec(view, role) is not None:
        return scale.desired(view, role)
    child = view.obs.role_children.get(role)
    if child is not None:
        return child.replicas
    was = _spec(view, way(view).current)
    replicas = next((r.replicas for r in was.roles if r.name == role), None) if was is not None else None
    return replicas if replicas is not None else len(view.groups(role))


def unit(view: View, role: str, group: GroupStatus) -> Unit:
    """A group as the planner sees it."""
    since = group.evacuating_since
    waited = view.now - unix(since, view.now)
    return Unit(
        group.id,
        group.revision,
        _standing(view, role, group),
        _load(view, role, group),
        evacuating=since is not None,
        overdue=since is not None and waited >= view.obs.settings.evacuate_seconds,
    )


def _load(view: View, role: str, group: GroupStatus) -> float:
    latest = view.obs.signals.of(role, group.id).latest
    return (latest.in_flight or 0.0) if latest is not None else 0.0


def _standing(view: View, role: str, group: GroupStatus) -> Standing:
    leader = view.pods(role, group).get(0)
    if not in_service(group):
        return Standing.SHAKY if _may_come_back(view, group, leader) else Standing.OUT
    return Standing.SERVING if leader is not None and leader.ready else Standing.SHAKY


def _may_come_back(view: View, group: GroupStatus, leader: Pod | None) -> bool:
    """Whether a group served until a moment ago, or until its node was not heard of any more.

    All of them may be so for a moment, and none has failed: whoever lets go of them then has none left. A node that
    stays away loses its pods soon, but for those of the edge, which are not waited for.
    """
    if leader is None or leader.terminal or leader.deleting or not live(group) or group.ready_at is None:
        return False
    if blip_left(group, view.now):
        return True
    return leader.node in view.obs.lost and view.spec.profile is not Profile.EDGE


def _side(view: View, path: Way, role: str, *, gone: bool) -> Side:
    units = tuple(unit(view, role, g) for g in view.groups(role) if not is_going(g))
    desired = wanted_groups(view, role)
    if gone:
        return Side(role, desired, 0, desired if canary_of(view) is not None else 0, units, gone=True)
    fresh = sum(1 for u in units if u.revision == path.target)
    others = len(units) - fresh
    new, old = _goal(view, path, desired)
    if view.spec.rollout.paused and (others or not path.back):
        new = min(new, fresh)
        old = max(desired - new, min(others, desired + view.spec.rollout.max_surge - new))
    if role not in _roles(_spec(view, path.current)):
        old = min(old, others)
        new = max(new, desired - old) if canary_of(view) is None else new
    return Side(role, desired, new, old, units)


def _goal(view: View, path: Way, desired: int) -> tuple[int, int]:
    """Groups of the target, and of any other revision, when all goes well."""
    if path.back:
        return desired, 0
    rollout: Rollout = view.spec.rollout
    new = desired - min(rollout.partition, desired)
    canary = canary_of(view)
    if canary is None:
        return new, desired - new
    new = min(new, canary.replicas)
    return new, desired - max(0, new - rollout.max_surge)


def _spec(view: View, revision: str) -> InferenceServiceSpec | None:
    """The spec of a revision, as far as it is known."""
    if revision == view.status.update_revision:
        return view.spec
    found = view.obs.revisions.get(revision)
    return found.spec if found is not None else None


def _roles(spec: InferenceServiceSpec | None) -> tuple[str, ...]:
    return tuple(r.name for r in spec.roles) if spec is not None else ()
