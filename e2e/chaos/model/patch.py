"""Patches as the API server applies them, as far as the operator uses them. Documents are never changed in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Document = dict[str, Any]


def merged(before: Any, patch: Any) -> Any:
    """RFC 7386: null takes a field away, a list replaces a list."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(before) if isinstance(before, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def strategic(before: Any, patch: Any) -> Any:
    """A strategic merge patch, as far as conditions go: those of other types stay."""
    changes = (patch.get("status") or {}).get("conditions")
    if changes is None:
        return merged(before, patch)
    fresh = {change["type"] for change in changes}
    known = (before.get("status") or {}).get("conditions") or ()
    whole = [*(c for c in known if c["type"] not in fresh), *changes]
    return merged(before, {**patch, "status": {**patch["status"], "conditions": whole}})


def json_patched(before: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> Document:
    """RFC 6902 for fields of objects, be these in lists. Raises KeyError where a path leads nowhere."""
    result: Any = dict(before)
    for operation in operations:
        *parents, last = [part.replace("~1", "/") for part in operation["path"].strip("/").split("/")]
        at = result
        for part in parents:
            key = int(part) if isinstance(at, list) else part
            at[key] = list(at[key]) if isinstance(at[key], list) else dict(at[key])
            at = at[key]
        if operation["op"] == "replace" and last not in at:
            raise KeyError(operation["path"])
        if operation["op"] == "remove":
            del at[last]
        else:
            at[last] = operation["value"]
    return dict(result)
