"""Who reports, and for what: read from the environment that the operator gives a worker.

One process of a job reports: the first of worker 0 of slice 0. `DRUMLINE_REPORTER` widens that: `all-slices`
(one of each slice), `all-workers` (one of each worker); `none` turns reporting off. A process is the first of
its worker when `LOCAL_RANK` is 0 or not set; a helper of another process (a data loader's worker) is never.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

_FILES: Final = "/var/run/secrets/drumline.dev"
_LOCAL_RANKS: Final = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")


class Identity(NamedTuple):
    """A worker of a job, and the ways in which its progress is told."""

    namespace: str
    name: str
    uid: str
    attempt: int
    epoch: int
    slice: int
    worker: int
    slices: int
    workers_per_slice: int
    chips: int  # of the whole job; 0 = not known
    url: str
    token_file: str
    ca_file: str
    policy: str
    progress: Mapping[str, Any]

    @property
    def configured(self) -> bool:
        """Whether there is anybody to report to, and a job to report on."""
        return bool(self.url and self.namespace and self.name and self.uid and self.attempt >= 1)

    @property
    def chosen(self) -> bool:
        """Whether this worker's first process reports."""
        if self.policy == "all-workers":
            return True
        if self.policy == "none" or self.worker != 0:
            return False
        return self.slice == 0 or self.policy == "all-slices"

    @property
    def last(self) -> bool:
        """Whether this worker has the job's last rank."""
        return self.slice == self.slices - 1 and self.worker == self.workers_per_slice - 1

    def header(self) -> dict[str, Any]:
        """The part of every report that says whose it is."""
        return {
            "version": 1,
            "job": {"namespace": self.namespace, "name": self.name, "uid": self.uid},
            "attempt": self.attempt,
            "epoch": self.epoch,
            "slice": self.slice,
            "worker": self.worker,
        }


def identity(environ: Mapping[str, str]) -> Identity:
    """What the environment says; a number that is none counts as 0 (attempt) or its default."""
    return Identity(
        namespace=environ.get("DRUMLINE_JOB_NAMESPACE", ""),
        name=environ.get("DRUMLINE_JOB", ""),
        uid=environ.get("DRUMLINE_JOB_UID", ""),
        attempt=_number(environ, "DRUMLINE_ATTEMPT", 0),
        epoch=_number(environ, "DRUMLINE_EPOCH", 0),
        slice=_number(environ, "DRUMLINE_SLICE", 0),
        worker=_number(environ, "DRUMLINE_WORKER", 0),
        slices=_number(environ, "DRUMLINE_SLICES", 1),
        workers_per_slice=_number(environ, "DRUMLINE_WORKERS_PER_SLICE", 1),
        chips=_number(environ, "DRUMLINE_CHIPS", 0),
        url=environ.get("DRUMLINE_REPORT_URL", ""),
        token_file=environ.get("DRUMLINE_REPORT_TOKEN_FILE", f"{_FILES}/token"),
        ca_file=environ.get("DRUMLINE_REPORT_CA_FILE", f"{_FILES}/ca.crt"),
        policy="none" if "DRUMLINE_HELPER" in environ else environ.get("DRUMLINE_REPORTER", "first"),
        progress=_progress(environ.get("DRUMLINE_PROGRESS", "")),
    )


def first_process(environ: Mapping[str, str]) -> bool:
    """Whether this is the first of its worker's processes."""
    for name in _LOCAL_RANKS:
        if name in environ:
            return _number(environ, name, 0) == 0
    processes = sys.modules.get("multiprocessing.process")
    return processes is None or getattr(processes, "parent_process", lambda: None)() is None


def origin() -> str:
    """A name that no other life of a reporter has."""
    return os.urandom(8).hex()


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    try:
        return max(0, int(environ.get(name, default)))
    except ValueError:
        return default


def _progress(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
