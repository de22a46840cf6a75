"""A model of the API server: objects with versions, preconditions, graceful deletion, watches in order.

It answers as `tests/chaos/recorded` says that a real one does, for the requests that the operator makes; it has
no admission and no validation. Documents are never changed in place, so they may be handed out. Every change
goes to `listeners`, in the order of versions: these are the machines of the cluster, and the judge.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from drumline.core.gang.clock import rfc3339
from e2e.chaos.model import answers
from e2e.chaos.model.patch import json_patched, merged

Document = dict[str, Any]
Key = tuple[str, str]
Change = Callable[[str, Document | None, Document | None], None]  # resource, before, after
GROUPS = {
    "trainingjobs": "drumline.dev",
    "inferenceservices": "drumline.dev",
    "inferenceroles": "drumline.dev",
    "acceleratorqueues": "drumline.dev",
    "poddisruptionbudgets": "policy",
    "controllerrevisions": "apps",
    "endpointslices": "discovery.k8s.io",
    "leases": "coordination.k8s.io",
    "priorityclasses": "scheduling.k8s.io",
}
OWN = ("trainingjobs", "inferenceservices", "inferenceroles", "acceleratorqueues")
SUBRESOURCE = frozenset({*OWN, "pods", "nodes"})  # whose status is written apart
DEFAULT_GRACE = 30


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a watch."""

    version: int
    kind: str
    document: Document


