"""What adapters do alike: marks on pods, the sum of what a gang asks for, the words of other people's conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from drumline.core.gang.backends.base import GangFacts, Manifest
from drumline.core.gang.quantity import spell
from drumline.core.gang.types import EMPTY

MAX_WORDS: Final = 400  # characters kept of what somebody else wrote


def marked(
    pod: Manifest,
    *,
    labels: Mapping[str, str] = EMPTY,
    annotations: Mapping[str, str] = EMPTY,
    scheduler: str = "",
    priority_class: str = "",
) -> dict[str, Any]:
    """A copy of `pod` with these marks. An empty scheduler or priority class leaves the pod's own."""
    metadata = {**pod["metadata"]}
    if labels:
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    if annotations:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
    spec = {**pod["spec"]}
    if scheduler:
        spec["schedulerName"] = scheduler
    if priority_class:
        spec["priorityClassName"] = priority_class
    return {**pod, "metadata": metadata, "spec": spec}


def dropped(sent: Manifest, answer: Manifest, keys: Iterable[str]) -> str:
    """Which of these labels, annotations and the scheduler's name a created pod came back without; "" = none."""
    for part in ("labels", "annotations"):
        before, after = (m["metadata"].get(part) or {} for m in (sent, answer))
        for key in keys:
            if key in before and after.get(key) != before[key]:
                return f"{part.removesuffix('s')} {key}"
    wanted = sent["spec"].get("schedulerName")
    return "schedulerName" if wanted and answer["spec"].get("schedulerName") != wanted else ""


def together(facts: GangFacts, index: int) -> bool:
    """Whether the pod at that index starts with its gang; a helper that comes later, and a spare, do not."""
    return any(role.first <= index < role.first + role.count for role in facts.roles)


def total(facts: GangFacts) -> dict[str, str]:
    """What all pods that start together request, as quantities."""
    sums: dict[str, int] = {}
    for role in facts.roles:
        for resource, amount in role.requests.items():
            sums[resource] = sums.get(resource, 0) + amount * role.count
    return {name: spell(name, amount) for name, amount in sorted(sums.items()) if amount and name != "pods"}


def group(facts: GangFacts, api_version: str, spec: Mapping[str, Any], **labels: str) -> dict[str, Any]:
    """A PodGroup of that API for the attempt, owned by the gang's owner."""
    metadata: dict[str, Any] = {
        "name": facts.group,
        "namespace": facts.owner.namespace,
        "ownerReferences": [facts.owner.owner_reference()],
    }
    if facts.labels or labels:
        metadata["labels"] = {**facts.labels, **labels}
    return {"apiVersion": api_version, "kind": "PodGroup", "metadata": metadata, "spec": dict(spec)}


def own(facts: GangFacts, objects: Iterable[Manifest], kind: str) -> Manifest | None:
    """The attempt's own object of that kind among these."""
    wanted = (kind, facts.owner.namespace, facts.group)
    for found in objects:
        metadata = found["metadata"]
        if (found.get("kind"), metadata.get("namespace"), metadata.get("name")) == wanted:
            return found
    return None


def condition(found: Manifest, kind: str) -> Mapping[str, Any]:
    """That condition in the object's status; {} = it has none."""
    conditions = (found.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c.get("type") == kind), {})


def words(text: object) -> str:
    """Somebody else's words on one line, cut to a bearable length."""
    line = " ".join(str(text or "").split()).rstrip(".")
    return line if len(line) <= MAX_WORDS else f"{line[: MAX_WORDS - 1]}…"
