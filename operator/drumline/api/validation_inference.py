"""Validation of an InferenceService beyond its schema: everything that needs no cluster.

As with TrainingJobs (`drumline.api.validation`): `parse_service` checks form, `validate_service` sense, with all
errors at once. Each names the field on the wire, what was given and what is allowed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pydantic import ValidationError

from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.inference import InferenceServiceSpec
from drumline.api.inference_model import Engine, SpeculationMethod
from drumline.api.rules_inference import NAME_AND_ROLE, RESERVED_ROLES
from drumline.api.training import DNS_1035, SUBDOMAIN, PlacementPolicyType
from drumline.api.validation_inference_backend import backend_errors
from drumline.api.validation_inference_engine import engine_errors, size_errors
from drumline.api.validation_inference_parallelism import parallelism_errors
from drumline.api.validation_inference_role import role_errors
from drumline.api.wire import field_errors


def parse_service(raw_spec: Any) -> tuple[InferenceServiceSpec | None, tuple[FieldError, ...]]:
    """A spec as it stands in a manifest, or what is wrong with its form."""
    if not isinstance(raw_spec, Mapping):
        return None, (FieldError("spec", f"given {type(raw_spec).__name__}; allowed: an object"),)
    try:
        return InferenceServiceSpec.model_validate_json(json.dumps(raw_spec, default=str), strict=True), ()
    except ValidationError as error:
        return None, field_errors(error, InferenceServiceSpec, prefix="spec")
    except (RecursionError, TypeError, ValueError) as error:
        return None, (FieldError("spec", f"given a value that is no JSON ({error}); allowed: JSON"),)


def validate_service(name: str, spec: InferenceServiceSpec, catalog: Catalog) -> tuple[FieldError, ...]:
    """Everything wrong with a parsed spec under that name; empty = valid."""
    return (
        *_name_errors(name, spec),
        *_model_errors(spec),
        *_role_name_errors(spec),
        *_cycle_errors(spec),
        *(e for index in range(len(spec.roles)) for e in role_errors(index, spec, catalog)),
        *_policy_errors(spec),
        *_speculation_errors(spec),
        *engine_errors(spec, catalog),
        *size_errors(spec, catalog),
        *parallelism_errors(spec, catalog),
        *backend_errors(spec, catalog),
        *_hostname_errors(spec),
    )


def _names(spec: InferenceServiceSpec) -> list[str]:
    return [role.name for role in spec.roles]


def _name_errors(name: str, spec: InferenceServiceSpec) -> Iterator[FieldError]:
    if not re.fullmatch(DNS_1035, name):
        yield FieldError(
            "metadata.name",
            f"given {name!r}; allowed: a lower-case letter, then letters, digits and '-', ending in a letter "
            "or digit (it names a Service)",
        )
    longest = max(_names(spec), key=len)
    if len(name) + len(longest) > NAME_AND_ROLE:
        yield FieldError(
            "metadata.name",
            f"given {name!r} ({len(name)} characters); allowed: at most {NAME_AND_ROLE - len(longest)} characters "
            f"beside a role named {longest!r}, as pods are named after both",
        )


def _model_errors(spec: InferenceServiceSpec) -> Iterator[FieldError]:
    if spec.model is None and spec.engine is not Engine.CUSTOM:
        yield FieldError(
            "spec.model", f"required with engine {spec.engine}; allowed: a model, or engine custom"
        )
    if spec.kv_transfer is not None and len(spec.roles) < 2:
        yield FieldError(
            "spec.kvTransfer", "given with one role; allowed: with two roles or more, as prefill and decode"
        )


def _role_name_errors(spec: InferenceServiceSpec) -> Iterator[FieldError]:
    counts = Counter(_names(spec))
    for index, role in enumerate(spec.roles):
        path = f"spec.roles[{index}]"
        if role.name in RESERVED_ROLES:
            yield FieldError(
                f"{path}.name", f"given {role.name!r}; allowed: any name but {', '.join(RESERVED_ROLES)}"
            )
        if counts[role.name] > 1:
            yield FieldError(f"{path}.name", f"given {role.name!r} twice; allowed: unique names")
        others = sorted(set(counts) - {role.name})
        for place, other in enumerate(role.start_after):
            if other not in others:
                yield _no_role(f"{path}.startAfter[{place}]", other, others)
        ratio = role.autoscaling.ratio if role.autoscaling else None
        if ratio is not None and ratio.role not in others:
            yield _no_role(f"{path}.autoscaling.ratio.role", ratio.role, others)
    if spec.routing.role is not None and spec.routing.role not in counts:
        yield _no_role("spec.routing.role", spec.routing.role, sorted(counts))


def _no_role(path: str, name: str, allowed: list[str]) -> FieldError:
    return FieldError(
        path, f"given {name!r}; allowed: {', '.join(allowed) or 'absent, there is no other role'}"
    )


def _cycle_errors(spec: InferenceServiceSpec) -> Iterator[FieldError]:
    graph = {role.name: set(role.start_after) - {role.name} for role in spec.roles}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1]
        index = next(i for i, role in enumerate(spec.roles) if role.name in circle)
        yield FieldError(
            f"spec.roles[{index}].startAfter",
            f"given a circle, {' → '.join(reversed(circle))}; allowed: roles that can start one after the other",
        )


def _policy_errors(spec: InferenceServiceSpec) -> Iterator[FieldError]:
    backoff, rollout, placement = spec.failure_policy.backoff, spec.rollout, spec.scheduling.placement
    if backoff.initial_seconds > backoff.max_seconds:
        yield FieldError(
            "spec.failurePolicy.backoff.initialSeconds",
            f"given {backoff.initial_seconds}; allowed: at most maxSeconds, {backoff.max_seconds}",
        )
    if rollout.max_surge + rollout.max_unavailable == 0:
        yield FieldError(
            "spec.rollout.maxSurge",
            "given 0 with maxUnavailable 0; allowed: at least 1 of either, or no group could ever be replaced",
        )
    free = placement.policy is PlacementPolicyType.UNCONSTRAINED
    if free != (placement.level is None):
        allowed = (
            "absent with policy Unconstrained" if free else f"a topology level with policy {placement.policy}"
        )
        yield FieldError("spec.scheduling.placement.level", f"given {placement.level!r}; allowed: {allowed}")


def _hostname_errors(spec: InferenceServiceSpec) -> Iterator[FieldError]:
    """What an HTTPRoute would be refused for."""
    gateway = spec.routing.gateway
    for index, name in enumerate(gateway.hostnames if gateway is not None else ()):
        if not re.fullmatch(SUBDOMAIN, name.removeprefix("*.")):
            yield FieldError(
                f"spec.routing.gateway.hostnames[{index}]",
                f"given {name!r}; allowed: a DNS name in lower case, as chat.example.com or *.example.com",
            )


def _speculation_errors(spec: InferenceServiceSpec) -> Iterator[FieldError]:
    speculative = spec.speculative
    if speculative is None:
        return
    drafts = speculative.method is SpeculationMethod.DRAFT_MODEL
    if drafts != (speculative.draft_model is not None):
        allowed = "a model with method draftModel" if drafts else "absent with method ngram"
        yield FieldError(
            "spec.speculative.draftModel", f"given {speculative.draft_model}; allowed: {allowed}"
        )
    known = _names(spec)
    for index, name in enumerate(speculative.roles):
        if name not in known:
            yield _no_role(f"spec.speculative.roles[{index}]", name, known)
    if speculative.draft_role is not None and speculative.draft_role not in known:
        yield _no_role("spec.speculative.draftRole", speculative.draft_role, known)
