"""From the queue to a placement: an attempt begins only when all of its gang has nodes.

A restart keeps its nodes: while they are all well, not avoided and would take the pods as before, the next attempt begins on them with no
new admission. Else the gang asks again and keeps what it holds, for `gangTimeoutSeconds` at most; after that
its nodes are free for others while it waits.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, repeat

from drumline.api.reasons import ConditionType, Reason
from drumline.api.status import Avoidance, PlacementStatus
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.feasibility import standing_obstacle
from drumline.core.gang.plan import Create, Delete
from drumline.core.gang.revision import encode
from drumline.core.gang.types import GangRequest, Placement, Refusal
from drumline.core.training import conditions
from drumline.core.training.attempts import backoff_left, begun, fail, released
from drumline.core.training.backing import backend_of, handed_over, refusal
from drumline.core.training.departing import departing, kept_out
from drumline.core.training.elastic import wanted
from drumline.core.training.elastic_admission import (
    as_elastic,
    at_size,
    at_wish,
    grows,
    in_words,
    passes,
    recorded,
    shrunk,
    still_wanted,
)
from drumline.core.training.fallback import left, moved_on, refused_since, which
from drumline.core.training.observation import Granted
from drumline.core.training.progress_condition import silent
from drumline.core.training.provisioned import holds_quota
from drumline.core.training.provisioning import (
    asks_by_request,
    begins_unpinned,
    for_want_of_api,
    patience,
    until_asking,
)
from drumline.core.training.provisioning_steps import requested
from drumline.core.training.render import placement_hash
from drumline.core.training.rendering import prepared, render_settings, reporting
from drumline.core.training.request import gang_request
from drumline.core.training.spares import (
    SEEK_SECONDS,
    carried_over,
    seeks_spares,
    spare_places,
    spares_in_words,
    tell_promotion,
    with_spares,
)
from drumline.core.training.view import View, owner_of
from drumline.core.training.whereabouts import nodes_of, unnamed

MAX_NAMED = 4  # nodes in a message
NO_CLASS_SECONDS = 10.0  # between looks for a PriorityClass that is not there yet


def admission(view: View) -> View:
    """Begin the next attempt when it may begin; else say why it waits."""
    if view.live:
        return view
    view = _forget_expired(view)
    if view.status.queued_at is None and view.status.placement is None:
        view = view.with_status(queued_at=rfc3339_millis(_joined(view)))
    wait = backoff_left(view.status, view.now)
    if wait > 0:
        return _back_off(view, wait)
    sized, kept = shrunk(view, _kept_placement(view))
    if isinstance(still_wanted(view), Granted):
        return _answered(
            view, kept
        )  # what is reserved for the gang is that, and its old places are not any more
    if kept is not None and seeks_spares(sized, kept):
        view = view.again_in(SEEK_SECONDS)
    elif kept is not None and not grows(view):
        return _begin(sized, kept)
    return _answered(view, kept)


def _joined(view: View) -> float:
    """When the job joins the queue: a new one when it was created, one that comes back now."""
    return view.obs.job.created_at if not view.status.conditions else view.now


def _answered(view: View, kept: Placement | None) -> View:
    """Act on what admission says of this gang; where it says no to one that would grow, its `kept` places do."""
    answer = still_wanted(view)
    if view.obs.priority is None:
        text = f"spec.priorityClassName: there is no PriorityClass {view.spec.priority_class_name!r}"
        answer = Refusal(Reason.NO_PRIORITY_CLASS, text)
    answer = view.obs.queue_refused or refusal(view) or answer
    if isinstance(answer, Granted):
        if not view.obs.backend.foreign:  # those wait in no queue of ours, but in the backend's of that name
            view = replace(view, obs=replace(view.obs, queue=answer.queue))
        return _granted(at_size(view, answer.slices or wanted(view.obs)), answer)
    if answer is not None and kept is not None and not passes(view, answer):
        return _begin(view, kept)
    if answer is not None and answer.reason == Reason.TEMPLATE_REFUSED:
        return fail(view, Reason.TEMPLATE_REFUSED, answer.message, admission.__name__)
    view = refused_since(view, answer)
    if (moved := moved_on(view)) is not None:
        return moved.done(admission.__name__)
    answer = for_want_of_api(view, answer) if answer is not None else None
    return _wait(view, answer, stays=kept is not None and bool(view.spec.spares))


def _granted(view: View, answer: Granted) -> View:
    """Begin, or ask for nodes where quota is all that was granted; `view` is at the size that was granted."""
    wish = asks_by_request(view)
    if wish is not None and answer.placement.unpinned:
        return requested(view, answer, wish, admission.__name__)
    return _begin(view, answer.placement)


def asked_of(view: View) -> GangRequest:
    """What this job asks of admission."""
    return as_elastic(view, request_of(at_wish(view)))


def request_of(view: View) -> GangRequest:
    """What the gang takes at the size that it has."""
    going = departing(view)
    kept = (n for n in view.status.excluded_nodes if unix(n.until) > view.now and n.name not in going)
    excluded = (*kept, *kept_out(view))
    queued_at = unix(view.status.queued_at, unix(view.status.start_time, view.obs.job.created_at))
    asked = gang_request(
        view.obs.job,
        view.spec,
        view.obs.catalog,
        queued_at=queued_at,
        priority=view.obs.priority or 0,
        excluded=excluded,
        preferred_nodes={i: node for i, node in enumerate(nodes_of(view.obs)) if node},
        settings=render_settings(view.obs),
        queue=view.obs.queue,
    )
    if view.obs.backend.foreign:
        return replace(asked, unpinned=True, queue="")
    return replace(asked, unpinned=True) if begins_unpinned(view) else asked


def _forget_expired(view: View) -> View:
    """Forget nodes that need not be avoided any more.

    While the gang still keeps its old places one of them may have been given up since (`exclusions.given_up`): it is
    remembered until then, so that the gang has to ask for that node again.
    """
    keeps = view.status.placement is not None
    kept = tuple(
        n
        for n in view.status.excluded_nodes
        if unix(n.until) > view.now or (keeps and n.avoid is not Avoidance.IF_POSSIBLE)
    )
    return view if kept == view.status.excluded_nodes else view.with_status(excluded_nodes=kept)


def _back_off(view: View, wait: float) -> View:
    if view.status.placement is None:
        text = f"next try at {view.status.next_attempt_at}"
        if conditions.find(view.status, ConditionType.QUOTA_RESERVED) is None:
            view = view.condition(ConditionType.QUOTA_RESERVED, False, Reason.BACKOFF, text)
    return view.again_in(wait)


def _kept_placement(view: View) -> Placement | None:
    """The last attempt's placement, if every node of it may be used again or a spare takes its place."""
    placement = view.obs.placement
    if view.status.placement is None or placement is None or refusal(view) is not None:
        return None
    if view.obs.backend.name != backend_of(
        view.status
    ):  # whom the job, its queue or the operator named since
        return None
    if patience(view) is not None:  # its nodes were not known: it asks for those that it got
        return None
    if len(placement.nodes) != view.roster.size + spare_places(view):
        return None
    avoided = view.obs.unhealthy | departing(view).keys() | {n.name for n in view.status.excluded_nodes}
    return carried_over(view, placement, avoided | _forbidden(view, placement))


