"""The events that say why pods do not start, mirrored: a watch for each reason, none for the flood of the others.

Nothing waits for them: without the right to read events, or before they have come, a pod that does not start merely
shows less of why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from drumline.core.gang.hindrances import HINDRANCES, Hindrance, hindered, project_event
from drumline.core.gang.types import Pod
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.reflector import UNMARKED, Reflector
from drumline.runtime.store import Store


class PodEvents:
    """`changed(namespace, pod)` is told of news about a pod, ours or not."""

    def __init__(self, client: Client, namespace: str, changed: Callable[[str, str], None]) -> None:
        self._changed = changed
        self.reflectors = tuple(self._mirror(client, namespace, reason) for reason in HINDRANCES)

    def seen_on(self, pod: Pod) -> Pod:
        """The pod, with what keeps it from starting."""
        if not pod.unprepared:
            return pod
        found = [h for r in self.reflectors for h in r.store.by("pod", pod.uid).values()]
        return hindered(pod, [h for h in found if h.namespace == pod.namespace])

    def _mirror(self, client: Client, namespace: str, reason: str) -> Reflector[Hindrance]:
        return Reflector(
            client,
            resource_path("events", namespace),
            project_event,
            self._on_event,
            store=Store[Hindrance]({"pod": lambda event: event.uid or None}),
            field_selector=f"involvedObject.kind=Pod,reason={reason}",
            inactivity=UNMARKED,  # the API server keeps no cache of events, and so has no bookmarks for them
        )

    def _on_event(self, old: Hindrance | None, new: Hindrance | None) -> None:
        """One that is merely seen again is no news."""
        if new is not None and (old is None or replace(old, at=new.at) != new):
            self._changed(new.namespace, new.pod)
