"""Whether a report, or a muster, is its pod's to send: the last word on who may say what of which job."""

from __future__ import annotations

from typing import Protocol

from drumline.api.report import JobRef
from drumline.core.gang.types import Pod
from drumline.runtime.ingest.verdicts import Forbidden, Reporter, Stale


class Bound(Protocol):
    """A report or a muster: what somebody says of a job's attempt."""

    @property
    def job(self) -> JobRef:
        """Of which job."""

    @property
    def attempt(self) -> int:
        """Of which attempt."""


def judge_binding(
    report: Bound, reporter: Reporter, pod: Pod | None, attempt: int
) -> Forbidden | Stale | None:
    """None when `reporter` may send `report`.

    `pod` is what the mirror has under the reporter's name, `attempt` the job's present attempt. A pod of the
    job speaks for its own attempt only; which slice of it, is between the pods of the gang.
    """
    if pod is None or pod.uid != reporter.uid:
        return Forbidden(f"there is no pod {reporter.pod} of this uid", gone=True)
    member = pod.member
    if member is None or member.job_uid != report.job.uid or pod.namespace != report.job.namespace:
        return Forbidden(f"pod {reporter.pod} is not of job {report.job.namespace}/{report.job.name}")
    if report.attempt > member.attempt:
        return Forbidden(f"pod {reporter.pod} is of attempt {member.attempt}, not {report.attempt}")
    if report.attempt < max(member.attempt, attempt):
        return Stale(f"attempt {report.attempt} is over")
    return None