def _forbidden(view: View, placement: Placement) -> frozenset[str]:
    """Nodes that came not to take the pod that they had: a taint or another label since."""
    request = request_of(view)
    shapes = [(request.worker, request.workers), *((h.shape, h.count) for h in request.helpers)]
    wanted = chain(
        chain.from_iterable(repeat(shape, count) for shape, count in shapes), repeat(request.worker)
    )
    places = {
        (node, shape) for node, shape in zip(placement.nodes, wanted, strict=False) if node in view.obs.nodes
    }
    return frozenset(node for node, shape in places if standing_obstacle(view.obs.nodes[node], shape))


def _begin(view: View, placement: Placement) -> View:
    """Write the revision, then the intent; pods follow in the same plan, after both.

    No event says so: the condition QuotaReserved keeps the very text.
    """
    job = view.obs.job
    status = begun(view.status, view.now)
    owner = owner_of(job)
    gang = prepared(view, status.attempt)
    digest = placement_hash(placement, gang.render_hash)
    revisions = encode(owner, status.attempt, placement, gang.render_hash)
    written = PlacementStatus(
        revision=revisions[0]["metadata"]["name"], hash=digest, pods=view.roster.size, chunks=len(revisions)
    )
    given = with_spares(view, placement, written)
    refused = view.status.refused_since if placement.unpinned else None
    held = {"placement": given, "queue": view.obs.queue or None, "refused_since": refused}
    status = handed_over(view, status.model_copy(update=held), placement)
    view = tell_promotion(view, placement, status.attempt)
    view = recorded(replace(view, status=status, obs=replace(view.obs, placement=placement)))
    text = f"attempt {status.attempt}: {in_words(view)}{view.roster.size} pods {_where(view, placement)}"
    text += (
        _not_kept_off(view, placement)
        + spares_in_words(view, placement)
        + _for_want_of_others(view, placement)
        + which(view)
    )
    view = view.condition(ConditionType.QUOTA_RESERVED, True, Reason.PLACED, text)
    view = view.condition(ConditionType.ADMITTED, True, Reason.PLACED, text)
    view = view.condition(ConditionType.PODS_READY, False, Reason.PODS_STARTING, text)
    view = _unreported(view)
    view = replace(
        view,
        prepare=tuple(Create("controllerrevisions", m, replace=True) for m in revisions),
        intent=view.status,
    )
    return view.act(*_old_revisions(view, {m["metadata"]["name"] for m in revisions}))


