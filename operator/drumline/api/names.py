"""How long the names of a job's pods can get.

Pods are ``<job>-<attempt>-<slice>-<worker>``, ``<job>-<attempt>-<helper>-<index>`` and
``<job>-<attempt>-spare-<index>``; host names leave the
attempt out, so the pod's name is always the longer. Both are DNS labels.
"""

from __future__ import annotations

from typing import Final

from drumline.api.meta import ROLE_SPARE
from drumline.api.shape import spare_size
from drumline.api.training import TrainingJobSpec

MAX_LABEL: Final = 63
LAST_ATTEMPT: Final = 99_999  # restarts stop far below


def longest_names(job: str, spec: TrainingJobSpec, workers_per_slice: int) -> list[str]:
    """The longest pod name of each role, the longest of all first."""
    prefix = f"{job}-{LAST_ATTEMPT}"
    workers = f"{prefix}-{spec.slices - 1}-{workers_per_slice - 1}"
    helpers = (f"{prefix}-{helper.name}-{helper.replicas - 1}" for helper in spec.helpers)
    spares = [f"{prefix}-{ROLE_SPARE}-{spec.spares * spare_size(spec, workers_per_slice) - 1}"]
    return sorted((workers, *helpers, *(spares if spec.spares else ())), key=len, reverse=True)
