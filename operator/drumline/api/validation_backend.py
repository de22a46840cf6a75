"""Whether the backend that a job names can do what the job asks for. What the cluster has is not looked at here."""

from __future__ import annotations

from collections.abc import Iterator

from drumline.api.backend import Backend
from drumline.api.errors import FieldError
from drumline.api.provisioning import ProvisioningMode
from drumline.api.training import TrainingJobSpec


def backend_errors(spec: TrainingJobSpec) -> Iterator[FieldError]:
    """Errors of `spec.spares`, `spec.elastic` and others beside `spec.scheduling.backend`."""
    backend = spec.scheduling.backend
    yield from own_queue_errors(backend, spec.scheduling.backend_queue)
    if backend is None or backend is Backend.BUILTIN:
        return
    for field, why in unsupported(spec):
        allowed = f"allowed: only with spec.scheduling.backend builtin, as {why}"
        yield FieldError(f"spec.{field}", f"given with spec.scheduling.backend {backend}; {allowed}")


def own_queue_errors(backend: Backend | None, queue: str | None) -> Iterator[FieldError]:
    """Errors of `spec.scheduling.backendQueue` beside the backend that is named, of any kind of gang."""
    if queue is not None and backend is Backend.BUILTIN:
        text = (
            f"given {queue!r} with backend builtin; allowed: absent, as builtin has no queues of its own, and spec.queue "
            "names an AcceleratorQueue"
        )
        yield FieldError("spec.scheduling.backendQueue", text)


def unsupported(spec: TrainingJobSpec) -> Iterator[tuple[str, str]]:
    """Fields of a spec that only this operator's own admission can do, and why."""
    if spec.spares:
        yield "spares", "no other backend holds places beside a gang"
    if spec.elastic is not None:
        yield "elastic", "no other backend says for how many slices there is room"
    if spec.accelerator.candidates:
        yield "accelerator.candidates", "no other backend says that there is no room"
    wish = spec.scheduling.provisioning
    if wish is not None and wish.mode is not ProvisioningMode.NEVER:
        yield "scheduling.provisioning", "another backend shows its pods to autoscalers itself"
