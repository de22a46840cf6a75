"""The pods of a job that stand for all others before admission: one of each kind, as it would be created."""

from __future__ import annotations

from drumline.core.gang.types import GangRequest
from drumline.core.training.rendering import prepared, prepared_spares
from drumline.core.training.view import View
from drumline.runtime.preflight import Sample


def samples_of(view: View, request: GangRequest) -> list[Sample]:
    """A pod of each role without a node, workers first; a spare's stands beside the worker's, whose place it holds."""
    attempt = view.status.attempt + 1
    gang, spares = prepared(view, attempt), prepared_spares(view, attempt)
    found = [Sample(request.workers, gang.worker(0, None))]
    if spares is not None and request.spares:
        found.append(Sample(request.spares * request.spare_size, spares.pod(0, None), optional=True))
    return [*found, *(Sample(h.count, gang.helper(i, 0, None)) for i, h in enumerate(request.helpers))]
