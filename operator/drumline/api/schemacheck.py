"""Checks a value against the few words of OpenAPI that our hand-written schemas use.

The API server does the same with the CRD; this is for manifests that never meet one. A null stands for
an absent field, as it does for the API server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from drumline.api.errors import FieldError
from drumline.api.wire import given

_PYTHON: Final[Mapping[str, tuple[type, str]]] = {
    "object": (Mapping, "an object"),
    "array": (list, "a list"),
    "string": (str, "text"),
    "boolean": (bool, "true or false"),
    "integer": (int, "a whole number"),
}


def schema_errors(path: str, value: Any, schema: Mapping[str, Any]) -> Iterator[FieldError]:
    """Where `value`, which lies at `path`, departs from `schema`."""
    if schema.get("x-kubernetes-int-or-string"):
        if not _is(value, int) and not isinstance(value, str):
            yield FieldError(path, f"given {given(value)}; allowed: a number or text")
        return
    kind, words = _PYTHON[schema["type"]]
    if not _is(value, kind):
        yield FieldError(path, f"given {given(value)}; allowed: {words}")
    elif isinstance(value, Mapping):
        yield from _object_errors(path, value, schema)
    elif isinstance(value, list):
        yield from _list_errors(path, value, schema)
    elif isinstance(value, str):
        yield from _text_errors(path, value, schema)


def _is(value: Any, kind: type) -> bool:
    """Whether it is of that type; a bool is no int here."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _object_errors(path: str, value: Mapping[Any, Any], schema: Mapping[str, Any]) -> Iterator[FieldError]:
    properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if value.get(name) is None:
            _, words = _PYTHON[properties[name]["type"]]
            yield FieldError(f"{path}.{name}", f"required, given nothing; allowed: {words}")
    if len(value) > schema.get("maxProperties", len(value)):
        yield FieldError(path, f"given {len(value)} entries; allowed: at most {schema['maxProperties']}")
    for key, item in value.items():
        if not isinstance(key, str):
            yield FieldError(path, f"given the key {given(key)}; allowed: text keys")
        elif key in properties:
            if item is not None:
                yield from schema_errors(f"{path}.{key}", item, properties[key])
        elif rest is not None:
            yield from schema_errors(f"{path}[{key}]", item, rest)


def _list_errors(path: str, value: list[Any], schema: Mapping[str, Any]) -> Iterator[FieldError]:
    least, most = schema.get("minItems", 0), schema["maxItems"]
    if not least <= len(value) <= most:
        yield FieldError(path, f"given {len(value)} items; allowed: {least} to {most}")
    for index, item in enumerate(value):
        yield from schema_errors(f"{path}[{index}]", item, schema["items"])


def _text_errors(path: str, value: str, schema: Mapping[str, Any]) -> Iterator[FieldError]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", len(value))
    if not least <= len(value) <= most:
        yield FieldError(path, f"given {len(value)} characters; allowed: {least} to {most}")
    if value not in schema.get("enum", (value,)):
        yield FieldError(path, f"given {given(value)}; allowed: {', '.join(schema['enum'])}")
