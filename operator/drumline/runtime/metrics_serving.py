"""The metrics of an InferenceService, from its status: counters are exactly what `status.serving` holds.

So they never fall when the operator restarts. No label of a service's series names a pod, a group or a node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from drumline.api.inference import InferenceRoleSpec, InferenceServiceSpec
from drumline.api.inference_status import GroupPhase, RoleStatus, RolloutPhase
from drumline.api.reasons import ServiceCondition, ServicePhase
from drumline.api.serving import RoleServing, ServingState, ServingStatus
from drumline.core.gang.clock import unix
from drumline.runtime.metrics_kept import Rows
from drumline.runtime.metrics_text import Family, seconds
from drumline.runtime.service_records import ServiceRecord

UNSCALED: Final = "none"
LATENCIES: Final = ("ttft", "tpot")
_SERVICE: Final = ("namespace", "service")


def of_service(name: str, kind: str, text: str, *more: str, adds: bool = False) -> Family:
    """A family whose series are services'."""
    counter = kind == "counter"
    return Family(
        f"drumline_serving_{name}",
        "counter" if counter else "gauge",
        text,
        (*_SERVICE, *more),
        adds or counter,
    )


STATES: Final = of_service(
    "accelerator_seconds_total", "counter", "Accelerator time by state of its groups.", "role", "state"
)
PROMPT: Final = of_service(
    "prompt_tokens_total", "counter", "Prompt tokens, by the engines' counters.", "role"
)
GENERATION: Final = of_service(
    "generation_tokens_total", "counter", "Tokens put out, by the engines' counters.", "role"
)
REQUESTS: Final = of_service(
    "requests_total", "counter", "Requests, by the engines' counters: answered or failed.", "role", "result"
)
DRAFTED: Final = of_service("draft_tokens_total", "counter", "Tokens guessed by speculation.", "role")
ACCEPTED: Final = of_service("accepted_tokens_total", "counter", "Guessed tokens that were right.", "role")
MET: Final = of_service(
    "slo_met_total", "counter", "Latencies within spec.slo, of those measured.", "role", "latency"
)
MEASURED: Final = of_service(
    "slo_measured_total", "counter", "Latencies measured against spec.slo.", "role", "latency"
)
RESTARTS: Final = of_service("restarts_total", "counter", "Restarts of groups, by cause.", "cause")
COST: Final = of_service("cost_dollars_total", "counter", "Held accelerator time at the catalogue's price.")
GROUPS: Final = of_service(
    "groups",
    "gauge",
    "Groups of a role: desired, current (those that exist), ready (in service), updated (of the newest revision).",
    "role",
    "state",
    adds=True,
)
GROUP_PHASES: Final = of_service(
    "group_phases", "gauge", "Groups of a role that are in a phase.", "role", "phase", adds=True
)
INFO: Final = of_service(
    "info", "gauge", "What the service is: always 1.", "engine", "model", "profile", "queue"
)
ROLE_INFO: Final = of_service(
    "role_info",
    "gauge",
    "What a role runs on, and who scales it: always 1.",
    "role",
    "accelerator",
    "scaling",
)
REPLICA_LIMIT: Final = of_service(
    "replica_limit", "gauge", "Fewest and most groups of a role that is scaled.", "role", "bound"
)
PHASE: Final = of_service("phase", "gauge", "1 for the phase that the service is in, else 0.", "phase")
CONDITION: Final = of_service(
    "condition", "gauge", "1 while a condition of the service is True, else 0.", "condition"
)
ROLLOUT: Final = of_service(
    "rollout_phase", "gauge", "1 for the phase that the latest rollout is in, else 0.", "phase"
)
ROLLOUT_SINCE: Final = of_service(
    "rollout_phase_timestamp_seconds", "gauge", "When the rollout's phase began, Unix time."
)
SLO_TARGET: Final = of_service("slo_target_seconds", "gauge", "spec.slo: what users are promised.", "latency")
SLO_SHARE: Final = of_service(
    "slo_target_ratio", "gauge", "spec.slo.quantile: the share that must be within."
)
OF_SERVICES: Final = (
    STATES,
    PROMPT,
    GENERATION,
    REQUESTS,
    DRAFTED,
    ACCEPTED,
    MET,
    MEASURED,
    RESTARTS,
    COST,
    GROUPS,
    GROUP_PHASES,
    INFO,
    ROLE_INFO,
    REPLICA_LIMIT,
    PHASE,
    CONDITION,
    ROLLOUT,
    ROLLOUT_SINCE,
    SLO_TARGET,
    SLO_SHARE,
)


