"""A service that is being deleted, or that somebody else manages, is none of our business.

Who manages a service is known even if the rest of its spec does not hold. What belongs to a deleted service goes
by its owner references; there is no finalizer to run.
"""

from __future__ import annotations

from drumline.api.meta import MANAGED_BY
from drumline.core.inference.view import View


def leave_alone(view: View) -> View:
    """End the decision with nothing done, not even a status."""
    if view.obs.service.deleting or view.obs.service.managed_by != MANAGED_BY:
        return view.done(leave_alone.__name__)
    return view
