"""Specs as they stand in a manifest."""

from __future__ import annotations

import copy
from typing import Any

from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.training import TrainingJobSpec
from drumline.api.validation import parse_spec, validate_job

TPU = {"type": "tpu-v5p", "topology": "4x4x4"}
GPU = {"type": "nvidia-h100-80gb"}
CPU = {"type": "cpu"}


def template(**pod: Any) -> dict[str, Any]:
    """A pod template with one container."""
    return {"spec": {"containers": [container()], **pod}}


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "train", "image": "example.com/train:1", **fields}


def with_env(*names: str) -> dict[str, Any]:
    return template(containers=[container(env=[{"name": name, "value": "1"} for name in names])])


def raw_spec(**fields: Any) -> dict[str, Any]:
    """A valid spec but for `fields`."""
    return copy.deepcopy({"accelerator": CPU, "template": template(), **fields})


def spec(**fields: Any) -> TrainingJobSpec:
    """A parsed spec; its form must be right."""
    parsed, errors = parse_spec(raw_spec(**fields))
    assert parsed is not None, errors
    return parsed


def judge(raw: Any, name: str = "llama") -> tuple[FieldError, ...]:
    """What either step of validation says of a spec."""
    parsed, errors = parse_spec(raw)
    return errors if parsed is None else validate_job(name, parsed, Catalog.default())


def errors_of(name: str = "llama", **fields: Any) -> tuple[FieldError, ...]:
    """What validation says of a spec that is valid but for `fields`."""
    return judge(raw_spec(**fields), name)


def paths_of(name: str = "llama", **fields: Any) -> list[str]:
    return [error.path for error in errors_of(name, **fields)]
