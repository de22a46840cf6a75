"""Builders for tests about an InferenceService: the service, its groups and their pods, told in a few words.

obs = services.service()                             # one role `serve`, one group of two CPU pods wanted
obs = services.serving(obs)                          # … and that group is in service on node-0, node-1
obs = services.with_groups(obs, "serve", services.group(3, phase=GroupPhase.WAITING))
obs = services.with_pod(obs, "serve", 0, 1, services.failed)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from drumline.api.catalog import Catalog
from drumline.api.inference import InferenceServiceSpec
from drumline.api.inference_status import GroupPhase, GroupStatus, InferenceServiceStatus, RoleStatus
from drumline.api.reasons import ServiceCondition
from drumline.core.gang import conditions
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.discovery import ObservedDiscovery, ObservedService
from drumline.core.gang.meta import ObjectMeta
from drumline.core.gang.plan import Action, Create, Delete, Patch, Plan
from drumline.core.gang.types import Granted, Member, Placement, Pod, PodPhase, Termination
from drumline.core.inference import names
from drumline.core.inference.observation import Observation, Revision
from drumline.core.inference.view import View

NOW = 1_800_000_000.0
UID = "22222222-3333-4444-5555-666666666666"
NAME = "chat"
CATALOG = Catalog.default()
TEMPLATE = {"spec": {"containers": [{"name": "engine", "image": "example.org/engine:1"}]}}
OLD, NEW = f"{NAME}-aaaaaaaaaa", f"{NAME}-bbbbbbbbbb"  # revisions' names


def role(name: str = "serve", **changes: Any) -> dict[str, Any]:
    """A raw role: one group of two CPU pods."""
    base: dict[str, Any] = {
        "name": name,
        "replicas": 1,
        "groupSize": 2,
        "accelerator": {"type": "cpu"},
        "template": TEMPLATE,
        "port": 8000,
    }
    return {**base, **changes}


def spec(*roles: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A raw spec; without roles it has the one of `role()`."""
    base: dict[str, Any] = {
        "engine": "custom",
        "roles": [dict(r) for r in roles] or [role()],
        "failurePolicy": {
            "maxRestarts": 2,
            "windowSeconds": 3600,
            "backoff": {"initialSeconds": 10, "maxSeconds": 600},
        },
    }
    return {**base, **changes}


def parsed(raw: Mapping[str, Any]) -> InferenceServiceSpec:
    """The spec of a raw one."""
    return InferenceServiceSpec.model_validate(raw)


def service(raw: Mapping[str, Any] | None = None, **changes: Any) -> Observation:
    """An observation of a service of which everything runs under the revision NEW, and that has no groups."""
    found = parsed(spec() if raw is None else raw)
    status = InferenceServiceStatus(
        observed_generation=1,
        current_revision=NEW,
        update_revision=NEW,
        revision_count=1,
        roles=tuple(RoleStatus(name=r.name) for r in found.roles),
    )
    observation = Observation(
        service=ObjectMeta("ns", NAME, UID, 1, "100", NOW - 5),
        spec=found,
        errors=(),
        status=status,
        catalog=CATALOG,
        revisions={NEW: Revision(NEW, f"uid-{NEW}", 1, found)},
        discovery=ObservedDiscovery(service=ObservedService(ours=True)),
    )
    return replace(observation, **changes)


def fresh(raw: Mapping[str, Any] | None = None, **changes: Any) -> Observation:
    """An observation of a service nobody has looked at yet."""
    new = {"status": InferenceServiceStatus(), "revisions": {}, "discovery": ObservedDiscovery(), **changes}
    return service(raw, **new)


def old_revision(observation: Observation, raw: Mapping[str, Any] | None = None) -> Observation:
    """The same with a rollout under way: OLD is current, NEW is the revision of the spec."""
    was = parsed(raw) if raw is not None else observation.spec
    assert was is not None
    revisions = {**observation.revisions, OLD: Revision(OLD, f"uid-{OLD}", 0, was)}
    status = observation.status.model_copy(update={"current_revision": OLD})
    return replace(observation, revisions=revisions, status=status)