@dataclass
class Server:
    """The objects of a cluster. `clock` gives Unix seconds, by which objects are stamped."""

    clock: Callable[[], float]
    version: int = 1
    objects: dict[str, dict[Key, Document]] = field(default_factory=dict)
    log: dict[str, list[Event]] = field(default_factory=dict)
    kept_from: int = 0  # watches from older versions are refused
    listeners: list[Change] = field(default_factory=list)
    made: int = 0
    waiting: dict[str, list[asyncio.Future[None]]] = field(default_factory=dict)

    async def changed(self, resource: str, version: int) -> None:
        """Return when something of that resource is newer than that version, or watches are to end."""
        log = self.log.get(resource)
        if log and log[-1].version > version:
            return
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(resource, []).append(news)
        await news

    def wake(self, *resources: str) -> None:
        """Have the watches of these resources, or of all, look again."""
        for resource in resources or tuple(self.waiting):
            for news in self.waiting.pop(resource, ()):
                if not news.done():
                    news.set_result(None)

    def all(self, resource: str) -> Iterator[Document]:
        """Every object of a resource."""
        return iter(list(self.objects.get(resource, {}).values()))

    def find(self, resource: str, key: Key) -> Document | None:
        """An object, or None."""
        return self.objects.get(resource, {}).get(key)

    def get(self, resource: str, key: Key) -> Document:
        """An object; raises Refused."""
        found = self.find(resource, key)
        if found is None:
            raise answers.not_found(resource, GROUPS.get(resource, ""), key[1])
        return found

    def create(self, resource: str, body: Mapping[str, Any], *, dry: bool = False) -> Document:
        """POST."""
        metadata = dict(body["metadata"])
        self.made += 1
        if "name" not in metadata:
            metadata["name"] = f"{metadata.pop('generateName')}{self.made:05x}"[:63]
        key = (metadata.get("namespace", ""), metadata["name"])
        if self.find(resource, key) is not None:
            raise answers.already_exists(resource, GROUPS.get(resource, ""), key[1])
        metadata |= {"uid": f"uid-{self.made}", "creationTimestamp": rfc3339(self.clock())}
        metadata |= {"generation": 1} if resource in SUBRESOURCE else {}
        document = {**body, "metadata": metadata}
        if resource in SUBRESOURCE and resource != "nodes":
            document["status"] = {"phase": "Pending"} if resource == "pods" else {}
        return document if dry else self._put(resource, key, None, document)

    def patch(
        self, resource: str, key: Key, change: Callable[[Document], Document], status: bool
    ) -> Document:
        """PATCH or PUT: `change` makes the new document of the old one. Raises Refused."""
        before = self.get(resource, key)
        changed = change(before)
        uid = changed["metadata"].get("uid", before["metadata"]["uid"])
        if uid != before["metadata"]["uid"]:
            raise answers.change_of_other(resource, key[1], uid)
        given = changed["metadata"].get("resourceVersion") or before["metadata"]["resourceVersion"]
        if given != before["metadata"]["resourceVersion"]:
            raise answers.modified(resource, GROUPS.get(resource, ""), key[1])
        return self._update(resource, key, before, changed, status)

    def json_patch(self, resource: str, key: Key, operations: list[Document], status: bool) -> Document:
        """RFC 6902."""
        return self.patch(resource, key, lambda d: json_patched(d, operations), status)

    def apply(self, resource: str, key: Key, body: Mapping[str, Any]) -> Document:
        """Server-side apply by the only manager there is: what it names is so, lists as a whole."""
        uid, group = body["metadata"].get("uid", ""), GROUPS.get(resource, "")
        before = self.find(resource, key)
        if before is None and uid:
            raise answers.apply_to_nothing(resource, group, key[1], uid)
        if before is None:
            return self.create(resource, body)
        if uid and uid != before["metadata"]["uid"]:
            raise answers.change_of_other(resource, key[1], uid)
        return self._update(resource, key, before, merged(before, body), status=False)

    def delete(self, resource: str, key: Key, uid: str = "", grace: int | None = None) -> Document:
        """DELETE: a pod on a node gets its grace, anything else goes at once. Raises Refused."""
        before = self.get(resource, key)
        there = before["metadata"]["uid"]
        if uid and uid != there:
            raise answers.other_uid(resource, GROUPS.get(resource, ""), key[1], uid, there)
        if resource != "pods":
            self._put(resource, key, before, None)
            return {"kind": "Status", "status": "Success"}
        return self._delete_pod(key, before, self._grace(before, grace))

    def _delete_pod(self, key: Key, before: Document, seconds: int) -> Document:
        metadata = before["metadata"]
        known = metadata.get("deletionGracePeriodSeconds")
        if seconds and known is not None and known <= seconds:
            return before
        stamp = {"deletionTimestamp": rfc3339(self.clock() + seconds), "deletionGracePeriodSeconds": seconds}
        stamp |= {"generation": metadata["generation"] + (known is None)}
        going = {**before, "metadata": {**metadata, **stamp}}
        if seconds:
            return self._put("pods", key, before, going)
        self._put("pods", key, before, None)
        return going

    def since(self, resource: str, version: int) -> list[Event]:
        """What a watch from that version shows; raises Refused when it is not kept any more."""
        if version < self.kept_from:
            raise answers.expired()
        log = self.log.get(resource, [])
        return log[bisect_right(log, version, key=lambda event: event.version) :]

    def forget(self) -> None:
        """Keep no version before this one: the API server was started anew."""
        self.kept_from = self.version
        self.log.clear()

    def _grace(self, pod: Document, asked: int | None) -> int:
        ended = pod["status"].get("phase") in ("Failed", "Succeeded")
        if ended or not pod["spec"].get("nodeName"):
            return 0
        return (
            int(pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE)) if asked is None else asked
        )

    def _update(self, resource: str, key: Key, before: Document, after: Document, status: bool) -> Document:
        if status:
            after = {**before, "status": after.get("status") or {}}
        elif resource in SUBRESOURCE:
            after = {**after, "status": before.get("status") or {}}
        metadata = {**after["metadata"], "resourceVersion": before["metadata"]["resourceVersion"]}
        if resource in SUBRESOURCE and after.get("spec") != before.get("spec"):
            metadata["generation"] = before["metadata"]["generation"] + 1
        after = {**after, "metadata": metadata}
        return before if after == before else self._put(resource, key, before, after)

    def _put(self, resource: str, key: Key, before: Document | None, after: Document | None) -> Document:
        """Store, number, log and tell."""
        self.version += 1
        stored: Document = after or before or {}
        metadata = {**stored["metadata"], "resourceVersion": str(self.version)}
        stored = {**stored, "metadata": metadata}
        objects = self.objects.setdefault(resource, {})
        if after is None:
            del objects[key]
        else:
            objects[key] = stored
        kind = "DELETED" if after is None else "ADDED" if before is None else "MODIFIED"
        self.log.setdefault(resource, []).append(Event(self.version, kind, stored))
        for listener in self.listeners:
            listener(resource, before, stored if after is not None else None)
        self.wake(resource)
        return stored
