"""Which reports are a pod's to send."""

from __future__ import annotations

import pytest

from drumline.api.report import JobRef, Report
from drumline.core.gang.types import Member, Pod
from drumline.runtime.ingest.binding import judge_binding
from drumline.runtime.ingest.verdicts import Forbidden, Reporter, Stale

REPORTER = Reporter("ns", "llama-2-0-0", "pod-uid")
MEMBER = Member("llama", "job-uid", 2, "worker", 0, 0)
POD = Pod(namespace="ns", name="llama-2-0-0", uid="pod-uid", requests={}, member=MEMBER)


def report(uid: str = "job-uid", attempt: int = 2, namespace: str = "ns") -> Report:
    job = JobRef(namespace=namespace, name="llama", uid=uid)
    return Report(version=1, job=job, attempt=attempt, sent_ms=0)


def test_its_own() -> None:
    assert judge_binding(report(), REPORTER, POD, 2) is None


def test_a_pod_may_be_ahead_of_the_status_that_says_so() -> None:
    assert judge_binding(report(), REPORTER, POD, 1) is None


@pytest.mark.parametrize("reporter", [Reporter("ns", "llama-2-0-0", "earlier-uid")])
def test_a_pod_of_the_same_name_is_another(reporter: Reporter) -> None:
    for pod in (POD, None):
        verdict = judge_binding(report(), reporter, pod, 2)
        assert isinstance(verdict, Forbidden)
        assert verdict.gone


@pytest.mark.parametrize("sent", [report(uid="other-uid"), report(attempt=3), report(namespace="elsewhere")])
def test_what_is_not_its_own(sent: Report) -> None:
    verdict = judge_binding(sent, REPORTER, POD, 2)
    assert isinstance(verdict, Forbidden)
    assert not verdict.gone


def test_a_pod_of_no_gang_has_nothing_to_report() -> None:
    stranger = Pod(namespace="ns", name="llama-2-0-0", uid="pod-uid", requests={}, member=None)
    assert isinstance(judge_binding(report(), REPORTER, stranger, 2), Forbidden)


@pytest.mark.parametrize(("sent", "attempt"), [(report(attempt=1), 2), (report(), 3)])
def test_an_attempt_that_is_over(sent: Report, attempt: int) -> None:
    assert isinstance(judge_binding(sent, REPORTER, POD, attempt), Stale)
