"""Whether one role of an InferenceService makes sense: accelerators, templates, autoscaling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from drumline.api.catalog import Catalog
from drumline.api.environment import is_reserved_in_service
from drumline.api.errors import FieldError
from drumline.api.inference import InferenceRoleSpec, InferenceServiceSpec, Profile
from drumline.api.inference_scaling import Autoscaling, MetricTarget, ScalingMetric, ScalingMode
from drumline.api.podtemplate import POD_TEMPLATE_SCHEMA
from drumline.api.schemacheck import schema_errors
from drumline.api.templates import chips_per_worker, count_errors, foreign_chip_errors, pod_errors
from drumline.api.training import Accelerator
from drumline.api.validation_accelerator import Chosen, chosen_errors
from drumline.api.validation_claims import claim_errors

LATENCIES: Final = frozenset({ScalingMetric.TTFT, ScalingMetric.TPOT})


def role_errors(index: int, spec: InferenceServiceSpec, catalog: Catalog) -> Iterator[FieldError]:
    """Everything wrong with `spec.roles[index]`."""
    role, path = spec.roles[index], f"spec.roles[{index}]"
    yield from _accelerator_errors(path, role, catalog)
    yield from _template_errors(f"{path}.template", role.template, role, catalog)
    if role.leader_template is not None:
        yield from _template_errors(f"{path}.leaderTemplate", role.leader_template, role, catalog)
    if spec.profile is Profile.EDGE:
        yield from _edge_errors(path, role)
    if role.autoscaling is not None:
        yield from _scaling_errors(f"{path}.autoscaling", role, role.autoscaling)


def _accelerator_errors(path: str, role: InferenceRoleSpec, catalog: Catalog) -> Iterator[FieldError]:
    size = f"{path}.groupSize"
    yield from chosen_errors(Chosen(f"{path}.accelerator", role.accelerator, role.group_size, size), catalog)
    for index, variant in enumerate(role.variants):
        where = f"{path}.variants[{index}].accelerator"
        yield from chosen_errors(Chosen(where, variant.accelerator, role.group_size, size), catalog)


def _template_errors(
    path: str, template: Mapping[str, Any], role: InferenceRoleSpec, catalog: Catalog
) -> Iterator[FieldError]:
    malformed = tuple(schema_errors(path, template, POD_TEMPLATE_SCHEMA))
    yield from malformed
    if malformed:
        return
    tpu = any(_is_tpu(a, catalog) for a in _accelerators(role))
    grouped = pods_of_a_group(role, catalog) > 1
    yield from pod_errors(path, template, lambda name: is_reserved_in_service(name, tpu=tpu, grouped=grouped))
    entry = catalog.get(role.accelerator.type)
    # with several types of accelerator no count that a template names can be right for all
    if entry is not None and not role.variants:
        yield from count_errors(path, template, entry, chips_per_worker(role.accelerator, entry))
    where = path.rpartition(".")[0]
    for accelerator, at in _accelerators_at(role, where):
        if (known := catalog.get(accelerator.type)) is not None:
            yield from claim_errors(path, template, accelerator, at, known)
    own = entry.resource if entry is not None and not role.variants else ""
    yield from foreign_chip_errors(path, template, catalog, own)


def _accelerators(role: InferenceRoleSpec) -> tuple[Accelerator, ...]:
    return (role.accelerator, *(variant.accelerator for variant in role.variants))


def _accelerators_at(role: InferenceRoleSpec, path: str) -> Iterator[tuple[Accelerator, str]]:
    """The role's and its variants' accelerators, and where they stand."""
    yield role.accelerator, f"{path}.accelerator"
    for index, variant in enumerate(role.variants):
        yield variant.accelerator, f"{path}.variants[{index}].accelerator"


def pods_of_a_group(role: InferenceRoleSpec, catalog: Catalog) -> int:
    """Pods of one group; 1 where the topology, refused elsewhere, leaves it open."""
    entry, topology = catalog.get(role.accelerator.type), role.accelerator.topology
    if entry is None or not entry.is_tpu or topology is None or not entry.allows(topology):
        return role.group_size or 1
    return entry.hosts(topology, role.accelerator.chips_per_worker)


def _is_tpu(accelerator: Accelerator, catalog: Catalog) -> bool:
    entry = catalog.get(accelerator.type)
    return entry is not None and entry.is_tpu


def _edge_errors(path: str, role: InferenceRoleSpec) -> Iterator[FieldError]:
    if role.group_size not in (None, 1):
        yield FieldError(
            f"{path}.groupSize", f"given {role.group_size}; allowed: 1 or absent with profile edge"
        )
    chips = role.accelerator.chips_per_worker
    if chips is not None and chips > 1:
        yield FieldError(
            f"{path}.accelerator.chipsPerWorker", f"given {chips}; allowed: at most 1 with profile edge"
        )
    if role.accelerator.topology is not None:
        yield FieldError(
            f"{path}.accelerator.topology",
            "given with profile edge; allowed: absent, as an edge group is one pod",
        )


def _scaling_errors(path: str, role: InferenceRoleSpec, scaling: Autoscaling) -> Iterator[FieldError]:
    if scaling.min_replicas > scaling.max_replicas:
        yield FieldError(
            f"{path}.minReplicas",
            f"given {scaling.min_replicas}; allowed: at most maxReplicas, {scaling.max_replicas}",
        )
    if role.replicas > scaling.max_replicas:
        where = f"{path.removesuffix('.autoscaling')}.replicas"
        yield FieldError(
            where, f"given {role.replicas}; allowed: at most autoscaling.maxReplicas, {scaling.max_replicas}"
        )
    if scaling.ratio is not None and scaling.ratio.min > scaling.ratio.max:
        yield FieldError(
            f"{path}.ratio.min", f"given {scaling.ratio.min}; allowed: at most max, {scaling.ratio.max}"
        )
    if scaling.mode is ScalingMode.EXTERNAL:
        yield from _external_errors(path, scaling)
    elif (scaling.min_replicas == 0) != (scaling.scale_to_zero is not None):
        allowed = "at least 1, or scaleToZero too" if scaling.min_replicas == 0 else "0 with scaleToZero"
        yield FieldError(f"{path}.minReplicas", f"given {scaling.min_replicas}; allowed: {allowed}")
    for index, metric in enumerate(scaling.metrics):
        yield from _metric_errors(f"{path}.metrics[{index}]", metric)


def _external_errors(path: str, scaling: Autoscaling) -> Iterator[FieldError]:
    named = {"metrics": scaling.metrics, "ratio": scaling.ratio, "scaleToZero": scaling.scale_to_zero}
    for name, value in named.items():
        if value:
            yield FieldError(f"{path}.{name}", "given with mode External; allowed: absent, or mode Builtin")


def _metric_errors(path: str, metric: MetricTarget) -> Iterator[FieldError]:
    wanted, other = ("targetSeconds", "target") if metric.name in LATENCIES else ("target", "targetSeconds")
    values = {"target": metric.target, "targetSeconds": metric.target_seconds}
    if values[wanted] is None:
        yield FieldError(f"{path}.{wanted}", f"required for {metric.name}; allowed: a number above 0")
    if values[other] is not None:
        yield FieldError(
            f"{path}.{other}", f"given {values[other]:g} for {metric.name}; allowed: absent, use {wanted}"
        )
    if metric.quantile is not None and metric.name not in LATENCIES:
        yield FieldError(
            f"{path}.quantile",
            f"given {metric.quantile:g} for {metric.name}; allowed: for ttft and tpot only",
        )
