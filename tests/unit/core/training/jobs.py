"""Builders of observations for policy tests: a job, its pods, its status, told in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from drumline.api.catalog import Catalog
from drumline.api.reasons import ConditionType
from drumline.api.shape import resolve_shape
from drumline.api.status import TrainingJobStatus
from drumline.api.validation import parse_spec, validate_job
from drumline.core.gang.discovery import ObservedDiscovery, ObservedService
from drumline.core.gang.plan import Plan
from drumline.core.gang.types import Member, Placement, Pod, PodPhase, Termination
from drumline.core.training import conditions
from drumline.core.training.decide import decide
from drumline.core.training.members import roster
from drumline.core.training.observation import Granted, JobMeta, Observation

NOW = 1_800_000_000.0
UID = "11111111-2222-3333-4444-555555555555"
CATALOG = Catalog.default()
TEMPLATE = {"spec": {"containers": [{"name": "train", "image": "example.org/train:1"}]}}


def spec(**changes: Any) -> dict[str, Any]:
    """A raw spec: 2 slices of 2 CPU workers."""
    base: dict[str, Any] = {
        "accelerator": {"type": "cpu"},
        "slices": 2,
        "workersPerSlice": 2,
        "template": TEMPLATE,
        "failurePolicy": {"maxRestarts": 2, "backoff": {"initialSeconds": 10, "maxSeconds": 600}},
    }
    return {**base, **changes}


def job(raw: Mapping[str, Any] | None = None, name: str = "job", **changes: Any) -> Observation:
    """An observation of a job nobody has looked at yet."""
    raw = spec() if raw is None else raw
    parsed, errors = parse_spec(raw)
    errors = errors or (validate_job(name, parsed, CATALOG) if parsed is not None else ())
    shape = resolve_shape(parsed, CATALOG) if parsed is not None and not errors else None
    members = (
        roster(name, parsed, shape.workers_per_slice) if parsed is not None and shape is not None else None
    )
    observation = Observation(
        job=JobMeta("ns", name, UID, 1, "100", NOW - 5),
        spec=parsed if not errors else None,
        errors=tuple(errors),
        shape=shape,
        roster=members,
        status=TrainingJobStatus(),
        catalog=CATALOG,
        pods={},
    )
    return replace(observation, **changes)


def placement(observation: Observation) -> Placement:
    """Each pod on a node of its own: node-0, node-1, …"""
    assert observation.roster is not None
    return Placement(tuple(f"node-{i}" for i in range(observation.roster.size)))


def begun(observation: Observation | None = None, now: float = NOW) -> Observation:
    """The same job after its (next) attempt was granted and its plan applied: pods created, not yet bound."""
    observation = observation or job()
    given = placement(observation)
    plan = decide(replace(observation, admission=Granted(given)), now)
    status = TrainingJobStatus.model_validate(plan.status or plan.intent)
    service = ObservedDiscovery(service=ObservedService(ours=True))
    observation = replace(observation, status=status, placement=given, admission=None, discovery=service)
    return replace(observation, pods={p.name: p for p in pods(observation, created_at=now)})


def running(observation: Observation | None = None, now: float = NOW) -> Observation:
    """The same job with all pods ready, and the status that says so."""
    observation = begun(observation, now)
    ready = {n: up(p, now) for n, p in observation.pods.items()}
    return settled(published(replace(observation, pods=ready)), now)


def settled(observation: Observation, now: float = NOW) -> Observation:
    """The observation with the status its own plan would write."""
    plan = decide(observation, now)
    status = plan.status or plan.intent
    if status is None:
        return observation
    return replace(observation, status=TrainingJobStatus.model_validate(status))


def pods(observation: Observation, created_at: float = NOW) -> list[Pod]:
    """The pods of the current attempt, pending."""
    members = observation.roster
    assert members is not None
    nodes = observation.placement.nodes if observation.placement is not None else ()
    attempt = observation.status.attempt
    found = []
    for index in range(members.size):
        role, where, worker = "worker", *divmod(index, members.workers_per_slice)
        if index >= members.workers:
            role = next(n for n, _ in members.helpers if index in members.role_range(n))
            where, worker = 0, index - members.offsets[role]
        found.append(
            Pod(
                "ns",
                members.name_of(index, attempt),
                f"uid-{attempt}-{index}",
                node=nodes[index] if nodes else "",
                created_at=created_at,
                member=Member(observation.job.name, UID, attempt, role, where, worker),
            )
        )
    return found


def up(pod: Pod, now: float = NOW) -> Pod:
    """Bound, running and ready."""
    ip = f"10.0.0.{int(pod.uid.rpartition('-')[2]) + 1}"
    return replace(pod, phase=PodPhase.RUNNING, ready=True, bound=True, bound_at=now, ips=(ip,))


def failed(pod: Pod, code: int = 1, reason: str = "Error", at: float = NOW) -> Pod:
    """Ended with a code."""
    end = Termination("train", code, reason, "", at)
    return replace(pod, phase=PodPhase.FAILED, ready=False, bound=True, termination=end)


def succeeded(pod: Pod, at: float = NOW) -> Pod:
    """Ended well."""
    end = Termination("train", 0, "Completed", "", at)
    return replace(pod, phase=PodPhase.SUCCEEDED, ready=False, bound=True, termination=end)


def with_pod(observation: Observation, index: int, change: Any) -> Observation:
    """The observation with one pod of the current attempt changed."""
    assert observation.roster is not None
    name = observation.roster.name_of(index, observation.status.attempt)
    return replace(observation, pods={**observation.pods, name: change(observation.pods[name])})


def with_pods(observation: Observation, change: Any) -> Observation:
    """The observation with every pod changed."""
    return replace(observation, pods={n: change(p) for n, p in observation.pods.items()})


def reason(status: TrainingJobStatus | Mapping[str, Any] | None, kind: ConditionType) -> tuple[str, str]:
    """(status, reason) of a condition; ("", "") when it is not there."""
    if status is None:
        return "", ""
    model = status if isinstance(status, TrainingJobStatus) else TrainingJobStatus.model_validate(status)
    found = conditions.find(model, kind)
    return ("", "") if found is None else (found.status, found.reason)


def begun_again(observation: Observation, now: float) -> Observation:
    """The next attempt of a restarting job, its pods up."""
    plan = decide(observation, now)
    status = TrainingJobStatus.model_validate(plan.status or plan.intent)
    observation = replace(observation, status=status)
    fresh = {p.name: up(p, now) for p in pods(observation, created_at=now)}
    return settled(published(replace(observation, pods=fresh)), now)


def published(observation: Observation) -> Observation:
    """The observation with what its plan publishes standing in the API."""
    content = tuple(
        (observation.roster.hostname_of(i), p.ips)
        for i, p in sorted(
            observation.roster.of_attempt(observation.pods, observation.status.attempt).items()
        )
        if p.ips
    )
    seen = ObservedDiscovery(
        service=ObservedService(ours=True), slices={f"{observation.job.name}-ipv4-0": content}
    )
    return replace(observation, discovery=seen)


def written(plan: Plan) -> Mapping[str, Any] | None:
    """The last status that a plan writes."""
    return plan.status or plan.intent
