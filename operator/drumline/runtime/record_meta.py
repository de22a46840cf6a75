"""Identity of an object of ours, as the API server has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from drumline.api.meta import GROUP, MANAGED_BY
from drumline.core.gang.clock import unix
from drumline.core.gang.meta import ObjectMeta

_OURS: Final = f"{GROUP}/"


def read_meta(document: Mapping[str, Any]) -> ObjectMeta:
    """Of annotations only ours are kept; `managedBy` is taken from the spec, valid or not."""
    metadata, spec = document["metadata"], document.get("spec") or {}
    return ObjectMeta(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 1),
        resource_version=metadata["resourceVersion"],
        created_at=unix(metadata.get("creationTimestamp")),
        deleting="deletionTimestamp" in metadata,
        labels=metadata.get("labels") or {},
        annotations={k: v for k, v in (metadata.get("annotations") or {}).items() if k.startswith(_OURS)},
        managed_by=str(spec.get("managedBy") or MANAGED_BY),
    )