def group(number: int = 0, size: int = 2, **changes: Any) -> GroupStatus:
    """A group in service on nodes of its own: group 1 of size 2 is on node-1-0 and node-1-1."""
    values: dict[str, Any] = {
        "id": number,
        "revision": NEW,
        "attempt": 1,
        "phase": GroupPhase.SERVING,
        "nodes": tuple(f"node-{number}-{worker}" for worker in range(size)),
        "created": True,
        "started_at": ago(600),
        "ready_at": ago(500),
    }
    return GroupStatus(**{**values, **changes})


def waiting(number: int = 0, **changes: Any) -> GroupStatus:
    """A group that has no place and never had one."""
    none = {"nodes": (), "created": False, "started_at": None, "ready_at": None, "attempt": 0}
    return group(number, **{**none, "phase": GroupPhase.WAITING, "queued_at": ago(5), **changes})


def starting(number: int = 0, size: int = 2, **changes: Any) -> GroupStatus:
    """A group whose first attempt has begun; no pod was created yet."""
    new = {"phase": GroupPhase.STARTING, "created": False, "ready_at": None, "started_at": ago(5)}
    return group(number, size, **{**new, **changes})


def draining(number: int = 0, size: int = 2, **changes: Any) -> GroupStatus:
    """A group taken out of service a minute ago."""
    new = {"phase": GroupPhase.DRAINING, "draining_since": ago(60), "drain_reason": "ScaleDown"}
    return group(number, size, **{**new, **changes})


def ago(seconds: float) -> str:
    """A time of status so many seconds before NOW."""
    return rfc3339_millis(NOW - seconds)


def with_groups(observation: Observation, role_name: str, *groups: GroupStatus) -> Observation:
    """The observation with exactly these groups in that role, and no other change."""
    known = next((r for r in observation.status.roles if r.name == role_name), RoleStatus(name=role_name))
    changed = known.model_copy(
        update={"groups": groups, "next_group": max((g.id + 1 for g in groups), default=0)}
    )
    rest = [r for r in observation.status.roles if r.name != role_name]
    order = [r.name for r in observation.status.roles] + [role_name]
    roles = tuple(sorted([*rest, changed], key=lambda r: order.index(r.name)))
    return replace(observation, status=observation.status.model_copy(update={"roles": roles}))


def with_pods(observation: Observation, role_name: str, number: int, pods: Iterable[Pod]) -> Observation:
    """The observation with exactly these pods of that group."""
    return replace(observation, pods={**observation.pods, (role_name, number): tuple(pods)})


def with_pod(
    observation: Observation, role_name: str, number: int, worker: int, change: Callable[[Pod], Pod]
) -> Observation:
    """The observation with one pod of a group changed."""
    pods = [
        change(p) if p.member and p.member.worker == worker else p
        for p in observation.pods[role_name, number]
    ]
    return with_pods(observation, role_name, number, pods)


def group_of(status: InferenceServiceStatus, role_name: str = "serve", number: int = 0) -> GroupStatus:
    """A group as a status has it. StopIteration when it is not there."""
    known = next(r for r in status.roles if r.name == role_name)
    return next(g for g in known.groups if g.id == number)


def serving(
    observation: Observation | None = None, role_name: str = "serve", count: int = 1, size: int = 2
) -> Observation:
    """The observation with so many groups of a role in service, their pods up, their names published."""
    observation = observation or service()
    groups = [group(number, size) for number in range(count)]
    observation = with_groups(observation, role_name, *groups)
    for each in groups:
        observation = with_pods(observation, role_name, each.id, in_service(pods_of(role_name, each)))
    return published(observation)


def pods_of(role_name: str, each: GroupStatus, created_at: float = NOW - 600) -> list[Pod]:
    """The pods of a group's current attempt, pending."""
    return [pod(role_name, each, worker, created_at) for worker in range(len(each.nodes))]


