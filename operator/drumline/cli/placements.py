"""The placements of TrainingJobs, found among the ControllerRevisions of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from drumline.api.meta import APP_MANAGED_BY
from drumline.cli.manifests import Manifest
from drumline.core.gang.revision import decode
from drumline.core.gang.types import Placement

REVISIONS: Final = "controllerrevisions"
OURS: Final = f"{APP_MANAGED_BY}=drumline"

Revisions = Mapping[str, list[Manifest]]  # by owner's uid


def by_owner(revisions: Iterable[Manifest]) -> Revisions:
    """The revisions by the uid of whom they belong to."""
    found: dict[str, list[Manifest]] = {}
    for revision in revisions:
        for owner in revision["metadata"].get("ownerReferences") or ():
            found.setdefault(owner.get("uid", ""), []).append(revision)
    return found


def placement_of(job: Manifest, revisions: Revisions) -> Placement | None:
    """The placement that a raw job's status names; None without one, or while part of it is missing."""
    written = (job.get("status") or {}).get("placement") or {}
    name = written.get("revision", "")
    own = [r for r in revisions.get(job["metadata"]["uid"], ()) if _is_part(r["metadata"]["name"], name)]
    return decode(own) if name and len(own) >= written.get("chunks", 1) else None


def _is_part(revision: str, name: str) -> bool:
    return revision == name or revision.startswith(f"{name}-c")
