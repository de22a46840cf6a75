"""What is refused of jobs that another scheduler or queue admits, by the field that is named."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.api.backend import BACKENDS
from tests.unit.api.specs import errors_of

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (
        {"spares": 1, "scheduling": {"backend": "kueue"}},
        "spec.spares",
        "given with spec.scheduling.backend kueue; allowed: only with spec.scheduling.backend builtin",
    ),
    (
        {"elastic": {"maxSlices": 2}, "scheduling": {"backend": "native"}},
        "spec.elastic",
        "for how many slices",
    ),
    (
        {"scheduling": {"backend": "slurm"}},
        "spec.scheduling.backend",
        "given 'slurm'; allowed: 'builtin', 'native'",
    ),
    (
        {"scheduling": {"backend": "builtin", "backendQueue": "team-a"}},
        "spec.scheduling.backendQueue",
        "given 'team-a' with backend builtin; allowed: absent",
    ),
    ({"scheduling": {"backendQueue": "Research"}}, "spec.scheduling.backendQueue", "given 'Research'"),
]


@pytest.mark.parametrize("backend", BACKENDS)
def test_accepted(backend: str) -> None:
    queue = {} if backend == "builtin" else {"backendQueue": "team-a"}
    assert errors_of(scheduling={"backend": backend, **queue}) == ()
    assert (
        errors_of(scheduling={"backendQueue": "team-a"}) == ()
    )  # which backend it will have the cluster says


def test_our_own_admission_takes_what_no_other_does() -> None:
    assert errors_of(spares=1, scheduling={"backend": "builtin"}) == ()
    assert errors_of(elastic={"maxSlices": 2}) == ()  # which backend it will have the cluster says


@pytest.mark.parametrize(("fields", "path", "words"), REFUSED, ids=str)
def test_refused(fields: dict[str, Any], path: str, words: str) -> None:
    (error,) = errors_of(**fields)
    assert error.path == path
    assert words in error.message
