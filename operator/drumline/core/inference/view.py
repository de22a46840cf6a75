"""The value that policies hand on: what was observed, the status as it will be, what is to be done.

A policy is a function ``(View) -> View``. It reads, returns a changed copy, and may end the decision with
``done()``. Nothing is ever changed in place. Groups are changed in the status (`put`, `drop`); what must be on
record before its side effects (a placement, the end of an attempt, a group's number) is said by `first`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from drumline.api.inference import InferenceRoleSpec, InferenceServiceSpec
from drumline.api.inference_status import GroupPhase, GroupStatus, InferenceServiceStatus, RoleStatus
from drumline.api.meta import API_VERSION, INFERENCE_SERVICE
from drumline.api.reasons import Reason, ServiceCondition
from drumline.core.gang import conditions
from drumline.core.gang.course import Course
from drumline.core.gang.names import Owner
from drumline.core.gang.types import GangRequest, Pod
from drumline.core.inference import names
from drumline.core.inference.observation import Observation


@dataclass(frozen=True, slots=True)
class View(Course):
    """One decision in the making."""

    obs: Observation
    now: float
    status: InferenceServiceStatus
    queue: tuple[GangRequest, ...] = ()

    def with_status(self, **changes: Any) -> View:
        """The view with changed status fields."""
        return replace(self, status=self.status.model_copy(update=changes))

    def first(self) -> View:
        """The status is written before the actions, and they happen only if that write succeeds."""
        return replace(self, status_first=True)

    def condition(self, kind: ServiceCondition, value: bool, reason: Reason | str, message: str) -> View:
        """The view with that condition in its status."""
        found = conditions.with_condition(
            self.status.conditions,
            kind.value,
            value,
            str(reason),
            message,
            self.now,
            self.obs.service.generation,
        )
        return self if found is self.status.conditions else self.with_status(conditions=found)

    def ask(self, *requests: GangRequest) -> View:
        """These groups wait for admission."""
        return replace(self, queue=(*self.queue, *requests))

    @property
    def spec(self) -> InferenceServiceSpec:
        """The valid spec; policies after `validity` may rely on it."""
        if self.obs.spec is None:
            raise ValueError("an invalid spec was let past the validity policy")
        return self.obs.spec

    @property
    def owner(self) -> Owner:
        """The service as owner of what is made for it."""
        meta = self.obs.service
        return Owner(API_VERSION, INFERENCE_SERVICE, meta.namespace, meta.name, meta.uid)

    def role(self, name: str) -> RoleStatus:
        """Status of a role; an empty one when there is none yet."""
        return next((r for r in self.status.roles if r.name == name), RoleStatus(name=name))

    def groups(self, role: str) -> tuple[GroupStatus, ...]:
        """The groups of a role, by id."""
        return self.role(role).groups

    def put_role(self, role: RoleStatus) -> View:
        """The role's status replaced, or added at the end."""
        if any(r.name == role.name for r in self.status.roles):
            return self.with_status(
                roles=tuple(role if r.name == role.name else r for r in self.status.roles)
            )
        return self.with_status(roles=(*self.status.roles, role))

    def put(self, role: str, group: GroupStatus) -> View:
        """The group's entry replaced, or added at the end."""
        known = self.role(role)
        there = any(g.id == group.id for g in known.groups)
        groups = (
            tuple(group if g.id == group.id else g for g in known.groups) if there else (*known.groups, group)
        )
        return self.put_role(known.model_copy(update={"groups": groups}))

    def drop(self, role: str, group: int) -> View:
        """The group's entry gone."""
        known = self.role(role)
        groups = tuple(g for g in known.groups if g.id != group)
        return self.put_role(known.model_copy(update={"groups": groups}))

    def spec_of(self, group: GroupStatus) -> InferenceServiceSpec | None:
        """The spec that a group is made from; None when its revision is not to be had (any more)."""
        if group.revision == self.status.update_revision:
            return self.spec
        found = self.obs.revisions.get(group.revision)
        return found.spec if found is not None else None

    def role_spec_of(self, role: str, group: GroupStatus) -> InferenceRoleSpec | None:
        """The role as the group's revision has it; None when that has no such role."""
        spec = self.spec_of(group)
        return next((r for r in spec.roles if r.name == role), None) if spec is not None else None

    def pods(self, role: str, group: GroupStatus) -> dict[int, Pod]:
        """Pods of the group's current attempt, by worker."""
        return {
            p.member.worker: p
            for p in self.pods_of_any_attempt(role, group.id)
            if p.member is not None and p.member.attempt == group.attempt
        }

    def pods_of_any_attempt(self, role: str, group: int) -> tuple[Pod, ...]:
        """Every pod of the group that is there."""
        return self.obs.pods.get((role, group), ())

    def uid_of(self, role: str, group: int) -> str:
        """What admission and the capacity know the group by."""
        return names.gang_uid(self.obs.service.uid, role, group)


Policy = Callable[[View], View]


def is_going(group: GroupStatus) -> bool:
    """Whether the group was taken out of service for good."""
    return group.draining_since is not None


def holds_place(group: GroupStatus) -> bool:
    """Whether nodes are reserved for the group, or, unpinned, an attempt of it is under way."""
    return bool(group.nodes)


def in_service(group: GroupStatus) -> bool:
    """Whether the group answers requests."""
    return group.phase is GroupPhase.SERVING
