"""Validation of a TrainingJob beyond its schema: everything that needs no cluster.

Two steps. `parse_spec` checks form: types, bounds, patterns, unknown fields. `validate_job` checks sense:
an ordered list of rules of one shape, each a function from (name, spec, catalogue) to errors; all rules
run, so that a user sees every error at once. Each error names the field on the wire, what was given and
what is allowed. What CEL can refuse, the CRD refuses too (`drumline.api.rules`); these rules are the whole
truth, for the offline plan and for an object that slipped through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from drumline.api.catalog import Catalog
from drumline.api.environment import MAX_BYTES, host_list_bytes
from drumline.api.errors import FieldError
from drumline.api.names import MAX_LABEL, longest_names
from drumline.api.shape import GangShape, largest, resolve_shape, spare_size
from drumline.api.templates import template_errors
from drumline.api.training import DNS_1035, PlacementPolicyType, TrainingJobSpec
from drumline.api.validation_accelerator import accelerator_errors
from drumline.api.validation_backend import backend_errors
from drumline.api.validation_candidates import candidate_errors
from drumline.api.validation_elastic import elastic_errors
from drumline.api.validation_failure import failure_errors
from drumline.api.validation_helpers import helper_errors
from drumline.api.validation_parallelism import parallelism_errors
from drumline.api.validation_progress import progress_errors
from drumline.api.validation_provisioning import provisioning_errors, request_errors
from drumline.api.wire import field_errors

MAX_PODS: Final = 50_000


def parse_spec(raw_spec: Any) -> tuple[TrainingJobSpec | None, tuple[FieldError, ...]]:
    """A spec as it stands in a manifest, or what is wrong with its form."""
    if not isinstance(raw_spec, Mapping):
        return None, (FieldError("spec", f"given {type(raw_spec).__name__}; allowed: an object"),)
    try:
        # through JSON: strict there still takes lists for tuples and text for enums, as the wire does
        return TrainingJobSpec.model_validate_json(json.dumps(raw_spec, default=str), strict=True), ()
    except ValidationError as error:
        return None, field_errors(error, TrainingJobSpec, prefix="spec")
    except (RecursionError, TypeError, ValueError) as error:
        return None, (FieldError("spec", f"given a value that is no JSON ({error}); allowed: JSON"),)


def validate_job(name: str, spec: TrainingJobSpec, catalog: Catalog) -> tuple[FieldError, ...]:
    """Everything wrong with a parsed spec under that name; empty = valid."""
    found = _errors(name, spec, catalog)
    return (*found, *candidate_errors(spec, catalog, found, partial(_errors, name, catalog=catalog)))


def _errors(name: str, spec: TrainingJobSpec, catalog: Catalog) -> tuple[FieldError, ...]:
    """Everything wrong with a spec on the accelerator that it names first."""
    accelerator = tuple(accelerator_errors(spec, catalog))
    rules = (
        *_name_errors(name),
        *accelerator,
        *elastic_errors(spec),
        *backend_errors(spec),
        *failure_errors(spec),
        *request_errors(spec),
        *_placement_errors(spec),
        *template_errors(spec, catalog),
        *helper_errors(spec),
        *progress_errors(spec),
    )
    if accelerator:  # sizes are known only for a sound one
        return rules
    sizes = (*_size_errors(name, spec, catalog), *parallelism_errors(spec, catalog))
    return (*rules, *sizes, *provisioning_errors(spec, catalog))


def _name_errors(name: str) -> Iterator[FieldError]:
    if not re.fullmatch(DNS_1035, name):
        yield FieldError(
            "metadata.name",
            f"given {name!r}; allowed: a lower-case letter, then letters, digits and '-', ending in a letter "
            "or digit (it names a Service)",
        )


def _size_errors(name: str, spec: TrainingJobSpec, catalog: Catalog) -> Iterator[FieldError]:
    spec = largest(spec)
    shape = resolve_shape(spec, catalog)
    pods = shape.workers + sum(helper.replicas for helper in spec.helpers)
    pods += spec.spares * spare_size(spec, shape.workers_per_slice)
    if pods > MAX_PODS:
        yield FieldError(
            "spec.slices" if spec.elastic is None else "spec.elastic.maxSlices",
            f"given a gang of {pods} pods; allowed: at most {MAX_PODS} pods in all",
        )
    if shape.workers_per_slice > 1 and catalog[spec.accelerator.type].is_tpu:
        yield from _host_list_errors(name, shape)
    for longest in longest_names(name, spec, shape.workers_per_slice):
        if len(longest) > MAX_LABEL:
            spare = max(0, MAX_LABEL - len(longest) + len(name))
            yield FieldError(
                "metadata.name",
                f"given {name!r} ({len(name)} characters); allowed: at most {spare} characters, as pods get names "
                f"such as {longest!r} of at most {MAX_LABEL}",
            )
            return


def _host_list_errors(name: str, shape: GangShape) -> Iterator[FieldError]:
    """A slice's list of hosts stands in one variable, which must not be too long to start a program with."""
    size = host_list_bytes(len(name), shape.slices, shape.workers_per_slice)
    if size <= MAX_BYTES:
        return
    longest = len(name) - -(-(size - MAX_BYTES) // (2 * shape.workers_per_slice))
    what = (
        f"the list of a slice's {shape.workers_per_slice} hosts has {size} bytes, and Linux takes {MAX_BYTES}"
    )
    if longest < 1:
        yield FieldError("spec.accelerator.topology", f"{what}; allowed: fewer workers in a slice")
    else:
        text = f"given {name!r} ({len(name)} characters); allowed: at most {longest} characters, as {what}"
        yield FieldError("metadata.name", text)


def _placement_errors(spec: TrainingJobSpec) -> Iterator[FieldError]:
    placement = spec.scheduling.placement
    free = placement.policy is PlacementPolicyType.UNCONSTRAINED
    if free and placement.level is not None:
        yield FieldError(
            "spec.scheduling.placement.level",
            f"given {placement.level!r} with policy Unconstrained; allowed: a level with policy Required or "
            "Preferred",
        )
    if not free and placement.level is None:
        yield FieldError(
            "spec.scheduling.placement.level",
            f"required with policy {placement.policy}; allowed: a topology level such as 'block'",
        )
