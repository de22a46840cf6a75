"""Names that were written count at once, before the watch shows them."""

from __future__ import annotations

from drumline.core.gang.plan import Plan
from drumline.runtime.job_memory import JobMemory
from drumline.runtime.outcomes import applied
from drumline.runtime.records import read_slice


def note_published(memory: JobMemory, plan: Plan, what: str, now: float) -> None:
    """Remember what the plan wrote as `what` (``services/name``) if it is of discovery; `now` is Unix seconds."""
    resource, _, name = what.partition("/")
    if resource == "services":
        memory.service = True
    if resource in ("endpointslices", "endpoints"):
        memory.last_published_at = now
    if resource == "endpointslices":
        memory.published[name] = read_slice(applied(plan, resource, name)).published
