"""What a service goes by while its spec does not hold: the last revision that did, with the numbers of now.

A spec may cease to hold by an edit that slipped past the API server's checks, and by a catalogue or an operator that
changed. What serves then goes on by the revision that the status calls the update: groups that fail restart, nodes
that are emptied are left, groups that go are drained, names are published. Nothing else is changed: every role keeps
the number of groups that it should have had last, no rollout moves, and Services, budgets and routes stay as they are.

Of the settings that are no part of a revision (drain, budget of restarts) those of the time when it was first written
count.
"""

from __future__ import annotations

from collections.abc import Mapping

from drumline.api.inference import InferenceServiceSpec
from drumline.api.inference_status import InferenceServiceStatus
from drumline.core.inference.observation import Revision


def last_valid(
    status: InferenceServiceStatus, revisions: Mapping[str, Revision]
) -> InferenceServiceSpec | None:
    """The spec to go by; None where no revision of the service is to be had."""
    found = revisions.get(status.update_revision or "")
    if found is None:
        return None
    numbers = {role.name: role.desired for role in status.roles}
    roles = tuple(
        role.model_copy(update={"replicas": numbers.get(role.name, 0), "autoscaling": None})
        for role in found.spec.roles
    )
    rollout = found.spec.rollout.model_copy(update={"paused": True})
    return found.spec.model_copy(update={"roles": roles, "rollout": rollout, "suspend": False})
