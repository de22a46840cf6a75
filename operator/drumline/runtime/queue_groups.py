"""Queues and the groups of InferenceServices: which one they wait in, and what each counts for there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from drumline.api.inference_status import GroupStatus
from drumline.api.meta import LABEL_QUEUE
from drumline.core.gang.clock import unix
from drumline.core.gang.queue_quota import chips_of
from drumline.core.gang.queues import RunningGang
from drumline.core.gang.types import Refusal
from drumline.core.inference.observation import Observation
from drumline.core.inference.view import View
from drumline.runtime.queue_book import QueueBook
from drumline.runtime.service_gangs import find, reservation_of

Groups = Mapping[str, GroupStatus]  # by gang uid


def told(book: QueueBook, obs: Observation, groups: Groups) -> Observation:
    """The observation with its queue, and the groups that have to leave; the very same where there are no queues."""
    if obs.spec is None or not book.entries:
        return obs
    evicted = {gang: told for gang in groups if (told := book.evictions.of(gang)) is not None}
    chosen = book.choose(obs.spec.queue, obs.service.labels.get(LABEL_QUEUE), obs.service.namespace)
    if isinstance(chosen, Refusal):
        return replace(obs, queue_refused=chosen, evicted=evicted)
    return replace(obs, queue=chosen, evicted=evicted)


def hold(
    book: QueueBook, view: View, groups: Groups, counted: set[str], granted: Callable[[str], bool]
) -> None:
    """Have each group count for what the status says that it holds. `counted`: those that did, kept up here."""
    inside = {gang for gang, group in groups.items() if group.queue is not None}
    for gang in counted | inside:
        group = groups.get(gang)
        if granted(gang):
            continue
        if group is not None and group.queue and (group.nodes or not book.is_gone(gang)):
            counted.add(gang)
            _count(book, view, gang, group)
        else:
            counted.discard(gang)
            book.hold(gang, None)


def _count(book: QueueBook, view: View, gang: str, group: GroupStatus) -> None:
    """Its chips are looked up once an attempt: that renders the group's pods."""
    leaving = not group.nodes or group.draining_since is not None
    known, admitted_at = book.gang(gang), unix(group.started_at)
    if known is None or admitted_at not in (0.0, known.admitted_at):
        known = _looked_up(view, gang, group.queue or "")
    if known is not None and (counts := replace(known, leaving=leaving)) != book.gang(gang):
        book.hold(gang, counts)


def _looked_up(view: View, gang: str, queue: str) -> RunningGang | None:
    request = reservation_of(view, gang)
    if request is None:
        return None
    admitted_at = unix(find(view, gang)[1].started_at)
    return RunningGang(gang, queue, request.accelerator, chips_of(request), request.priority, admitted_at)
