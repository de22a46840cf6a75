"""What the environment of a process may depend on."""

from __future__ import annotations

from dataclasses import dataclass

from drumline.core.gang.names import fqdn, hostname
from drumline.core.gang.variables import EnvVar, variables

__all__ = ["EnvVar", "GangFacts", "WorkerFacts", "variables"]


@dataclass(frozen=True, slots=True)
class GangFacts:
    """What every worker of an attempt has in common."""

    job: str
    job_uid: str
    namespace: str
    attempt: int
    slices: int
    workers_per_slice: int
    processes_per_worker: int
    cluster_domain: str

    @property
    def workers(self) -> int:
        """Worker pods in all."""
        return self.slices * self.workers_per_slice

    @property
    def processes(self) -> int:
        """Processes in all."""
        return self.workers * self.processes_per_worker

    @property
    def coordinator(self) -> str:
        """Host of rank 0, as a full name: the one that the kubelet writes into rank 0's own hosts file.

        So rank 0 knows itself before anything is published, and its peers need one query, not one for
        each entry of their search list.
        """
        return fqdn(hostname(self.job, 0, 0), self.job, self.namespace, self.cluster_domain)

    @property
    def rendezvous_id(self) -> str:
        """Job, attempt, epoch: no process of one rendezvous ever meets one of another.

        A pod is born in epoch 0; later ones come from the launcher.
        """
        return f"{self.job_uid}-{self.attempt}-0"

    def slice_hosts(self, slice_index: int) -> list[str]:
        """Short names ``<host>.<service>`` of one slice's workers, in order."""
        names = (hostname(self.job, slice_index, worker) for worker in range(self.workers_per_slice))
        return [f"{name}.{self.job}" for name in names]


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """Which worker it is. `rank` counts worker pods over all slices."""

    slice: int
    worker: int
    rank: int
