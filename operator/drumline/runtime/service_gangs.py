"""A service's groups as the gangs that admission and the capacity know."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from drumline.api.inference_status import GroupStatus, InferenceServiceStatus
from drumline.core.gang.backing import Backed
from drumline.core.gang.plan import Create, Manifest, Plan
from drumline.core.gang.types import GangRequest
from drumline.core.inference import backing, names
from drumline.core.inference.groups import every, live
from drumline.core.inference.policies.admission import request_of
from drumline.core.inference.view import View
from drumline.runtime.preflight import Sample

logger = logging.getLogger(__name__)


def status_after(plan: Plan) -> InferenceServiceStatus | None:
    """The status that a plan writes; None when it writes none."""
    written = plan.status if plan.status is not None else plan.intent
    return InferenceServiceStatus.model_validate(written) if written is not None else None


def placed_by(uid: str, status: InferenceServiceStatus | None) -> dict[str, tuple[str, ...]]:
    """Gang → nodes of the groups that are under way by a status that a plan writes."""
    if status is None:
        return {}
    return {
        names.gang_uid(uid, role.name, group.id): group.nodes
        for role in status.roles
        for group in role.groups
        if live(group)
    }


def find(view: View, gang: str) -> tuple[str, GroupStatus]:
    """Role and group of a gang's uid. KeyError: the service has no such group."""
    for role, group in every(view):
        if view.uid_of(role, group.id) == gang:
            return role, group
    raise KeyError(gang)


def reservation_of(view: View, gang: str) -> GangRequest | None:
    """What a group holds; None when the revision that says so is not to be had."""
    role, group = find(view, gang)
    if view.obs.spec is None and group.revision == view.status.update_revision:
        return None
    try:
        return request_of(view, role, group)
    except (KeyError, IndexError, ValueError) as error:
        logger.warning(
            "what group %s/%s of %s holds is not known: %s", role, group.id, view.obs.service.name, error
        )
        return None


def samples_of(view: View, request: GangRequest) -> Sequence[Sample]:
    """The leader's pod and a worker's, as they would be created, without a node. KeyError: no such group."""
    role, group = find(view, request.uid)
    if view.spec_of(group) is None:
        raise KeyError(group.revision)
    group = backing.next_one(group)
    rendered = backing.prepared(view, role, group)
    behind = backing.backed(view, role, group, rendered) if request.unpinned else None
    leader = _sample(1, rendered.pod(0, None), 0, behind)
    if rendered.size == 1:
        return [leader]
    return [leader, _sample(rendered.size - 1, rendered.pod(1, None), 1, behind)]


def objects_of(view: View, request: GangRequest) -> Sequence[Create]:
    """What the group's backend wants to have before the next attempt's pods. KeyError: no such group."""
    role, group = find(view, request.uid)
    if not request.unpinned or view.spec_of(group) is None:
        return ()
    behind = backing.backed(view, role, backing.next_one(group))
    return behind.objects if behind is not None else ()


def _sample(count: int, pod: Manifest, worker: int, behind: Backed | None) -> Sample:
    if behind is None:
        return Sample(count, pod)
    return Sample(count, behind.pod(pod, worker), kept=behind.adapter.kept)
