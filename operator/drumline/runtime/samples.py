"""The pods of a job that stand for all others before admission: one of each kind, as it would be created."""

from __future__ import annotations

from collections.abc import Sequence

from drumline.core.gang.backing import Backed
from drumline.core.gang.plan import Create, Manifest
from drumline.core.gang.types import GangRequest
from drumline.core.training.backing import backed
from drumline.core.training.rendering import prepared, prepared_spares
from drumline.core.training.view import View
from drumline.runtime.preflight import Sample


def samples_of(view: View, request: GangRequest) -> list[Sample]:
    """A pod of each role without a node, workers first; a spare's stands beside the worker's, whose place it holds."""
    attempt = view.status.attempt + 1
    gang, spares = prepared(view, attempt), prepared_spares(view, attempt)
    behind = backed(view, gang)
    found = [_sample(request.workers, gang.worker(0, None), 0, behind)]
    if spares is not None and request.spares:
        found.append(Sample(request.spares * request.spare_size, spares.pod(0, None), optional=True))
    for number, helper in enumerate(request.helpers):
        first = view.roster.offsets[helper.role]
        found.append(_sample(helper.count, gang.helper(number, 0, None), first, behind))
    return found


def objects_of(view: View) -> Sequence[Create]:
    """What the job's backend wants to have before the next attempt's pods."""
    behind = backed(view, prepared(view, view.status.attempt + 1))
    return behind.objects if behind is not None else ()


def _sample(count: int, pod: Manifest, index: int, behind: Backed | None) -> Sample:
    if behind is None:
        return Sample(count, pod)
    return Sample(count, behind.pod(pod, index), kept=behind.adapter.kept)