def rows_of(record: ServiceRecord, _held: int = 0) -> Rows:
    """Every sample of a service that its spec and status give."""
    status = record.status
    phase = status.phase or ServicePhase.PENDING.value
    for each in ServicePhase:
        yield PHASE, (each.value,), int(each.value == phase)
    known = {condition.type: condition.status for condition in status.conditions}
    for condition in ServiceCondition:
        if condition.value in known:
            yield CONDITION, (condition.value,), int(known[condition.value] == "True")
    for restarts in status.restarts:
        yield RESTARTS, (restarts.cause,), restarts.count
    if status.rollout.revision is not None:
        yield from _rollout_rows(record)
    if record.spec is not None:
        yield from _spec_rows(record.spec)
    for role in status.roles:
        yield from _group_rows(role)
    yield from _account_rows(record)


def _rollout_rows(record: ServiceRecord) -> Rows:
    rollout = record.status.rollout
    for phase in RolloutPhase:
        yield ROLLOUT, (phase.value,), int(phase is rollout.phase)
    if rollout.since:
        yield ROLLOUT_SINCE, (), f"{unix(rollout.since):.3f}"


def _spec_rows(spec: InferenceServiceSpec) -> Rows:
    model = spec.model.name if spec.model is not None else ""
    yield INFO, (spec.engine.value, model, spec.profile.value, spec.queue or ""), 1
    for role in spec.roles:
        yield from _role_spec_rows(role)
    if spec.slo is not None:
        promised = zip(LATENCIES, (spec.slo.ttft_seconds, spec.slo.tpot_seconds), strict=True)
        for latency, limit in promised:
            if limit is not None:
                yield SLO_TARGET, (latency,), limit
        yield SLO_SHARE, (), spec.slo.quantile


def _role_spec_rows(role: InferenceRoleSpec) -> Rows:
    scaling = role.autoscaling
    mode = scaling.mode.value if scaling is not None else UNSCALED
    yield ROLE_INFO, (role.name, role.accelerator.type, mode), 1
    if scaling is not None:
        yield REPLICA_LIMIT, (role.name, "min"), scaling.min_replicas
        yield REPLICA_LIMIT, (role.name, "max"), scaling.max_replicas


def _group_rows(role: RoleStatus) -> Rows:
    counts = {"desired": role.desired, "current": role.replicas, "ready": role.ready, "updated": role.updated}
    for state, count in counts.items():
        yield GROUPS, (role.name, state), count
    phases = Counter(group.phase for group in role.groups)
    for phase in GroupPhase:
        yield GROUP_PHASES, (role.name, phase.value), phases[phase]


def _account_rows(record: ServiceRecord) -> Rows:
    """Zeros from the start, so that the first increase is seen."""
    found = record.status.serving or ServingStatus()
    for role in _accounts(record, found):
        yield from _role_rows(role)
        yield from _latency_rows(role, record.spec)
    if found.cost_usd is not None:
        yield COST, (), found.cost_usd


def _accounts(record: ServiceRecord, found: ServingStatus) -> Iterator[RoleServing]:
    """Those of the account, and an empty one for each role that is not in it yet."""
    yield from found.roles
    there = {role.role for role in found.roles}
    wanted = record.spec.roles if record.spec is not None else ()
    yield from (RoleServing(role=role.name) for role in wanted if role.name not in there)


def _role_rows(role: RoleServing) -> Rows:
    times = {entry.state: entry.ms for entry in role.states}
    for state in ServingState:
        yield STATES, (role.role, state.value), seconds(times.get(state.value, 0))
    yield REQUESTS, (role.role, "answered"), role.requests
    yield REQUESTS, (role.role, "failed"), role.failed_requests
    for family, count in (
        (PROMPT, role.prompt_tokens),
        (GENERATION, role.generation_tokens),
        (DRAFTED, role.draft_tokens),
        (ACCEPTED, role.accepted_tokens),
    ):
        yield family, (role.role,), count


def _latency_rows(role: RoleServing, spec: InferenceServiceSpec | None) -> Rows:
    """Of what is promised, or was once."""
    slo = spec.slo if spec is not None else None
    limits = (slo.ttft_seconds, slo.tpot_seconds) if slo is not None else (None, None)
    counts = ((role.ttft_met, role.ttft_measured), (role.tpot_met, role.tpot_measured))
    for latency, limit, (met, measured) in zip(LATENCIES, limits, counts, strict=True):
        if limit is not None or measured:
            yield MET, (role.role, latency), met
            yield MEASURED, (role.role, latency), measured
