"""PyTorch: torchrun's variables, and those of `init_process_group("env://")`.

torchrun reads every option from ``PET_<OPTION>``: with these, `torchrun train.py` alone is right on every
worker. Its static rendezvous puts the store at the master's address and prefixes its keys with the
rendezvous id, so that a process left over from an earlier attempt meets nobody.

``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK`` and ``LOCAL_WORLD_SIZE`` belong to a process. torchrun sets them
for each process it starts. They are given to the pod only where pod and process are the same thing: with
several processes a worker, a pod-level ``RANK`` would be wrong for all but one of them.
"""

from __future__ import annotations

from typing import Final

from drumline.core.training.environment_facts import EnvVar, GangFacts, WorkerFacts, variables

MASTER_PORT: Final = 29500  # torch's own default


def shared(gang: GangFacts) -> list[EnvVar]:
    """What every worker has in the same form."""
    rendezvous: list[tuple[str, object]] = [
        ("PET_NNODES", gang.workers),
        ("PET_NPROC_PER_NODE", gang.processes_per_worker),
        ("PET_MASTER_ADDR", gang.coordinator),
        ("PET_MASTER_PORT", MASTER_PORT),
        ("PET_RDZV_ID", gang.rendezvous_id),
        ("MASTER_ADDR", gang.coordinator),
        ("MASTER_PORT", MASTER_PORT),
        ("PYTHONUNBUFFERED", 1),
    ]
    alone: list[tuple[str, object]] = [
        ("WORLD_SIZE", gang.processes),
        ("LOCAL_RANK", 0),
        ("LOCAL_WORLD_SIZE", 1),
    ]
    return variables(rendezvous + alone if gang.processes_per_worker == 1 else rendezvous)


def ranked(gang: GangFacts, worker: WorkerFacts) -> list[EnvVar]:
    """What differs from worker to worker."""
    node_rank = [("PET_NODE_RANK", worker.rank)]
    return variables([*node_rank, ("RANK", worker.rank)] if gang.processes_per_worker == 1 else node_rank)
