"""The CRDs, generated from the models.

``python -m drumline.api.crd --write`` writes them, ``--check`` fails when a file is not what it would write.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from drumline.api import meta
from drumline.api.crd_kinds import KINDS, TRAINING_JOB, Column, Kind, subresources
from drumline.api.generate import run
from drumline.api.openapi import at, structural
from drumline.api.yamltext import dump

HEADER: Final = "# Generated from operator/drumline/api by python -m drumline.api.crd --write. Do not edit.\n"


def schema(kind: Kind = TRAINING_JOB) -> dict[str, Any]:
    """The OpenAPI v3 schema of the kind, CEL rules included."""
    name = {"type": "string", "maxLength": kind.max_name, "pattern": kind.name}
    whole: dict[str, Any] = {
        "description": kind.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": structural(kind.spec),
            "status": structural(kind.status),
        },
    }
    for path, found in kind.rules().items():
        at(whole, path)["x-kubernetes-validations"] = found
    return whole


def crd(kind: Kind = TRAINING_JOB) -> dict[str, Any]:
    """The CustomResourceDefinition."""
    version = {
        "name": meta.VERSION,
        "served": True,
        "storage": True,
        "subresources": subresources(kind),
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
        "schema": {"openAPIV3Schema": schema(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{meta.GROUP}", "labels": {meta.APP_NAME: "drumline"}},
        "spec": {
            "group": meta.GROUP,
            "scope": kind.scope,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": list(kind.short_names),
                "categories": [meta.CATEGORY],
            },
            "conversion": {"strategy": "None"},
            "versions": [version],
        },
    }


def _column(column: Column) -> dict[str, Any]:
    name, kind, path, description, priority = column
    return {"name": name, "type": kind, "jsonPath": path, "description": description, "priority": priority}


def text(kind: Kind = TRAINING_JOB) -> str:
    """The file's content."""
    return HEADER + dump(crd(kind))


def main(arguments: list[str]) -> int:
    """Write or check all of them; the exit status."""
    return max(run(Path(kind.file), text(kind), arguments) for kind in KINDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
