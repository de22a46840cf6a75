"""A gang of any kind as a backend sees it: its attempt's objects, and its pods with their marks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from drumline.core.gang.backends.base import Found, GangBackend, GangFacts, Need
from drumline.core.gang.plan import Create, Delete, GroupResource, Manifest
from drumline.core.gang.projection import shape_of
from drumline.core.gang.types import Pod, Refusal


def resource_of(need: Need) -> GroupResource:
    """How a plan names a kind of a backend's."""
    return GroupResource(f"{need.plural}.{need.version}.{need.group}")


def requests_of(pod: Manifest) -> dict[str, int]:
    """What a pod requests, effective; canonical units."""
    return dict(shape_of(pod["spec"]).requests)


def lost_of_object(sent: Manifest, answer: Manifest) -> str:
    """The first field of an object's spec that the API server did not keep; "" = it kept all."""
    return _lost(sent.get("spec"), answer.get("spec"), "spec")


@dataclass(frozen=True, slots=True)
class Backed:
    """An attempt whose pods somebody else finds nodes for."""

    adapter: GangBackend
    facts: GangFacts

    @property
    def objects(self) -> tuple[Create, ...]:
        """What has to be there before the gang's pods."""
        kinds = {f"{n.group}/{n.version}/{n.kind}": resource_of(n) for n in self.adapter.needs}
        found = self.adapter.objects(self.facts)
        return tuple(Create(kinds[f"{o['apiVersion']}/{o['kind']}"], o, kept=lost_of_object) for o in found)

    def pod(self, pod: Manifest, index: int) -> Manifest:
        """The pod at that index as the backend wants it."""
        return self.adapter.prepare_pod(pod, self.facts, index)

    def missing(
        self, pods: Iterable[Pod], found: Iterable[Found], known: Collection[Need]
    ) -> tuple[Create, ...]:
        """The objects that somebody else deleted while a pod of the attempt waits for a node.

        `found`: what there is, of the kinds that are `known` by now.
        """
        if not known or not any(not pod.bound and not pod.terminal for pod in pods):
            return ()
        seen = {resource_of(need) for need in known}
        there = {(resource_of(f.need), f.document["metadata"]["name"]) for f in found}
        return tuple(
            o
            for o in self.objects
            if o.resource in seen and (o.resource, o.manifest["metadata"]["name"]) not in there
        )

    def waits(self, found: Iterable[Found]) -> Refusal | None:
        """What the backend says of the attempt."""
        return self.adapter.waits(self.facts, (f.document for f in found))


def ended(found: Iterable[Found]) -> tuple[Delete, ...]:
    """Deletes of objects of attempts that are over, which nobody is deleting yet."""
    return tuple(
        Delete(
            resource_of(f.need), f.document["metadata"]["namespace"], f.document["metadata"]["name"], f.uid
        )
        for f in found
        if not f.document["metadata"].get("deletionTimestamp")
    )


def is_of(uid: str, document: Manifest, pods: str = "") -> bool:
    """Whether an attempt's object is that owner's: it owns it, or the attempt's pods do, for which a backend made it.

    `pods`: what their names begin with; default: the object's name and a hyphen.
    """
    metadata = document["metadata"]
    begin = pods or f"{metadata['name']}-"
    return any(
        o.get("uid") == uid or (o.get("kind") == "Pod" and str(o.get("name")).startswith(begin))
        for o in metadata.get("ownerReferences") or ()
    )


def _lost(sent: object, found: object, path: str) -> str:
    if isinstance(sent, dict):
        inner = found if isinstance(found, dict) else {}
        return next((lost for k, v in sent.items() if (lost := _lost(v, inner.get(k), f"{path}.{k}"))), "")
    if isinstance(sent, list):
        inner_list = found if isinstance(found, list) else []
        if len(inner_list) < len(sent):
            return path
        pairs = enumerate(zip(sent, inner_list, strict=False))
        return next((lost for i, (a, b) in pairs if (lost := _lost(a, b, f"{path}[{i}]"))), "")
    return "" if found is not None or sent is None else path
