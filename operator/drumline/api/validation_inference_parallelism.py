"""Whether `roles[].parallelism` fits the chips of a group, those of a scale-up domain, and what the engine is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drumline.api.catalog import AcceleratorType, Catalog
from drumline.api.engine_words import engine_options, values_of
from drumline.api.engines import EnginePreset, MeshFlag, preset
from drumline.api.errors import FieldError
from drumline.api.inference import InferenceRoleSpec, InferenceServiceSpec
from drumline.api.inference_parallelism import ServiceParallelism
from drumline.api.inference_shape import counts_of
from drumline.api.parallelism import ScaleUp


@dataclass(frozen=True, slots=True)
class _Group:
    """A group on one of its role's accelerators. `note` tells it from the others in a message."""

    path: str  # "spec.roles[0].parallelism"
    mesh: ServiceParallelism
    entry: AcceleratorType
    chips_per_pod: int
    pods: int
    note: str

    @property
    def chips(self) -> int:
        """Of the whole group."""
        return self.chips_per_pod * self.pods


def parallelism_errors(spec: InferenceServiceSpec, catalog: Catalog) -> Iterator[FieldError]:
    """Errors of every role's `parallelism`, on each accelerator that is sound."""
    for index, role in enumerate(spec.roles):
        if role.parallelism is None:
            continue
        for group in _groups(f"spec.roles[{index}].parallelism", role, role.parallelism, catalog):
            faults = tuple(_group_errors(group))
            yield from faults
            if not faults:
                yield from _engine_errors(group, spec)
                yield from _argument_errors(group, f"spec.roles[{index}]", role, preset(spec.engine))


def _groups(
    path: str, role: InferenceRoleSpec, mesh: ServiceParallelism, catalog: Catalog
) -> Iterator[_Group]:
    chosen = (role.accelerator, *(variant.accelerator for variant in role.variants))
    for number, accelerator in enumerate(chosen):
        entry = catalog.get(accelerator.type)
        counts = counts_of(role, accelerator, catalog)
        if entry is not None and counts is not None:
            yield _Group(path, mesh, entry, *counts, f" with variants[{number - 1}]" if number else "")


def _group_errors(group: _Group) -> Iterator[FieldError]:
    if not group.chips:
        text = f"given on {group.entry.key}{group.note}; allowed: absent, as its pods have no chips"
        yield FieldError(group.path, text)
        return
    wrong = _product_error(group) or _expert_error(group)
    if wrong is not None:
        yield wrong
        return
    size, chips, name = group.mesh.group, group.chips_per_pod, "expert" if group.mesh.wide else "tensor"
    if chips % size and size % chips:
        text = f"given {size}{group.note}; allowed: a divisor or a multiple of a pod's {chips} chips"
        yield FieldError(f"{group.path}.{name}", text)
    elif size > group.entry.scale_up and not group.entry.is_tpu and group.mesh.scale_up is ScaleUp.REQUIRED:
        yield FieldError(
            f"{group.path}.{name}",
            f"given {size}{group.note}; allowed: at most {group.entry.scale_up}, the chips of a scale-up domain of "
            f"{group.entry.key}, or scaleUp: Preferred",
        )


def _product_error(group: _Group) -> FieldError | None:
    mesh, chips = group.mesh, f"the group's {group.chips} chips{group.note}"
    product = mesh.tensor * mesh.pipeline * (mesh.data or 1)
    if mesh.data is None and group.chips % product:
        text = f"given {mesh.text()} = {product}; allowed: a divisor of {chips}, data being the rest"
        return FieldError(group.path, text)
    if mesh.data is not None and product != group.chips:
        text = f"given {mesh.text()} = {product}; allowed: axes whose product is {chips}, or no data"
        return FieldError(group.path, text)
    return None


def _expert_error(group: _Group) -> FieldError | None:
    mesh = group.mesh
    stage = mesh.tensor * mesh.replicas(group.chips)
    within = mesh.tensor % mesh.expert == 0
    across = mesh.pipeline == 1 and mesh.expert % mesh.tensor == 0 and stage % mesh.expert == 0
    if within or across:
        return None
    allowed = f"a divisor of tensor, {mesh.tensor}"
    if mesh.pipeline == 1:
        allowed += f", or a multiple of it that divides tensor × data = {stage}"
    return FieldError(f"{group.path}.expert", f"given {mesh.expert}{group.note}; allowed: {allowed}")


def _engine_errors(group: _Group, spec: InferenceServiceSpec) -> Iterator[FieldError]:
    """What the engine can't be told. One that is told nothing is the user's own affair."""
    mesh, known = group.mesh, preset(spec.engine)
    data = mesh.replicas(group.chips)
    stage = mesh.tensor * data
    if not known.mesh:
        return
    if mesh.expert not in (1, stage) and not known.supports.partial_expert:
        yield FieldError(
            f"{group.path}.expert",
            f"given {mesh.expert}{group.note}; allowed with engine {spec.engine}: 1, or {stage} = tensor × data, all the "
            "chips of a pipeline stage",
        )
    if data > 1 and group.pods > 1 and not mesh.wide and not known.supports.data_across_pods:
        yield FieldError(
            f"{group.path}.data",
            f"given {data} in groups of {group.pods} pods{group.note}; allowed with engine {spec.engine}: 1, or experts "
            "spread over the replicas",
        )


def _argument_errors(
    group: _Group, path: str, role: InferenceRoleSpec, known: EnginePreset
) -> Iterator[FieldError]:
    """The user's own arguments where they say something else."""
    sizes = group.mesh.sizes(group.chips)
    for name, template in (("template", role.template), ("leaderTemplate", role.leader_template)):
        options = engine_options(_engine(template), known) if template is not None else None
        for flag in known.mesh if options else ():
            where = f"{path}.{name}.spec.containers[0].args"
            for given in _contradictions(options or [], flag, sizes[flag.size]):
                yield FieldError(
                    where,
                    f"given {given}; allowed: absent or {_told(flag, sizes[flag.size])}, by {group.path}{group.note}",
                )


def _contradictions(options: list[str], flag: MeshFlag, size: int) -> Iterator[str]:
    for spelling in flag.flags:
        for value in values_of(options, (spelling,)):
            if flag.switch:
                if spelling.startswith("--no-") == (size > 1):
                    yield spelling
            elif value.isascii() and value.isdigit() and int(value) != size:
                yield f"{spelling}={value}"


def _told(flag: MeshFlag, size: int) -> str:
    if not flag.switch:
        return f"{size}"
    return flag.flags[0] if size > 1 else f"its contrary, as {flag.size} is 1"


def _engine(template: Mapping[str, Any]) -> Mapping[str, Any]:
    containers: Sequence[Mapping[str, Any]] = (template.get("spec") or {}).get("containers") or ({},)
    return containers[0]
