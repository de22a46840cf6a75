"""The revisions of an InferenceService for people: which there are, what is done with each, what it changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from drumline.api.inference import InferenceServiceSpec
from drumline.api.inference_status import InferenceServiceStatus
from drumline.cli.rollout_cluster import Found
from drumline.core.inference.observation import Revision
from drumline.core.inference.render import read_revision
from drumline.core.inference.restore import restored

NOTHING: Final = "-"
LONGEST: Final = 60  # characters of a value


class RolloutError(Exception):
    """What was asked for can't be done; the message says why."""


class NoRevisionError(RolloutError):
    """There is no such revision."""


@dataclass(frozen=True, slots=True)
class History:
    """A service's revisions, oldest first, and its status."""

    name: str
    status: InferenceServiceStatus
    revisions: tuple[Revision, ...]
    created: Mapping[str, str]  # when, by name

    def find(self, name: str | None) -> Revision | None:
        """The revision of that name."""
        return next((r for r in self.revisions if r.name == name), None)

    def groups(self, name: str) -> int:
        """Groups of that revision."""
        return sum(g.revision == name for role in self.status.roles for g in role.groups)

    def marks(self, name: str) -> list[str]:
        """What a revision is to the service: current, update (the spec's, on its way), refused."""
        known = self.status
        found = ["current"] if name == known.current_revision else []
        if name == known.update_revision != known.current_revision:
            found.append("update")
        return [*found, "refused"] if name == known.rollout.refused else found


def history(found: Found) -> History:
    """The history of a service; a revision that can't be read is left out."""
    status = InferenceServiceStatus.model_validate(found.service.get("status") or {})
    known = []
    for document in found.revisions:
        try:
            known.append(read_revision(document))
        except ValueError:
            continue  # of a newer operator
    known.sort(key=lambda r: (r.number, r.name))
    created = {
        d["metadata"]["name"]: d["metadata"].get("creationTimestamp") or NOTHING for d in found.revisions
    }
    return History(found.service["metadata"]["name"], status, tuple(known), created)


def spec_of(found: Found) -> InferenceServiceSpec | None:
    """The spec as it stands; None when it can't be read."""
    try:
        return InferenceServiceSpec.model_validate(found.service.get("spec") or {})
    except ValidationError:
        return None


def way_back(known: History, number: int | None) -> Revision:
    """The revision to go back to. NoRevisionError.

    That number; else the current one while another is on its way; else the one before the current one.
    """
    if number is not None:
        wanted = next((r for r in known.revisions if r.number == number), None)
        if wanted is None:
            there = ", ".join(str(r.number) for r in known.revisions) or "none"
            raise NoRevisionError(f"{known.name} has no revision {number}; there are: {there}")
        return wanted
    current = known.find(known.status.current_revision)
    if current is None:
        raise NoRevisionError(f"the current revision of {known.name} is not in its history; name one")
    if known.status.update_revision != current.name:
        return current
    earlier = [r for r in known.revisions if r.number < current.number]
    if not earlier:
        raise NoRevisionError(f"{known.name} has no revision before {current.number}")
    return earlier[-1]


def changes(before: InferenceServiceSpec, after: InferenceServiceSpec) -> list[str]:
    """What the pods of `after` are made from that those of `before` are not, a line each."""
    # everything that is no part of a revision is taken from one of them, so it can't differ
    old, new = (dict(_leaves("", spec.to_json())) for spec in (before, restored(before, after)))
    paths = [path for path in sorted({*old, *new}) if old.get(path) != new.get(path)]
    return [f"{path}: {_short(old.get(path))} -> {_short(new.get(path))}" for path in paths]


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value with its path; members of a list by their name if they have one."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), inner)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            name = inner.get("name") if isinstance(inner, Mapping) else None
            yield from _leaves(f"{path}[{index if name is None else name}]", inner)
    else:
        yield path, value


def _short(value: Any) -> str:
    if value is None:
        return NOTHING
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
