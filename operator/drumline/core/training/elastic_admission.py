"""What admission means to an elastic job: what it asks for, and what it begins with.

It asks for all that is wanted and says how few will do. A job from the queue waits for all for `waitSeconds` first;
a job that holds nodes takes what it gets, since each second of waiting costs it all of them. Its nodes stay its own:
a gang that grows keeps every place that it has, one that shrinks the first ones.

Nodes that a request brought are seen one by one: until shortly before they are booked no more, fewer slices than
it asked for won't do.
"""

from __future__ import annotations

from dataclasses import replace

from drumline.api.meta import LABEL_JOB, LABEL_ROLE, ROLE_WORKER
from drumline.api.reasons import Reason
from drumline.core.gang.types import GangRequest, Granted, Placement, Refusal
from drumline.core.training.elastic import carried, cut, sized, wanted
from drumline.core.training.provisioned import until_fewer
from drumline.core.training.view import View
from drumline.core.training.whereabouts import nodes_of


def at_size(view: View, slices: int) -> View:
    """The view of the same gang with so many slices."""
    return replace(view, obs=sized(view.obs, slices))


def at_wish(view: View) -> View:
    """The view of the gang as large as it is wanted."""
    return at_size(view, wanted(view.obs))


def as_elastic(view: View, request: GangRequest) -> GangRequest:
    """The request of a gang as large as it is wanted, with how few of its slices will do; `view` is its view."""
    elastic = view.spec.elastic
    if elastic is None:
        return request
    nodes = nodes_of(view.obs)
    waits = 0.0 if view.status.placement is not None else request.queued_at + elastic.wait_seconds
    return replace(
        request,
        min_slices=min(max(elastic.min_slices, _coming(view)), request.slices),
        patient_until=waits,
        preferred_nodes=carried(nodes, view.roster, at_wish(view).roster),
    )


def _coming(view: View) -> int:
    """How many slices have nodes on their way."""
    asked = view.status.provisioning
    return asked.slices if asked is not None and until_fewer(view.status, view.now) > 0 else 0


def still_wanted(view: View) -> Granted | Refusal | None:
    """What admission said, unless it was said to a larger gang than is wanted by now."""
    answer = view.obs.admission
    return None if isinstance(answer, Granted) and answer.slices > wanted(view.obs) else answer


def passes(view: View, answer: Refusal) -> bool:
    """Whether a no may soon be a yes: a gang's own pods count against the quota until they are gone."""
    going = any(not pod.terminal for pod in view.obs.pods.values())
    return answer.reason == Reason.NAMESPACE_QUOTA and going


def grows(view: View) -> bool:
    """Whether a restart should ask for more than the nodes it has: there was room for more a moment ago."""
    return view.spec.elastic is not None and view.obs.room > view.shape.slices


def shrunk(view: View, kept: Placement | None) -> tuple[View, Placement | None]:
    """The view and the places of a gang that keeps its nodes, or the first of them where fewer are wanted."""
    if kept is None or wanted(view.obs) >= view.shape.slices:
        return view, kept
    return at_wish(view), cut(kept, view.roster, wanted(view.obs))


def recorded(view: View) -> View:
    """The view with the size of the attempt that begins on record."""
    slices = view.shape.slices
    selector = f"{LABEL_JOB}={view.obs.job.name},{LABEL_ROLE}={ROLE_WORKER}"
    view = view.with_status(slices=slices, selector=selector, resize=None)
    if view.spec.elastic is None:
        return view
    *before, last = view.status.attempts
    last = last.model_copy(update={"slices": slices, "wanted_slices": wanted(view.obs)})
    return view.with_status(attempts=(*before, last))


def in_words(view: View) -> str:
    """With how many of its slices a gang begins; nothing of one that has them all."""
    slices, all_of_them = view.shape.slices, wanted(view.obs)
    return "" if slices == all_of_them else f"{slices} of {all_of_them} slices, "
