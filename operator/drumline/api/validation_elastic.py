"""Whether the bounds of an elastic job hold together."""

from __future__ import annotations

from collections.abc import Iterator

from drumline.api.errors import FieldError
from drumline.api.training import TrainingJobSpec


def elastic_errors(spec: TrainingJobSpec) -> Iterator[FieldError]:
    """Errors of `spec.elastic`, and of `spec.slices` beside it."""
    elastic = spec.elastic
    if elastic is None:
        return
    if spec.spares:
        text = (
            f"given {spec.spares} with spec.elastic; allowed: 0, as an elastic job goes on with fewer slices"
        )
        yield FieldError("spec.spares", text)
    low, high = elastic.min_slices, elastic.max_slices
    if low > high:
        yield FieldError("spec.elastic.minSlices", f"given {low}; allowed: at most maxSlices, {high}")
    elif not low <= spec.slices <= high:
        text = f"given {spec.slices}; allowed: {low} to {high}, as spec.elastic says"
        yield FieldError("spec.slices", text)
