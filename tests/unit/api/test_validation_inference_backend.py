"""What only this operator's own admission can do for a service, by the field that is named."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.api.catalog import Catalog
from drumline.api.validation_inference import parse_service, validate_service
from tests.unit.api.inference_specs import role

CATALOG = Catalog.default()
NVL = {"type": "nvidia-gb200"}
REQUIRED = {"policy": "Required", "level": "rack"}


def faults(made: dict[str, Any], backend: str | None = "native", **changes: Any) -> list[tuple[str, str]]:
    """(field, message) of a service with that role."""
    scheduling = {**changes.pop("scheduling", {}), **({"backend": backend} if backend else {})}
    spec, errors = parse_service({"roles": [made], "scheduling": scheduling, **changes})
    found = errors if spec is None else validate_service("chat", spec, CATALOG)
    return [(e.path, e.message) for e in found]


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (role(groupSize=2, startPolicy="LeaderFirst"), {}, "spec.roles[0].startPolicy"),
    (role(variants=[{"accelerator": {"type": "nvidia-l4"}}]), {}, "spec.roles[0].variants"),
    (role(), {"scheduling": {"together": "block"}}, "spec.scheduling.together"),
    (role(accelerator=NVL, groupSize=2, parallelism={"tensor": 8}), {}, "spec.roles[0].parallelism.scaleUp"),
]


@pytest.mark.parametrize(("made", "changes", "field"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_what_only_builtin_can_do_is_refused_by_name(
    made: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    [(path, message)] = faults(made, **changes)
    assert path == field
    assert "given with spec.scheduling.backend native; allowed: only with" in message
    for backend in ("builtin", None):
        assert faults(made, backend, **changes) == []


@pytest.mark.parametrize(
    ("made", "changes"),
    [
        (role(groupSize=2), {}),
        (role(startPolicy="LeaderFirst"), {}),
        (role(accelerator=NVL, groupSize=2, parallelism={"tensor": 4}), {}),
        (role(accelerator=NVL, groupSize=2, parallelism={"tensor": 8, "scaleUp": "Preferred"}), {}),
        (
            role(accelerator=NVL, groupSize=2, parallelism={"tensor": 8}),
            {"scheduling": {"placement": REQUIRED}},
        ),
    ],
)
def test_the_rest_is_taken(made: dict[str, Any], changes: dict[str, Any]) -> None:
    assert faults(made, **changes) == []


def test_nobody_admits_a_service_of_the_edge() -> None:
    made = role(accelerator={"type": "nvidia-l4", "chipsPerWorker": 1})
    [(path, message)] = faults(made, "kueue", profile="edge")
    assert (path, "given kueue with profile edge; allowed: absent or builtin" in message) == (
        "spec.scheduling.backend",
        True,
    )
