"""Names of environment variables that the operator sets, so that a user may not.

What a user set is never overwritten: a clash is an error at admission. Not reserved are list-like
variables, where both lists are merged, and preferences, where the user's word simply wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drumline.api.meta import ENV_PREFIX
from drumline.api.training import Framework

TORCH: Final = (
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "PET_MASTER_ADDR",
    "PET_MASTER_PORT",
    "PET_NNODES",
    "PET_NODE_RANK",
    "PET_NPROC_PER_NODE",
    "PET_RDZV_ID",
    "RANK",
    "WORLD_SIZE",
)
JAX: Final = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
TPU: Final = (
    "MEGASCALE_COORDINATOR_ADDRESS",
    "MEGASCALE_NUM_SLICES",
    "MEGASCALE_PORT",
    "MEGASCALE_SLICE_ID",
    "TPU_NAME",
    "TPU_PROCESS_ADDRESSES",
    "TPU_PROCESS_PORT",
    "TPU_WORKER_HOSTNAMES",
    "TPU_WORKER_ID",
)

INFERENCE: Final = (  # in every pod of an InferenceService
    "LWS_GROUP_SIZE",
    "LWS_LEADER_ADDRESS",
    "LWS_WORKER_INDEX",
)
INFERENCE_GROUP: Final = (  # in pods of groups of several, by what the engine needs
    "MASTER_ADDR",
    "MASTER_PORT",
    "NNODES",
    "NODE_RANK",
    "RANK",
    "RAY_ADDRESS",
    "WORLD_SIZE",
)

BY_FRAMEWORK: Final[Mapping[Framework, tuple[str, ...]]] = {
    Framework.TORCH: TORCH,
    Framework.JAX: JAX,
    Framework.NONE: (),
}

LIST_LIKE: Final = frozenset({"LIBTPU_INIT_ARGS", "XLA_FLAGS"})  # flags: ours first, then the user's
MAX_BYTES: Final = 131_071  # of NAME=value: Linux starts no program with a longer one (MAX_ARG_STRLEN)
SWITCHES: Final = (  # of our prefix, and yet the user's: what the launcher and the worker library do
    "DRUMLINE_HOOKS",
    "DRUMLINE_KUBEFLOW",
    "DRUMLINE_REPORTER",
    "DRUMLINE_TERMINATION_LOG",
)
PREFERENCES: Final = frozenset({"PYTHONUNBUFFERED"})


def reserved_names(framework: Framework, *, tpu: bool) -> frozenset[str]:
    """Names that the operator sets for a framework on TPU or elsewhere, those of our prefix aside."""
    return frozenset((*BY_FRAMEWORK[framework], *(TPU if tpu else ())))


def is_reserved(name: str, framework: Framework, *, tpu: bool) -> bool:
    """Whether a user may not set the variable."""
    ours = name.startswith(ENV_PREFIX) and name not in SWITCHES
    return ours or name in reserved_names(framework, tpu=tpu)


def is_reserved_in_service(name: str, *, tpu: bool, grouped: bool) -> bool:
    """Whether a user may not set the variable in an InferenceService's pods; `grouped`: groups of several pods."""
    names = (*INFERENCE, *(INFERENCE_GROUP if grouped else ()), *(TPU if tpu else ()))
    return name.startswith(ENV_PREFIX) or name in names


def host_list_bytes(job_characters: int, slices: int, workers_per_slice: int) -> int:
    """Bytes of the longest variable that the operator writes: TPU_PROCESS_ADDRESSES of the last slice.

    It is ``<job>-<slice>-<worker>.<job>:8476`` for each worker of the slice, with commas between them.
    """
    digits = sum(len(str(worker)) for worker in range(workers_per_slice))
    each = 2 * job_characters + len(f"-{slices - 1}-.:8476,")
    return len("TPU_PROCESS_ADDRESSES=") + workers_per_slice * each + digits - 1
