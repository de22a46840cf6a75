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


def json_patched(before: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> Document:
    """RFC 6902, `add` and `replace` of fields of objects. Raises KeyError where a path leads nowhere."""
    result: Any = dict(before)
    for operation in operations:
        *parents, last = [part.replace("~1", "/") for part in operation["path"].strip("/").split("/")]
        at = result
        for name in parents:
            at[name] = dict(at[name])
            at = at[name]
        if operation["op"] == "replace" and last not in at:
            raise KeyError(operation["path"])
        if operation["op"] == "remove":
            del at[last]
        else:
            at[last] = operation["value"]
    return dict(result)
