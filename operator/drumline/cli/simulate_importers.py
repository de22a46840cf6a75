"""Public cluster traces as jobs.

Both are CSV files. What is read of them:

``pai``: Alibaba PAI, 2020 (github.com/alibaba/clusterdata, cluster-trace-gpu-v2020). ``pai_task_table.csv``, which has no
header: job_name, task_name, inst_num, status, start_time, end_time (seconds), plan_cpu, plan_mem, plan_gpu (percent
of a GPU), gpu_type. A job is all of its tasks with GPUs, as one gang: as many workers as they have instances, each
with the GPUs of the largest, parts of a GPU rounded up. With ``pai_job_table.csv`` (job_name, inst_id, user, status,
start_time, end_time) a job is submitted at its start_time there, and its user is its queue; else it is submitted when
its first task began.

``helios``: SenseTime's Helios, 2020 (github.com/S-Lab-System-Group/HeliosData). ``cluster_log.csv`` with a header, of which
job_id, vc (the queue), gpu_num (of the whole job), node_num, submit_time (YYYY-MM-DD HH:MM:SS) and duration (seconds) are
read. A worker a node, or as many as full hosts are needed; GPUs that do not divide evenly are rounded up.

Jobs without GPUs, or without an end, are left out and counted.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from math import ceil, inf, isfinite
from typing import Final

from drumline.cli.manifests import InputError
from drumline.core.sim.trace import Row, Size

PAI_TASKS: Final = (
    *("job_name", "task_name", "inst_num", "status", "start_time", "end_time"),
    *("plan_cpu", "plan_mem", "plan_gpu", "gpu_type"),
)
PAI_JOBS: Final = ("job_name", "inst_id", "user", "status", "start_time", "end_time")
_HELIOS: Final = frozenset({"job_id", "vc", "gpu_num", "node_num", "submit_time", "duration"})


@dataclass(slots=True)
class Imported:
    """Jobs of a foreign trace, and how many of it were left out."""

    rows: list[Row] = field(default_factory=list)
    skipped: int = 0


@dataclass(slots=True)
class _PaiJob:
    where: str
    workers: int = 0
    gpus: int = 0
    begin: float = inf
    end: float = -inf
    whole: bool = True  # every task has an end


def pai(
    path: str, lines: Iterable[str], accelerator: str, job_lines: Iterable[str] | None = None
) -> Imported:
    """Jobs of a ``pai_task_table.csv``; `job_lines` of a ``pai_job_table.csv``. InputError."""
    jobs: dict[str, _PaiJob] = {}
    for where, cells in _table(path, lines, PAI_TASKS):
        gpus = ceil(_number(cells["plan_gpu"], 0.0) / 100)
        if gpus > 0:
            _add_task(jobs.setdefault(cells["job_name"], _PaiJob(where)), gpus, cells)
    known = _submissions(job_lines)
    imported = Imported()
    for name, job in jobs.items():
        if not job.whole or job.workers < 1 or job.end <= job.begin:
            imported.skipped += 1
            continue
        submit, user = known.get(name, (job.begin, ""))
        size = Size(accelerator, workers_per_slice=job.workers, chips_per_worker=job.gpus)
        duration = job.end - job.begin
        imported.rows.append(Row(job.where, name, min(submit, job.begin), duration, size, user))
    return imported


def helios(path: str, lines: Iterable[str], accelerator: str, chips_per_host: int) -> Imported:
    """Jobs of a ``cluster_log.csv``. InputError."""
    reader = csv.DictReader(lines)
    missing = sorted(_HELIOS - set(reader.fieldnames or ()))
    if missing:
        raise InputError(f"{path}: no column {', '.join(missing)}; allowed: Helios' cluster_log.csv")
    imported = Imported()
    for cells in reader:
        row = _helios_row(f"{path}:{reader.line_num}", cells, accelerator, chips_per_host)
        if row is None:
            imported.skipped += 1
        else:
            imported.rows.append(row)
    return imported


def _add_task(job: _PaiJob, gpus: int, cells: Mapping[str, str]) -> None:
    begin, end = _number(cells["start_time"], inf), _number(cells["end_time"], -inf)
    job.workers += round(_number(cells["inst_num"], 0.0))
    job.gpus = max(job.gpus, gpus)
    job.begin, job.end = min(job.begin, begin), max(job.end, end)
    job.whole = job.whole and isfinite(begin) and isfinite(end)


def _submissions(lines: Iterable[str] | None) -> dict[str, tuple[float, str]]:
    """When each job was submitted, and by whom."""
    if lines is None:
        return {}
    table = _table("job table", lines, PAI_JOBS)
    times = ((cells, _number(cells["start_time"], inf)) for _, cells in table)
    return {cells["job_name"]: (at, cells["user"]) for cells, at in times if isfinite(at)}


def _table(path: str, lines: Iterable[str], columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a table whose header may be missing."""
    reader = csv.reader(lines)
    first = next(reader, None)
    if first is None:
        return
    rest = reader if first[:1] == [columns[0]] else chain([first], reader)
    for cells in rest:
        if len(cells) != len(columns):
            text = f"given {len(cells)} columns; allowed: {len(columns)} ({', '.join(columns)})"
            raise InputError(f"{path}:{reader.line_num}: {text}")
        yield f"{path}:{reader.line_num}", dict(zip(columns, cells, strict=True))


def _helios_row(where: str, cells: Mapping[str, str], accelerator: str, chips_per_host: int) -> Row | None:
    gpus, duration = round(_number(cells["gpu_num"], 0.0)), _number(cells["duration"], 0.0)
    if gpus < 1 or duration <= 0:
        return None
    try:
        submit = datetime.strptime(cells["submit_time"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise InputError(f"{where}: submit_time: {error}") from error
    workers = max(round(_number(cells["node_num"], 1.0)), ceil(gpus / chips_per_host))
    size = Size(accelerator, workers_per_slice=workers, chips_per_worker=ceil(gpus / workers))
    return Row(where, cells["job_id"], submit, duration, size, cells["vc"])


def _number(text: str, default: float) -> float:
    """A cell's number; `default` for an empty or odd one."""
    try:
        number = float(text)
    except ValueError:
        return default
    return number if isfinite(number) else default