def _where(view: View, placement: Placement) -> str:
    if view.obs.backend.foreign:
        return f"left to {view.obs.backend.name}, which finds their nodes"
    if placement.unpinned:
        return "pinned to no node, so that an autoscaler sees them"
    return f"placed on {len(set(placement.nodes[: view.roster.size]))} nodes"


def _not_kept_off(view: View, placement: Placement) -> str:
    """That not all nodes that are about to go could be named in its pods."""
    more = unnamed(view) if placement.unpinned else 0
    if not more:
        return ""
    return f"; its pods are not kept off {more} of the nodes that are about to go: should one come there, the gang moves"


def _for_want_of_others(view: View, placement: Placement) -> str:
    """Which nodes it uses that it would rather avoid."""
    avoided = [n.name for n in view.status.excluded_nodes if unix(n.until) > view.now]
    used = [name for name in avoided if name in placement.nodes]
    if not used:
        return ""
    more = f" and {len(used) - MAX_NAMED} more" if len(used) > MAX_NAMED else ""
    return f"; it failed on {', '.join(used[:MAX_NAMED])}{more} before, and there is no other place for it"


def _kept_away(view: View) -> str:
    """Which nodes it may not use, though they may be free."""
    going = departing(view)
    nodes = [
        n
        for n in view.status.excluded_nodes
        if n.avoid is Avoidance.ALWAYS and unix(n.until) > view.now and n.name not in going
    ]
    texts = [f"{n.name} ({n.cause}) until {n.until}" for n in nodes[:MAX_NAMED]]
    texts += [f"{d.node} as long as it has the {d.why}" for d in list(going.values())[:MAX_NAMED]]
    return f"; not used: {', '.join(texts)}" if texts else ""


def _unreported(view: View) -> View:
    known = silent(view.spec, reporting(view.obs.settings), view.status.attempt)
    if known is None:
        return view
    return view.condition(ConditionType.PROGRESS_REPORTED, known.value, known.reason, known.message)


def _old_revisions(view: View, keep: set[str]) -> tuple[Delete, ...]:
    return tuple(
        Delete("controllerrevisions", view.obs.job.namespace, name, uid)
        for name, uid in sorted(view.obs.revisions.items())
        if name not in keep
    )


def _wait(view: View, answer: Refusal | None, *, stays: bool) -> View:
    """Ask admission, and say what it says. `stays`: whether the gang asks for nothing but spares."""
    view = _give_up_nodes(view).again_in(_next_expiry(view)).again_in(left(view)).again_in(until_asking(view))
    mute = view.obs.priority is None or view.obs.queue_refused is not None or refusal(view) is not None
    asked = replace(asked_of(view), stays=stays) if not mute else None
    view = replace(view, waiting=asked)
    if view.obs.priority is None:
        view = view.again_in(NO_CLASS_SECONDS)
    if answer is None:
        return _first_look(view).done(admission.__name__)
    return _refused(view, answer).done(admission.__name__)


def _next_expiry(view: View) -> float | None:
    """Seconds until a node that is avoided may be used again; None when none is avoided."""
    waits = [unix(n.until) - view.now for n in view.status.excluded_nodes]
    return min((wait for wait in waits if wait > 0), default=None)


def _refused(view: View, answer: Refusal) -> View:
    """Say why the gang waits; an event says so when the reason is another, not when only numbers are."""
    held, asked = view.status.placement is not None, holds_quota(view.status)
    kind = ConditionType.RESTARTING if held else ConditionType.QUOTA_RESERVED
    known, text = conditions.find(view.status, kind), f"{answer.message}{_kept_away(view)}{which(view)}"
    if asked is not None:
        text = (
            f"ProvisioningRequest {asked.request} is provisioned, and its nodes are not all there yet: {text}"
        )
    if known is None or known.reason != answer.reason:
        view = view.event("Normal", answer.reason, text)
    view = view.condition(kind, held or asked is not None, answer.reason, text)
    return view if held else view.clear(ConditionType.ADMITTED, answer.reason, text)


def _first_look(view: View) -> View:
    """The answer is a moment away; of a new job that there is none yet is not worth a write."""
    if not view.obs.status.conditions:
        return replace(view, silent=True)
    known, free = conditions.find(view.status, ConditionType.QUOTA_RESERVED), view.status.placement is None
    if free and holds_quota(view.status) is None and (known is None or known.status == "True"):
        text = "waiting for the next admission round"
        return view.condition(ConditionType.QUOTA_RESERVED, False, Reason.QUEUED, text)
    return view


def _give_up_nodes(view: View) -> View:
    """A restart that finds no replacement in time stops holding the nodes it still has."""
    if view.status.placement is None:
        return view
    ended = unix(view.status.attempts[-1].finished_at, view.now) if view.status.attempts else view.now
    since = max(ended, unix(view.status.next_attempt_at))
    left = since + view.spec.scheduling.gang_timeout_seconds - view.now
    if left > 0:
        return view.again_in(left)
    view = replace(view, status=released(view.status, view.now))
    return view.with_status(queued_at=rfc3339_millis(view.now))
