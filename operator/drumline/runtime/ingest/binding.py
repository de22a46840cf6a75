"""Whether a report is its pod's to send: the last word on who may say what of which job."""

from __future__ import annotations

from drumline.api.report import Report
from drumline.core.gang.types import Pod
from drumline.runtime.ingest.verdicts import Forbidden, Reporter, Stale


def judge_binding(
    report: Report, reporter: Reporter, pod: Pod | None, attempt: int
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
