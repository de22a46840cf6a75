"""JAX: the coordinator's address, the number of processes and this process's place among them.

`jax.distributed.initialize()` itself reads only ``JAX_COORDINATOR_ADDRESS`` (host and port); the number
and the place it takes from its arguments or from a cluster that it detects. On TPU it detects the TPU
variables (`env_tpu`), which give the same numbers, so the bare call is right. Elsewhere a program passes
``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID`` on.

With several processes a worker the place of a process is the launcher's to tell (``DRUMLINE_RANK`` times
the processes of a worker, plus its own number): a pod-level ``JAX_PROCESS_ID`` would be wrong for all but
one of them and is left out.
"""

from __future__ import annotations

from typing import Final

from drumline.core.training.environment_facts import EnvVar, GangFacts, WorkerFacts, variables

COORDINATOR_PORT: Final = 8482  # the port that jax itself uses on TPU


def shared(gang: GangFacts) -> list[EnvVar]:
    """What every worker has in the same form."""
    return variables(
        [
            ("JAX_COORDINATOR_ADDRESS", f"{gang.coordinator}:{COORDINATOR_PORT}"),
            ("JAX_NUM_PROCESSES", gang.processes),
            ("PYTHONUNBUFFERED", 1),
        ]
    )


def ranked(gang: GangFacts, worker: WorkerFacts) -> list[EnvVar]:
    """What differs from worker to worker."""
    return variables([("JAX_PROCESS_ID", worker.rank)] if gang.processes_per_worker == 1 else [])
