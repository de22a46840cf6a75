"""Whether `spec.parallelism` fits the chips of the gang and of its scale-up domains."""

from __future__ import annotations

from collections.abc import Iterator

from drumline.api.catalog import AcceleratorType, Catalog
from drumline.api.errors import FieldError
from drumline.api.parallelism import Parallelism, ScaleUp
from drumline.api.shape import GangShape, resolve_shape
from drumline.api.training import TrainingJobSpec

PATH = "spec.parallelism"


def parallelism_errors(spec: TrainingJobSpec, catalog: Catalog) -> Iterator[FieldError]:
    """Errors of `spec.parallelism` in a spec whose accelerator is sound."""
    parallelism = spec.parallelism
    if parallelism is None:
        return
    shape, entry = resolve_shape(spec, catalog), catalog[spec.accelerator.type]
    if not shape.chips:
        yield FieldError(PATH, f"given on {entry.key}; allowed: absent, as its workers have no chips")
        return
    if spec.elastic is not None:
        yield from _elastic_errors(parallelism, shape)
    else:
        yield from _product_errors(parallelism, shape)
    yield from _group_errors(parallelism, shape, entry)
    if spec.spares and parallelism.group > shape.chips_per_worker and not entry.is_tpu:
        yield FieldError(
            "spec.spares",
            f"given {spec.spares} with groups of several workers (tensor × expert = {parallelism.group} chips); "
            "allowed: 0, as a spare of one worker would tear a group apart",
        )


def _elastic_errors(parallelism: Parallelism, shape: GangShape) -> Iterator[FieldError]:
    chips = shape.workers_per_slice * shape.chips_per_worker
    if parallelism.data is not None:
        yield FieldError(
            f"{PATH}.data",
            f"given {parallelism.data} with spec.elastic; allowed: absent, as it follows from the slices",
        )
    elif chips % parallelism.others:
        yield FieldError(
            PATH,
            f"given {parallelism.text()} = {parallelism.others} with spec.elastic; allowed: a divisor of the "
            f"{chips} chips of a slice, as the slices may change",
        )


def _product_errors(parallelism: Parallelism, shape: GangShape) -> Iterator[FieldError]:
    others, data = parallelism.others, parallelism.data
    chips = f"the gang's {shape.chips} chips"
    if data is None:
        if shape.chips % others:
            yield FieldError(
                PATH,
                f"given {parallelism.text()} = {others}; allowed: a divisor of {chips}, data being the rest",
            )
    elif others * data != shape.chips:
        yield FieldError(
            PATH,
            f"given {parallelism.text()} = {others * data}; allowed: axes whose product is {chips}, or no data",
        )


def _group_errors(parallelism: Parallelism, shape: GangShape, entry: AcceleratorType) -> Iterator[FieldError]:
    group, chips = parallelism.group, shape.chips_per_worker
    given = f"given tensor × expert = {group}"
    if (shape.workers_per_slice * chips) % group:
        yield FieldError(
            PATH, f"{given}; allowed: a divisor of the {shape.workers_per_slice * chips} chips of a slice"
        )
    elif chips % group and group % chips:
        yield FieldError(PATH, f"{given}; allowed: a divisor or a multiple of a worker's {chips} chips")
    elif group > entry.scale_up and not entry.is_tpu and parallelism.scale_up is ScaleUp.REQUIRED:
        yield FieldError(
            PATH,
            f"{given}; allowed: at most {entry.scale_up}, the chips of a scale-up domain of {entry.key}, or "
            "scaleUp: Preferred",
        )
