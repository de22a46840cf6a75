"""Whether pod templates leave to the operator what is the operator's.

The API server validates a template in full, by a dry run of the first pod. Here only what a gang needs:
the shallow schema (containers with images, no restarts within a pod), no fields and no environment that
the operator sets, and a count of accelerators that agrees with the job's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from drumline.api.catalog import AcceleratorType, Catalog
from drumline.api.environment import MAX_BYTES, is_reserved
from drumline.api.errors import FieldError
from drumline.api.podtemplate import OPERATOR_FIELDS, POD_TEMPLATE_SCHEMA
from drumline.api.schemacheck import schema_errors
from drumline.api.training import Accelerator, Framework, TrainingJobSpec
from drumline.api.validation_claims import claim_errors
from drumline.api.validation_progress import mount_errors
from drumline.api.wire import given

CONTAINER_LISTS: Final = ("containers", "initContainers")


def template_errors(spec: TrainingJobSpec, catalog: Catalog) -> Iterator[FieldError]:
    """Errors of the workers' template and of each helper's."""
    entry = catalog.get(spec.accelerator.type)
    own = entry.resource if entry else ""
    path = "spec.template"
    malformed = tuple(schema_errors(path, spec.template, POD_TEMPLATE_SCHEMA))
    yield from malformed
    if not malformed:
        tpu = entry is not None and entry.is_tpu
        yield from _pod_errors(path, spec.template, spec.framework, tpu=tpu)
        yield from mount_errors(f"{path}.spec", spec)
        yield from foreign_chip_errors(path, spec.template, catalog, own)
        if entry is not None:
            yield from claim_errors(path, spec.template, spec.accelerator, "spec.accelerator", entry)
            yield from count_errors(path, spec.template, entry, chips_per_worker(spec.accelerator, entry))
    for index, helper in enumerate(spec.helpers):
        yield from _helper_errors(f"spec.helpers[{index}].template", helper.template, catalog)


def _helper_errors(path: str, template: Mapping[str, Any], catalog: Catalog) -> Iterator[FieldError]:
    malformed = tuple(schema_errors(path, template, POD_TEMPLATE_SCHEMA))
    yield from malformed
    if not malformed:
        yield from _pod_errors(path, template, Framework.NONE, tpu=False)
        yield from foreign_chip_errors(path, template, catalog, own="")


def _pod_errors(
    path: str, template: Mapping[str, Any], framework: Framework, *, tpu: bool
) -> Iterator[FieldError]:
    yield from pod_errors(path, template, lambda name: is_reserved(name, framework, tpu=tpu))


def pod_errors(
    path: str, template: Mapping[str, Any], reserved: Callable[[str], bool]
) -> Iterator[FieldError]:
    """What a well-formed template sets that is the operator's; `reserved` tells names of variables."""
    pod = template["spec"]
    for name in OPERATOR_FIELDS:
        if pod.get(name) is not None:
            yield FieldError(
                f"{path}.spec.{name}", f"given {given(pod[name])}; allowed: absent, the operator sets it"
            )
    for kind in CONTAINER_LISTS:
        for index, container in enumerate(pod.get(kind) or ()):
            yield from _env_errors(f"{path}.spec.{kind}[{index}].env", container.get("env") or (), reserved)


def _env_errors(
    path: str, env: Sequence[Mapping[str, Any]], reserved: Callable[[str], bool]
) -> Iterator[FieldError]:
    for index, variable in enumerate(env):
        if reserved(variable["name"]):
            yield FieldError(
                f"{path}[{index}].name",
                f"given {variable['name']!r}, which the operator sets; allowed: any name it does not set",
            )
        size = len(f"{variable['name']}={variable.get('value') or ''}".encode())
        if size > MAX_BYTES:
            yield FieldError(
                f"{path}[{index}].value",
                f"given {size} bytes with its name; allowed: at most {MAX_BYTES}, as Linux starts no program with more",
            )


def _limits(container: Mapping[str, Any]) -> Mapping[str, Any]:
    limits: Mapping[str, Any] = (container.get("resources") or {}).get("limits") or {}
    return limits


def _count(quantity: Any) -> int | None:
    """A whole quantity such as 8 or "8"; None when it is none."""
    return int(quantity) if re.fullmatch(r"[0-9]{1,6}", str(quantity)) else None


def count_errors(
    path: str, template: Mapping[str, Any], entry: AcceleratorType, wanted: int | None
) -> Iterator[FieldError]:
    """The accelerators that the containers' limits name must be those of the job; None = not known."""
    named = [
        (f"{path}.spec.containers[{i}].resources.limits[{entry.resource}]", _limits(c)[entry.resource])
        for i, c in enumerate(template["spec"]["containers"])
        if entry.resource and entry.resource in _limits(c)
    ]
    counts = [_count(quantity) for _, quantity in named]
    for (where, quantity), count in zip(named, counts, strict=True):
        if count is None:
            yield FieldError(where, f"given {given(quantity)}; allowed: a whole number")
    total = sum(count or 0 for count in counts)
    if named and None not in counts and wanted is not None and total != wanted:
        yield FieldError(
            named[0][0], f"given {total} in all; allowed: {wanted}, the chips of a worker, or absent"
        )


def chips_per_worker(accelerator: Accelerator, entry: AcceleratorType) -> int | None:
    """Chips of a worker; None when the topology, refused elsewhere, leaves it open."""
    wanted, topology = accelerator.chips_per_worker, accelerator.topology
    if wanted is not None or not entry.is_tpu:
        return entry.chips_per_host if wanted is None else wanted
    return entry.chips_per_worker(topology) if topology and entry.allows(topology) else None


def foreign_chip_errors(
    path: str, template: Mapping[str, Any], catalog: Catalog, own: str
) -> Iterator[FieldError]:
    """Accelerators other than the pod's own would be in no account; helpers have none at all."""
    resources = {entry.resource for entry in catalog.values()} - {"", own}
    pod = template["spec"]
    for kind in CONTAINER_LISTS:
        for index, container in enumerate(pod.get(kind) or ()):
            for name in sorted(resources & _limits(container).keys()):
                yield FieldError(
                    f"{path}.spec.{kind}[{index}].resources.limits[{name}]",
                    f"given {given(_limits(container)[name])}; allowed: absent, as pods of this role have "
                    f"{'no ' + name if own else 'no accelerators'}",
                )
