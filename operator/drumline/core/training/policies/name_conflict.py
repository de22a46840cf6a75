"""A Service or pod of a name we need that is not ours is never adopted."""

from __future__ import annotations

from drumline.api.reasons import Reason
from drumline.core.training.attempts import fail
from drumline.core.training.view import View


def name_conflict(view: View) -> View:
    """Fail the job with `NameConflict`, naming what stands in the way."""
    if not view.obs.foreign:
        return view
    found = ", ".join(sorted(view.obs.foreign))
    message = (
        f"{found} already exists in namespace {view.obs.job.namespace} and does not belong to this job; "
        f"delete it or give the job another name"
    )
    return fail(view, Reason.NAME_CONFLICT, message, name_conflict.__name__)
