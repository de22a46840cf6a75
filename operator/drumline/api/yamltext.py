"""Writes plain data as YAML: keys in their order, every text quoted, so that equal data is equal text.

Data is made of mappings, lists, printable texts, integers, booleans and None: what a schema is made of.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN_KEY = re.compile(r"(?!(true|false|null|yes|no|on|off|y|n)$)[A-Za-z$][A-Za-z0-9._/$-]*", re.IGNORECASE)


def dump(value: Mapping[str, Any]) -> str:
    """One YAML document."""
    return "".join(f"{line}\n" for line in _mapping(value))


def _mapping(value: Mapping[str, Any]) -> Iterator[str]:
    for key, item in value.items():
        name = key if _PLAIN_KEY.fullmatch(key) else json.dumps(key)
        if isinstance(item, Mapping) and item:
            yield f"{name}:"
            yield from (f"  {line}" for line in _mapping(item))
        elif isinstance(item, list) and item:
            yield f"{name}:"
            yield from _sequence(item)
        else:
            yield f"{name}: {_scalar(item)}"


def _sequence(value: list[Any]) -> Iterator[str]:
    for item in value:
        if isinstance(item, Mapping) and item:
            lines = list(_mapping(item))
            yield f"- {lines[0]}"
            yield from (f"  {line}" for line in lines[1:])
        else:
            yield f"- {_scalar(item)}"


def _scalar(value: Any) -> str:
    """JSON, which YAML reads as it is."""
    return json.dumps(value, ensure_ascii=False)
