"""The TrainingJob CRD, generated from the models.

``python -m drumline.api.crd --write`` writes it, ``--check`` fails when the file is not what it would write.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from drumline.api import meta
from drumline.api.generate import run
from drumline.api.openapi import at, structural
from drumline.api.rules import rules
from drumline.api.status import TrainingJobStatus
from drumline.api.training import DNS_1035, TrainingJobSpec
from drumline.api.yamltext import dump

FILE: Final = Path("crds/drumline.dev_trainingjobs.yaml")
HEADER: Final = "# Generated from operator/drumline/api by python -m drumline.api.crd --write. Do not edit.\n"
MAX_NAME: Final = 53  # 63 less the attempt, one digit of slice and of worker, and their hyphens

COLUMNS: Final = (
    ("Phase", "string", ".status.phase", "Summary of the conditions.", 0),
    ("Ready", "integer", ".status.workers.ready", "Ready worker pods.", 0),
    ("Desired", "integer", ".status.workers.desired", "Worker pods of the gang.", 0),
    ("Restarts", "integer", ".status.restartCount", "Restarts of the gang.", 0),
    ("Attempt", "integer", ".status.attempt", "Current generation of pods.", 0),
    ("Accelerator", "string", ".spec.accelerator.type", "What each worker computes on.", 1),
    ("Topology", "string", ".spec.accelerator.topology", "Shape of a TPU slice.", 1),
    ("Slices", "integer", ".spec.slices", "Slices of the gang.", 1),
    ("Queue", "string", ".spec.queue", "Queue the job waits in.", 1),
    ("Age", "date", ".metadata.creationTimestamp", "Time since creation.", 0),
)


def schema() -> dict[str, Any]:
    """The OpenAPI v3 schema of the kind, CEL rules included."""
    name = {"type": "string", "maxLength": MAX_NAME, "pattern": DNS_1035}
    whole: dict[str, Any] = {
        "description": "TrainingJob is one distributed training run: a gang of accelerator pods that starts, "
        "runs, restarts and ends as one.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": structural(TrainingJobSpec),
            "status": structural(TrainingJobStatus),
        },
    }
    for path, found in rules().items():
        at(whole, path)["x-kubernetes-validations"] = found
    return whole


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    version = {
        "name": meta.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(*column) for column in COLUMNS],
        "schema": {"openAPIV3Schema": schema()},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{meta.TRAINING_JOBS}.{meta.GROUP}", "labels": {meta.APP_NAME: "drumline"}},
        "spec": {
            "group": meta.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": meta.TRAINING_JOB,
                "listKind": f"{meta.TRAINING_JOB}List",
                "plural": meta.TRAINING_JOBS,
                "singular": meta.TRAINING_JOB.lower(),
                "shortNames": ["tj"],
                "categories": [meta.CATEGORY],
            },
            "conversion": {"strategy": "None"},
            "versions": [version],
        },
    }


def _column(name: str, kind: str, path: str, description: str, priority: int) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path, "description": description, "priority": priority}


def text() -> str:
    """The file's content."""
    return HEADER + dump(crd())


if __name__ == "__main__":
    sys.exit(run(FILE, text(), sys.argv[1:]))
