"""Generate the chart's ``values.schema.json`` from its commented ``values.yaml``.

``python -m e2e.chart_schema --write`` writes it, ``--check`` fails when the committed file is not what would
be written.

A key's schema is read off three things. Its type is that of the default value. Its description is the block
of comment lines straight above it. A comment line ``@schema {…}`` (YAML, flow style) adds keywords or
replaces the type. A mapping with defaults takes these keys and no others; an empty mapping or list has to
say in ``@schema`` what it may hold.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[1] / "charts" / "drumline"
VALUES = CHART / "values.yaml"
SCHEMA = CHART / "values.schema.json"
_MARK = "@schema "
_TYPES = {
    "tag:yaml.org,2002:str": "string",
    "tag:yaml.org,2002:int": "integer",
    "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:bool": "boolean",
}


class SchemaError(ValueError):
    """values.yaml leaves something unsaid; the message names the key and the line."""


def generate(text: str) -> dict[str, Any]:
    """The JSON schema of the values file `text`. Raises SchemaError."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise SchemaError("values.yaml must hold a mapping")
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the drumline chart"}
    return schema | _mapping(root, text.splitlines(), ("global",))


def _mapping(node: yaml.MappingNode, lines: Sequence[str], more: Sequence[str] = ()) -> dict[str, Any]:
    properties = {key.value: _property(key, value, lines) for key, value in node.value}
    properties |= {name: {"type": "object"} for name in more}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _property(key: yaml.ScalarNode, value: yaml.Node, lines: Sequence[str]) -> dict[str, Any]:
    description, extra = _comment(lines, key.start_mark.line)
    if not description:
        raise SchemaError(f"{key.value} (line {key.start_mark.line + 1}) has no comment above it")
    return {"description": description, **_shape(key, value, lines, extra), **extra}


def _shape(
    key: yaml.ScalarNode, value: yaml.Node, lines: Sequence[str], extra: dict[str, Any]
) -> dict[str, Any]:
    if isinstance(value, yaml.MappingNode) and value.value and "additionalProperties" not in extra:
        return _mapping(value, lines)
    if isinstance(value, yaml.ScalarNode) and value.tag in _TYPES:
        return {"type": _TYPES[value.tag]}
    if "type" not in extra:
        raise SchemaError(f"{key.value} (line {key.start_mark.line + 1}) needs an @schema with a type")
    return {}


def _comment(lines: Sequence[str], row: int) -> tuple[str, dict[str, Any]]:
    """The description and the extra keywords in the comment block that ends above `row`."""
    first = row
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    texts = [line.lstrip().removeprefix("#").strip() for line in lines[first:row]]
    extra: dict[str, Any] = {}
    for text in texts:
        if text.startswith(_MARK):
            extra |= yaml.safe_load(text.removeprefix(_MARK))
    return " ".join(t for t in texts if t and not t.startswith(_MARK.strip())), extra


def render(text: str) -> str:
    """What `values.schema.json` holds for the values file `text`."""
    return json.dumps(generate(text), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the schema; the exit status is 1 when the check fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--write", action="store_true", help="write charts/drumline/values.schema.json")
    mode.add_argument("--check", action="store_true", help="fail if that file is not up to date")
    options = parser.parse_args(arguments)
    wanted = render(VALUES.read_text())
    if options.write:
        SCHEMA.write_text(wanted)
    elif not SCHEMA.exists() or SCHEMA.read_text() != wanted:
        print(f"{SCHEMA} is stale: run `python -m e2e.chart_schema --write`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
