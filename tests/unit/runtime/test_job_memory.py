"""What the API server refuses for good: the gang's pods end it, a spare's or a late helper's do not."""

from __future__ import annotations

from typing import Any

from drumline.api.meta import LABEL_ROLE, ROLE_SPARE, ROLE_WORKER
from drumline.runtime.job_memory import JobMemory
from tests.unit.core.training.jobs import NOW

TEXT = "pods/job-1-eval-0: exceeded quota"


def pod(role: str) -> dict[str, Any]:
    return {"metadata": {"labels": {LABEL_ROLE: role}}}


def refused(manifest: dict[str, Any] | None) -> JobMemory:
    memory = JobMemory()
    memory.refuse(manifest, TEXT, ("eval",), NOW)
    return memory


def test_whose_pod_it_is_tells_what_is_remembered() -> None:
    assert refused(pod(ROLE_WORKER)).blocked == TEXT
    assert refused(pod(ROLE_SPARE)).spares_refused == TEXT
    late = refused(pod("eval"))
    assert (late.blocked, late.late_refused) == ("", (TEXT, NOW))
    assert refused(None) == JobMemory()


def test_the_gang_goes_on_without_spares_and_late_helpers() -> None:
    for role, without in ((ROLE_WORKER, False), (ROLE_SPARE, True), ("eval", True)):
        memory = refused(pod(role))
        assert memory.goes_without("pods/job-1-eval-0") is without
        assert not memory.goes_without("pods/job-1-eval-01")
        memory.forget_refusals()
        assert memory == JobMemory()
