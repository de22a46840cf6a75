"""A group that was taken out of service goes once it has nothing to do any more.

The leader's gate is closed, so no new request arrives. Then the group is waited for: `settleSeconds`, until every
proxy has heard of it, and until two looks at its engine, one after the other, find no request in flight, at most
`timeoutSeconds` in all. A KV cache still to be handed to a decode group counts as in flight as far as the engine says.
Of an engine that has no metrics the settle time is waited for; its pods' own termination grace does the rest. One
that can't be asked, as after a restart of the operator that has no way to it, may have any number of requests in flight.
A gate that is found open later than it should be, since the operator was away, is closed and all this begins anew; so
it does when it seems to have begun in the future, by a clock that has been put back since.
A group that others ask, one of prefill for instance, keeps its gate open until the groups of the entry role that
drain and are of its revision are gone: a request that one of them took may still have to go through it.
A group that never was in service goes at once. What follows the end of a drain is the policy `retire`'s.
"""

from __future__ import annotations

from dataclasses import replace

from drumline.api.inference_status import GroupStatus
from drumline.api.reasons import Reason
from drumline.core.gang.clock import is_ahead, rfc3339_millis, unix
from drumline.core.gang.types import Pod
from drumline.core.inference import groups
from drumline.core.inference.children import entry_role
from drumline.core.inference.render import metrics_endpoint
from drumline.core.inference.signals import EngineSample
from drumline.core.inference.view import View, is_going

LOOK_SECONDS = 1.0  # between two looks while requests are in flight
SILENT_SECONDS = 10.0  # of answers without metrics and none with, after which an engine is taken to have none
ECHO_SECONDS = 3.0  # until the mirror shows a gate that was closed
_SAME_LOOK = 0.01  # times of status have milliseconds


def drain(view: View) -> View:
    """Take every group that goes one step further; gates are closed all at once."""
    before = view.actions
    for role, group in groups.every(view):
        if is_going(group) and not groups.finished(group):
            view = _drain(view, role, group)
    closing = [action for stage in view.actions[len(before) :] for action in stage]
    return replace(view, actions=before).act(*closing)


def _drain(view: View, role: str, group: GroupStatus) -> View:
    leader = view.pods(role, group).get(0)
    if leader is None or leader.terminal or leader.deleting or not _served(group, leader):
        return groups.finish(view, role, group)
    if is_ahead(group.draining_since, view.now):
        view, group = _anew(view, role, group)
    drained = view.now - unix(group.draining_since, view.now)
    if leader.in_service and drained < view.spec.drain.timeout_seconds and _is_asked(view, role, group):
        return view.again_in(LOOK_SECONDS)
    if leader.in_service is not False:
        why = f"the group is drained: {group.drain_reason}"
        view = view.act(groups.gate(leader, False, view.now, why))
        if leader.in_service and drained > ECHO_SECONDS:
            view, group = _anew(view, role, group)
            drained = 0.0
    rules = view.spec.drain
    if drained < rules.settle_seconds:
        return view.again_in(rules.settle_seconds - drained)
    if _says_nothing(view, role, group):
        return groups.finish(view, role, group)
    if drained >= rules.timeout_seconds:
        return _out_of_time(view, role, group)
    view = view.again_in(min(LOOK_SECONDS, rules.timeout_seconds - drained))
    return _look(view, role, group, view.obs.signals.of(role, group.id).latest)


def _anew(view: View, role: str, group: GroupStatus) -> tuple[View, GroupStatus]:
    """It was taken out of service now."""
    group = group.model_copy(update={"draining_since": rfc3339_millis(view.now), "quiet_since": None})
    return view.put(role, group), group


def _is_asked(view: View, role: str, group: GroupStatus) -> bool:
    """Whether groups of the entry role that go, but are still there, may turn to this one."""
    entry = entry_role(view.spec_of(group) or view.spec)
    return role != entry and any(
        is_going(asking) and asking.revision == group.revision for asking in view.groups(entry)
    )


def _served(group: GroupStatus, leader: Pod) -> bool:
    """Whether requests may have reached it: the gate may be open before the status says so."""
    return group.ready_at is not None or leader.in_service is True


def _says_nothing(view: View, role: str, group: GroupStatus) -> bool:
    """Whether the engine is known not to tell of its requests. Not yet asked, or out of reach, is not silent."""
    known = view.obs.signals.of(role, group.id)
    if known.latest is not None:
        return known.latest.in_flight is None
    if known.mute_since is not None:
        return view.now - known.mute_since >= SILENT_SECONDS
    spec = view.spec_of(group)
    if spec is None or view.role_spec_of(role, group) is None:
        return True
    return metrics_endpoint(spec, role) is None


def _look(view: View, role: str, group: GroupStatus, sample: EngineSample | None) -> View:
    settled = unix(group.draining_since) + view.spec.drain.settle_seconds
    if sample is None or sample.at < settled:
        return view
    if sample.in_flight:
        return view.put(role, group.model_copy(update={"quiet_since": None}))
    if group.quiet_since is None:
        return view.put(role, group.model_copy(update={"quiet_since": rfc3339_millis(sample.at)}))
    if sample.at - unix(group.quiet_since) < _SAME_LOOK:
        return view
    return groups.finish(view, role, group)


def _out_of_time(view: View, role: str, group: GroupStatus) -> View:
    latest = view.obs.signals.of(role, group.id).latest
    count = latest.in_flight if latest is not None else None
    known = "an unknown number of" if count is None else f"{count:.0f}"
    text = (
        f"group {group.id} of role {role} goes with {known} requests in flight: drain.timeoutSeconds are over"
    )
    return groups.finish(view.event("Warning", Reason.DRAIN_TIMEOUT, text), role, group)