def pod(role_name: str, each: GroupStatus, worker: int, created_at: float = NOW - 600) -> Pod:
    """One pod of a group's current attempt, pending."""
    return Pod(
        "ns",
        names.pod(NAME, role_name, each.attempt, each.id, worker),
        f"uid-{role_name}-{each.attempt}-{each.id}-{worker}",
        node=each.nodes[worker],
        created_at=created_at,
        member=Member(NAME, UID, each.attempt, role_name, each.id, worker, group=True),
    )


def in_service(pods: Iterable[Pod], now: float = NOW - 500) -> list[Pod]:
    """All of them up, the leader with its gate open."""
    up_now = [up(p, now) for p in pods]
    return [replace(p, in_service=True) if p.member and p.member.worker == 0 else p for p in up_now]


def up(pod: Pod, now: float = NOW - 500) -> Pod:
    """Bound, running and ready."""
    ip = f"10.{sum(map(ord, pod.name)) % 250}.{pod.member.slice if pod.member else 0}.{pod.member.worker + 1 if pod.member else 1}"
    return replace(pod, phase=PodPhase.RUNNING, ready=True, able=True, bound=True, bound_at=now, ips=(ip,))


def gated(pod: Pod) -> Pod:
    """Up, but for the gate: the containers are ready, the pod is not."""
    return replace(up(pod), ready=False, in_service=None)


def failed(pod: Pod, code: int = 1, reason: str = "Error", at: float = NOW) -> Pod:
    """Ended with a code."""
    end = Termination("engine", code, reason, "", at)
    return replace(pod, phase=PodPhase.FAILED, ready=False, able=False, bound=True, termination=end)


def deleting(pod: Pod, disruption: str = "") -> Pod:
    """Told to end, by somebody else."""
    return replace(
        pod, deleting=True, deleting_until=NOW + 30, ready=False, able=False, disruption=disruption
    )


def published(observation: Observation) -> Observation:
    """The observation with the addresses of its pods standing in the API."""
    content = tuple(
        (names.hostname(NAME, p.member.role, p.member.slice, p.member.worker), p.ips)
        for r in observation.status.roles
        for g in r.groups
        for p in observation.pods.get((r.name, g.id), ())
        if p.ips and p.member is not None
    )
    slices = {f"{names.peers(NAME)}-ipv4-0": content} if content else {}
    return replace(
        observation, discovery=ObservedDiscovery(service=ObservedService(ours=True), slices=slices)
    )


def granted(observation: Observation, role_name: str, number: int, *nodes: str) -> Observation:
    """The observation with admission's yes for that group."""
    uid = names.gang_uid(UID, role_name, number)
    return replace(observation, admission={**observation.admission, uid: Granted(Placement(tuple(nodes)))})


def view(observation: Observation, now: float = NOW) -> View:
    """Where a decision begins."""
    return View(observation, now, observation.status)


def written(plan: Plan, before: Observation) -> InferenceServiceStatus:
    """The status as a plan leaves it."""
    status = plan.status if plan.status is not None else plan.intent
    return before.status if status is None else InferenceServiceStatus.model_validate(status)


def actions(found: Plan | View) -> list[Action]:
    """All actions, in order."""
    return [action for stage in found.actions for action in stage]


def deleted(found: Plan | View) -> list[str]:
    """Names of the pods that are deleted."""
    return [a.name for a in actions(found) if isinstance(a, Delete) and a.resource == "pods"]


def created(found: Plan | View) -> list[str]:
    """Names of the pods that are created."""
    return [
        a.manifest["metadata"]["name"]
        for a in actions(found)
        if isinstance(a, Create) and a.resource == "pods"
    ]


def patched(found: Plan | View) -> dict[str, Any]:
    """Body of each patch by "resource/name"."""
    return {f"{a.resource}/{a.name}": a.body for a in actions(found) if isinstance(a, Patch)}


def reason(status: InferenceServiceStatus, kind: ServiceCondition) -> tuple[str, str]:
    """(status, reason) of a condition; ("", "") when it is not there."""
    found = conditions.find(status.conditions, kind.value)
    return ("", "") if found is None else (found.status, found.reason)
