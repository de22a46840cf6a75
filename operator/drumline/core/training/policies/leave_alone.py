"""A job that is being deleted, or that somebody else manages, is none of our business.

What belongs to a deleted job goes by its owner references; there is no finalizer to run.
"""

from __future__ import annotations

from drumline.api.meta import MANAGED_BY
from drumline.core.training.view import View


def leave_alone(view: View) -> View:
    """End the decision with nothing done, not even a status."""
    foreign = view.obs.spec is not None and view.obs.spec.managed_by != MANAGED_BY
    if view.obs.job.deleting or foreign:
        return view.done(leave_alone.__name__)
    return view
