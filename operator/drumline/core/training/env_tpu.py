"""TPU: the workers of a slice for libtpu, and the slices of a multislice job for Megascale.

What a slice needs is `gang.tpu`'s. The lists are the same for all workers of a slice and grow with it. Up to `INLINE_BYTES` they stand in the
pod; beyond, one ConfigMap holds them for all slices and pods refer to it. The lists name host names, which
no attempt changes, so the ConfigMap is the same in every attempt. A ConfigMap holds at most 1 MiB: slices
that do not fit go to a next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from drumline.core.gang.tpu import PROCESS_PORT, addresses, hostnames, identity, inline_lists, process_port
from drumline.core.training.environment_facts import EnvVar, GangFacts, WorkerFacts, variables

MEGASCALE_PORT: Final = 8080  # Megascale's own default
INLINE_BYTES: Final = 2048
CONFIGMAP_BYTES: Final = 900_000  # of 1,048,576, which count keys and metadata too


def shared(gang: GangFacts) -> list[EnvVar]:
    """What every worker has in the same form."""
    return variables([*process_port(gang.workers_per_slice), *_megascale(gang)])


def ranked(gang: GangFacts, worker: WorkerFacts) -> list[EnvVar]:
    """What differs from worker to worker."""
    slice_id = [("MEGASCALE_SLICE_ID", worker.slice)] if gang.slices > 1 else []
    own = [*identity(f"{gang.job}-{worker.slice}", worker.worker), *slice_id]
    return [*variables(own), *_lists(gang, worker.slice)]


def host_lists(gang: GangFacts) -> Iterator[tuple[str, dict[str, str]]]:
    """Name and data of each ConfigMap that the workers refer to; none while the lists stand in the pods."""
    if not _long(gang):
        return
    step = _slices_per_configmap(gang)
    for first in range(0, gang.slices, step):
        data: dict[str, str] = {}
        for index in range(first, min(first + step, gang.slices)):
            data[_key(index, "hostnames")] = hostnames(gang.slice_hosts(index))
            data[_key(index, "addresses")] = addresses(gang.slice_hosts(index))
        yield _configmap(gang, first), data


def _megascale(gang: GangFacts) -> list[tuple[str, object]]:
    if gang.slices == 1:
        return []
    return [
        ("MEGASCALE_COORDINATOR_ADDRESS", gang.coordinator),
        ("MEGASCALE_PORT", MEGASCALE_PORT),
        ("MEGASCALE_NUM_SLICES", gang.slices),
    ]


# workers are rendered slice by slice: the last few are enough
@lru_cache(maxsize=16)
def _lists(gang: GangFacts, slice_index: int) -> tuple[EnvVar, ...]:
    if _long(gang):
        return (
            _reference(gang, slice_index, "TPU_WORKER_HOSTNAMES", "hostnames"),
            _reference(gang, slice_index, "TPU_PROCESS_ADDRESSES", "addresses"),
        )
    return inline_lists(gang.slice_hosts(slice_index))


def _reference(gang: GangFacts, slice_index: int, name: str, what: str) -> EnvVar:
    source = {"name": _configmap(gang, slice_index), "key": _key(slice_index, what)}
    return {"name": name, "valueFrom": {"configMapKeyRef": source}}


def _slice_bytes(gang: GangFacts) -> int:
    """Upper bound of both lists of one slice: the last slice has the longest names."""
    longest = len(gang.slice_hosts(gang.slices - 1)[-1])
    return gang.workers_per_slice * (2 * longest + len(f":{PROCESS_PORT},") + 1)


def _long(gang: GangFacts) -> bool:
    return gang.workers_per_slice > 1 and _slice_bytes(gang) > 2 * INLINE_BYTES


def _slices_per_configmap(gang: GangFacts) -> int:
    return max(1, CONFIGMAP_BYTES // _slice_bytes(gang))


def _configmap(gang: GangFacts, slice_index: int) -> str:
    chunk = slice_index // _slices_per_configmap(gang)
    return f"{gang.job}-hosts" if chunk == 0 else f"{gang.job}-hosts-{chunk}"


def _key(slice_index: int, what: str) -> str:
    return f"slice-{slice_index}.{what}"
