"""Whether a job could run on each of its candidates, and whether labels that it asks of nodes are labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from drumline.api.candidates import choices, with_candidate
from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.shape import resolve_shape
from drumline.api.training import LABEL_KEY, TrainingJobSpec
from drumline.api.validation_accelerator import Chosen, accelerator_errors, chosen_errors
from drumline.api.wire import given

PATH: Final = "spec.accelerator"
_LABEL_KEY: Final = re.compile(LABEL_KEY)

Judge = Callable[[TrainingJobSpec], Collection[FieldError]]


def candidate_errors(
    spec: TrainingJobSpec, catalog: Catalog, known: Collection[FieldError], judge: Judge
) -> Iterator[FieldError]:
    """Errors of `spec.accelerator` as a list to choose from.

    `known`: what is wrong with the spec anyhow; `judge` finds what is wrong with a spec that names one accelerator.
    """
    accelerator = spec.accelerator
    yield from _selector_errors(PATH, spec, accelerator.node_selector)
    if not accelerator.candidates:
        if accelerator.fallback_seconds is not None:
            yield FieldError(
                f"{PATH}.fallbackSeconds",
                f"given {accelerator.fallback_seconds} without candidates; allowed: absent, as there is nothing else "
                "to try",
            )
        return
    if accelerator.resource_claim is not None:
        yield FieldError(
            f"{PATH}.candidates",
            f"given with resourceClaim {accelerator.resource_claim!r}; allowed: absent, as a claim asks for devices of "
            "one type",
        )
    sound = not any(accelerator_errors(spec, catalog))
    for number in range(1, choices(spec)):
        yield from _errors_of(spec, number, catalog, known, judge if sound else None)


def _errors_of(
    spec: TrainingJobSpec,
    number: int,
    catalog: Catalog,
    known: Collection[FieldError],
    judge: Judge | None,
) -> Iterator[FieldError]:
    """Errors of the candidate with that number; without `judge` only of itself."""
    path, candidate = f"{PATH}.candidates[{number - 1}]", spec.accelerator.candidates[number - 1]
    yield from _selector_errors(path, spec, candidate.node_selector)
    chosen = Chosen(path, candidate, spec.workers_per_slice, "spec.workersPerSlice")
    own = tuple(chosen_errors(chosen, catalog))
    for error in own:
        yield error if error.path.startswith(path) else _with_it(path, error)
    if own or judge is None:
        return
    effective = with_candidate(spec, number)
    yield from (_with_it(path, error) for error in judge(effective) if error not in known)
    first, chips = (resolve_shape(s, catalog).chips_per_worker for s in (spec, effective))
    if chips != first:
        yield FieldError(
            f"{path}.chipsPerWorker",
            f"given a worker of {chips} chips of {candidate.type}, where one of {spec.accelerator.type} has {first}; "
            f"allowed: {first}, on each candidate",
        )


def _with_it(path: str, error: FieldError) -> FieldError:
    return FieldError(path, f"with it, {error.path}: {error.message}")


def _selector_errors(path: str, spec: TrainingJobSpec, labels: Mapping[str, str]) -> Iterator[FieldError]:
    pod = spec.template.get("spec")
    template = (pod.get("nodeSelector") if isinstance(pod, Mapping) else None) or {}
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            yield FieldError(f"{path}.nodeSelector", f"given key {given(key)}; allowed: the key of a label")
        elif isinstance(template, Mapping) and template.get(key, value) != value:
            yield FieldError(
                f"{path}.nodeSelector",
                f"given {key}={value}, and spec.template.spec.nodeSelector says {template[key]}; allowed: no other "
                "value than there",
            )
