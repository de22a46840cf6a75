"""From pydantic's JSON schema to the structural schema that a CRD wants.

References are put in their place; ``X | None`` becomes plain X, as a field that may be absent; words that
the API server refuses (title, examples, propertyNames, additionalProperties: false, default: null) go. A default object
is written out in full: CEL rules see a default before the defaults of its fields fill it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]
_DROPPED = frozenset({"title", "examples", "$defs", "propertyNames"})


def structural(model: type[BaseModel]) -> Schema:
    """Structural schema of a model, in wire names."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _clean(schema, schema.get("$defs", {}))


def _clean(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    merged = _present(_resolved(schema, definitions), definitions)
    cleaned = {key: value for key, value in merged.items() if key not in _DROPPED}
    if cleaned.get("additionalProperties") is False:
        del cleaned["additionalProperties"]
    if "default" in cleaned:
        _clean_default(cleaned)
    if cleaned.get("type") == "integer":
        cleaned["format"] = "int64"
    for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if bound in cleaned:  # a number in JSON schema, a word on the other bound in OpenAPI v3.0
            cleaned[limit], cleaned[bound] = cleaned[bound], True
    if cleaned.get("type") == "array":
        cleaned.setdefault("x-kubernetes-list-type", "atomic")
    for key in ("items", "additionalProperties"):
        if isinstance(cleaned.get(key), Mapping):
            cleaned[key] = _clean(cleaned[key], definitions)
    if "properties" in cleaned:
        cleaned["properties"] = {
            name: _clean(value, definitions) for name, value in cleaned["properties"].items()
        }
    return cleaned


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """The schema with its reference filled in; words beside the reference win."""
    reference = schema.get("$ref")
    if reference is None:
        return copy.deepcopy(dict(schema))
    target = definitions[reference.removeprefix("#/$defs/")]
    return {**copy.deepcopy(target), **{key: value for key, value in schema.items() if key != "$ref"}}


def _present(schema: Schema, definitions: Mapping[str, Any]) -> Schema:
    """The schema of ``X | None`` without None."""
    options = [option for option in schema.pop("anyOf", ()) if option.get("type") != "null"]
    if not options:
        return schema
    return {**_resolved(options[0], definitions), **schema}


def _clean_default(schema: Schema) -> None:
    if schema["default"] is None or schema["default"] == []:
        del schema["default"]
    else:
        schema["default"] = _without_none(schema["default"])


def _without_none(value: Any) -> Any:
    """The value with nulls left out, in wire names already."""
    if not isinstance(value, dict):
        return value
    return {key: _without_none(item) for key, item in value.items() if item is not None}


def at(schema: Schema, path: str) -> Schema:
    """The part of a schema at a path such as ``spec.helpers[].template``."""
    for part in re.findall(r"[^.\[\]]+|\[\]", path):
        schema = schema["items"] if part == "[]" else schema["properties"][part]
    return schema
