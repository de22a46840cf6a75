"""Traces of jobs in Drumline's own format: CSV with a header, or one JSON object a line.

``submitSeconds`` and ``durationSeconds`` (productive time) and ``accelerator`` are needed; ``docs/simulate.md`` has the
rest. An empty cell is an absent one. Lists in a cell are parted by blanks.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TextIO

import orjson
from pydantic import Field, ValidationError

from drumline.api.base import ApiModel
from drumline.api.wire import field_errors
from drumline.cli.manifests import InputError
from drumline.core.sim.trace import Row, Size

Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]
_LISTS: Final = ("failuresAtSeconds",)


class TraceLine(ApiModel):
    """One job. Counts as in a TrainingJob; times in seconds of one clock."""

    submit_seconds: Seconds
    duration_seconds: Annotated[float, Field(gt=0, le=1e10, allow_inf_nan=False)]
    accelerator: str
    name: str = ""
    queue: str = ""
    priority: int = 0
    slices: int = Field(default=1, ge=1)
    workers_per_slice: int = Field(default=1, ge=1)
    chips_per_worker: int | None = Field(default=None, ge=1)
    topology: str = ""
    placement_policy: str = ""
    placement_level: str = ""
    tensor: int = Field(default=1, ge=1)
    failures_at_seconds: tuple[Seconds, ...] = ()


@contextmanager
def opened(path: str) -> Iterator[TextIO]:
    """A file of the trace, to be read while it is open. InputError."""
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            yield file
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: {error}") from error


def rows(path: str, lines: Iterable[str]) -> Iterator[Row]:
    """The jobs of a file in Drumline's format: JSON lines if its name ends so, else CSV. InputError."""
    raw = _json(path, lines) if path.endswith((".jsonl", ".ndjson")) else _csv(lines)
    for number, fields in raw:
        where = f"{path}:{number}"
        try:
            line = TraceLine.model_validate(fields)
        except ValidationError as error:
            problems = "; ".join(map(str, field_errors(error, TraceLine, prefix="")))
            raise InputError(f"{where}: {problems}") from error
        yield _row(where, line)


def _csv(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(lines)
    for cells in reader:
        fields = {str(name): text.strip() for name, text in cells.items() if isinstance(text, str)}
        filled: dict[str, Any] = {name: text for name, text in fields.items() if text}
        filled.update((name, filled[name].split()) for name in _LISTS if name in filled)
        yield reader.line_num, filled


def _json(path: str, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield number, orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise InputError(f"{path}:{number}: {error}") from error


def _row(where: str, line: TraceLine) -> Row:
    size = Size(
        line.accelerator,
        line.slices,
        line.workers_per_slice,
        line.chips_per_worker,
        line.topology,
        line.placement_policy,
        line.placement_level,
        line.tensor,
    )
    return Row(
        where,
        line.name or where,
        line.submit_seconds,
        line.duration_seconds,
        size,
        line.queue,
        line.priority,
        line.failures_at_seconds,
    )
