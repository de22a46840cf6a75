"""Manifests in and out of the command line, with kubectl's habits."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml

from drumline.api.meta import GROUP, INFERENCE_SERVICE, TRAINING_JOB

Manifest = Mapping[str, Any]


class InputError(Exception):
    """A file that can't be used; the message says which and why."""


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: a date is text."""


_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


class _Dumper(yaml.CSafeDumper):
    """YAML without anchors: rendered pods share parts, readers need them written out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_AMBIGUOUS = re.compile(r"[-+0-9.e_:]+|0[oxb][0-9a-f_]+|y|n|on|off|yes|no|true|false|null|~", re.IGNORECASE)


def _text(dumper: _Dumper, data: str) -> yaml.ScalarNode:
    """Quotes what an older YAML reader (kubectl's) would take for a number or a boolean."""
    ambiguous = _AMBIGUOUS.fullmatch(data)
    style = "|" if "\n" in data else '"' if ambiguous else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _text)


def read_documents(path: str) -> list[Any]:
    """Every YAML or JSON document of a file, `-` for standard input, empty ones left out. InputError."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
    try:
        found = list(yaml.load_all(text, Loader=_Loader))
        # as JSON: keys are text, as the API server would see them
        return [_as_json(document) for document in found if document is not None]
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: neither YAML nor JSON: {error}") from error


def one_of_ours(path: str) -> Manifest:
    """The one TrainingJob or InferenceService of a file. InputError."""
    documents = read_documents(path)
    kinds = (TRAINING_JOB, INFERENCE_SERVICE)
    found = [d for d in _items(documents) if d.get("kind") in kinds and _group(d) == GROUP]
    if len(found) != 1:
        raise InputError(
            f"{path}: given {len(found)} objects of kind {TRAINING_JOB}.{GROUP} or {INFERENCE_SERVICE}.{GROUP}; "
            "allowed: one"
        )
    return found[0]


def training_jobs(path: str) -> list[Manifest]:
    """Every TrainingJob of a file. InputError."""
    return _of_kinds(path, TRAINING_JOB)


def accounted(path: str) -> list[Manifest]:
    """Every TrainingJob and InferenceService of a file, in its order. InputError."""
    return _of_kinds(path, TRAINING_JOB, INFERENCE_SERVICE)


def _of_kinds(path: str, *kinds: str) -> list[Manifest]:
    return [d for d in _items(read_documents(path)) if d.get("kind") in kinds and _group(d) == GROUP]


def nodes(path: str) -> list[Manifest]:
    """The v1.Nodes of a file: a List, a YAML list, or one document each. InputError."""
    found = [d for d in _items(read_documents(path)) if d.get("kind", "Node") == "Node" and "metadata" in d]
    if not found:
        raise InputError(f"{path}: no v1.Node in it")
    return found


def to_yaml(manifests: Iterable[tuple[str, Manifest]]) -> str:
    """One document for each (remark, manifest)."""
    return "".join(f"---\n{comment(remark)}{_dump(manifest)}" for remark, manifest in manifests)


def to_json(manifests: Sequence[Manifest]) -> str:
    """A v1.List."""
    body = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n"


def dump(body: Manifest, output: str) -> str:
    """One document, as `json` or `yaml`."""
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n" if output == "json" else _dump(body)


def _as_json(document: Any) -> Any:
    return orjson.loads(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS))


def _items(documents: Iterable[Any]) -> list[Manifest]:
    """Objects, with lists and v1.Lists opened."""
    found: list[Manifest] = []
    for document in documents:
        if isinstance(document, list):
            found += _items(document)
        elif isinstance(document, dict) and isinstance(document.get("items"), list):
            found += _items(document["items"])
        elif isinstance(document, dict):
            found.append(document)
    return found


def _group(manifest: Manifest) -> str:
    return str(manifest.get("apiVersion", "")).partition("/")[0]


def comment(text: str) -> str:
    """The text as YAML comment lines; nothing for no text."""
    return "".join(f"# {line}\n" for line in text.splitlines())


def _dump(manifest: Manifest) -> str:
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
