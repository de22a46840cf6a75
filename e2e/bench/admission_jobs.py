"""The jobs and queues of `admission_churn`: sizes, mix and quotas of Kueue's large-scale test of its scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from e2e.bench.client import RawClient
from e2e.bench.kubelet import RUN_MS

QUEUES: Final = "/apis/drumline.dev/v1alpha1/acceleratorqueues"
CLASSES: Final = "/apis/scheduling.k8s.io/v1/priorityclasses"
KIND: Final = "nvidia-h100-80gb"
COHORT: Final = 100  # queues
NOMINAL, BORROWED = 20, 100


@dataclass(frozen=True, slots=True)
class Size:
    """A class of jobs: how many of a queue's 50, what each asks for, and how long it runs."""

    name: str
    count: int
    workers: int
    chips: int
    run_ms: int
    priority: int


SIZES: Final = (
    Size("small", 35, 1, 1, 150, 50),
    Size("medium", 11, 1, 5, 350, 100),
    Size("large", 4, 4, 5, 700, 200),
)
# a queue's 50 jobs in the order in which they are created: classes spread evenly
_PLACES = [((i + 0.5) / s.count, s.run_ms, s) for s in SIZES for i in range(s.count)]
ORDER: Final = tuple(size for _, _, size in sorted(_PLACES, key=lambda place: place[:2]))


def job_of(number: int, queues: int) -> tuple[str, dict[str, Any]]:
    """The class and the manifest of a job."""
    queue, size = number % queues, ORDER[number // queues % len(ORDER)]
    return size.name, {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": f"job-{number}", "namespace": f"q-{queue}"},
        "spec": {
            "framework": "torch",
            "accelerator": {"type": KIND, "chipsPerWorker": size.chips},
            "workersPerSlice": size.workers,
            "queue": f"q-{queue}",
            "priorityClassName": size.name,
            "template": {
                "metadata": {"annotations": {RUN_MS: str(size.run_ms)}},
                "spec": {"containers": [{"name": "train", "image": "pause:3.10"}]},
            },
        },
    }


def queue_of(number: int) -> dict[str, Any]:
    """A queue."""
    quota = {"accelerator": KIND, "nominalQuota": NOMINAL, "borrowingLimit": BORROWED}
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "AcceleratorQueue",
        "metadata": {"name": f"q-{number}"},
        "spec": {
            "cohort": f"c-{number // COHORT}",
            "quotas": [quota],
            "namespaceSelector": {},
            "preemption": {"withinQueue": "LowerPriority", "reclaimWithinCohort": "Any"},
        },
    }


async def prepare(client: RawClient, queues: int) -> None:
    """Priorities, namespaces with their service accounts, and queues."""
    kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "preemptionPolicy": "Never"}
    await client.each(
        ("POST", CLASSES, kind | {"metadata": {"name": s.name}, "value": s.priority}) for s in SIZES
    )
    names = [f"q-{i}" for i in range(queues)]
    await client.each(("POST", "/api/v1/namespaces", {"metadata": {"name": n}}) for n in names)
    account = {"metadata": {"name": "default"}}
    await client.each(("POST", f"/api/v1/namespaces/{n}/serviceaccounts", account) for n in names)
    await client.each(("POST", QUEUES, queue_of(i)) for i in range(queues))
