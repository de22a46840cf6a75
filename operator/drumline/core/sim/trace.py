"""Jobs from the rows of a trace: each asks for exactly what a TrainingJob of that size would ask for.

A row becomes the smallest TrainingJob with its numbers, which is validated and turned into a request by the code that
the operator uses. Rows that ask for the same share that work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.validation import parse_spec, validate_job
from drumline.core.gang.types import GangRequest
from drumline.core.sim.model import SimJob
from drumline.core.training.observation import JobMeta
from drumline.core.training.request import gang_request

_TEMPLATE: Final = {"spec": {"containers": [{"name": "train", "image": "train"}]}}
_NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True)
class Size:
    """What a job asks for."""

    accelerator: str
    slices: int = 1
    workers_per_slice: int = 1
    chips_per_worker: int | None = None  # None = all of a usual host
    topology: str = ""
    policy: str = ""  # of placement: Required, Preferred, Unconstrained
    level: str = ""
    tensor: int = 1  # chips of a tensor-parallel group, which stays in one scale-up domain


@dataclass(frozen=True, slots=True)
class Row:
    """One job of a trace. `where` says where it stands, for messages."""

    where: str
    name: str
    submit: float
    duration: float
    size: Size
    queue: str = ""
    priority: int = 0
    failures: tuple[float, ...] = ()


class TraceError(Exception):
    """A row that is no valid job; the message says which, and why."""


def jobs_of(rows: Iterable[Row], catalog: Catalog) -> list[SimJob]:
    """The jobs in order of submission, the first at 0. TraceError."""
    ordered = sorted(rows, key=lambda row: row.submit)
    begin = ordered[0].submit if ordered else 0.0
    kinds: dict[Size, tuple[int, GangRequest]] = {}
    jobs = []
    for number, row in enumerate(ordered):
        if row.size not in kinds:
            kinds[row.size] = (len(kinds), _request(row, catalog))
        kind, request = kinds[row.size]
        own = replace(
            request,
            uid=f"{number:08d}",
            name=row.name,
            priority=row.priority,
            queued_at=row.submit - begin,
            queue=row.queue,
        )
        jobs.append(SimJob(own, row.duration, kind, tuple(sorted(row.failures))))
    return jobs


def _request(row: Row, catalog: Catalog) -> GangRequest:
    spec, errors = parse_spec(_spec(row.size))
    if spec is not None:
        errors = validate_job("job", spec, catalog)
    if spec is None or errors:
        raise TraceError(f"{row.where}: {_words(errors)}")
    meta = JobMeta(_NAMESPACE, "job", "job", 1, "1", 0.0)
    return gang_request(meta, spec, catalog, queued_at=0.0)


def _spec(size: Size) -> dict[str, Any]:
    accelerator = {
        "type": size.accelerator,
        "topology": size.topology or None,
        "chipsPerWorker": size.chips_per_worker,
    }
    spec: dict[str, Any] = {
        "accelerator": {key: value for key, value in accelerator.items() if value is not None},
        "slices": size.slices,
        "template": _TEMPLATE,
    }
    if not size.topology:
        spec["workersPerSlice"] = size.workers_per_slice
    placement = {"policy": size.policy, "level": size.level}
    if size.policy or size.level:
        spec["scheduling"] = {"placement": {key: value for key, value in placement.items() if value}}
    if size.tensor > 1:
        spec["parallelism"] = {"tensor": size.tensor}
    return spec


def _words(errors: tuple[FieldError, ...]) -> str:
    return "; ".join(str(error).removeprefix("spec.") for error in errors)
