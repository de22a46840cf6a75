"""The delay before an attempt, from the attempts that are kept."""

from json import dumps
from random import Random

import pytest

from drumline.api.failure import JobBackoff
from drumline.api.status import AttemptStatus, DetectionTime, ExcludedNode, PhaseTime, TrainingJobStatus
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.training import bitmap
from drumline.core.training.attempts import KEPT_ATTEMPTS, SHORT, backoff_left, begun, finished, restart_delay
from drumline.core.training.exclusions import MAX_EXCLUDED, MAX_SLOW
from tests.unit.core.training.jobs import NOW


def _status(ran, total=None, cause="ApplicationExit", *, ready=True):
    """A job whose kept attempts were whole for so many seconds each, the latest last; `total` were begun in all."""
    total = len(ran) if total is None else total
    attempts = tuple(
        AttemptStatus(
            attempt=total - len(ran) + n + 1,
            started_at=rfc3339_millis(NOW - 3600),
            ready_at=rfc3339_millis(NOW) if ready else None,
            finished_at=rfc3339_millis(NOW + seconds),
            cause=cause,
        )
        for n, seconds in enumerate(ran)
    )
    return TrainingJobStatus(attempt=total, attempts=attempts)


@pytest.mark.parametrize(
    ("failures", "delay"), [(1, 1), (2, 2), (10, 512), (11, 1024), (15, 16384), (18, 86400), (5000, 86400)]
)
def test_the_delay_grows_to_its_maximum_beyond_the_attempts_that_are_kept(failures, delay):
    status = _status([5] * min(failures, KEPT_ATTEMPTS), failures)
    assert restart_delay(status, JobBackoff(initial_seconds=1, max_seconds=86400)) == delay


def test_an_attempt_that_ran_long_starts_the_delay_over():
    backoff = JobBackoff(initial_seconds=10, max_seconds=600)
    assert restart_delay(_status([5] * 9 + [700], 40), backoff) == 10
    assert restart_delay(_status([5] * 7 + [700, 5, 5], 40), backoff) == 20


def test_only_time_with_all_pods_ready_counts():
    backoff = JobBackoff(initial_seconds=10, max_seconds=600, reset_after_seconds=300)
    assert restart_delay(_status([5] * 9 + [301], 40), backoff) == 10
    assert restart_delay(_status([5] * 9 + [299], 40), backoff) == 600
    assert restart_delay(_status([5] * 9 + [7000], 40, ready=False), backoff) == 600


def test_an_attempt_that_did_not_fail_ends_the_row():
    backoff = JobBackoff(initial_seconds=10, max_seconds=600)
    mixed = _status([5] * 3)
    stopped = mixed.attempts[1].model_copy(update={"cause": None})
    mixed = mixed.model_copy(update={"attempts": (mixed.attempts[0], stopped, mixed.attempts[2])})
    assert restart_delay(mixed, backoff) == 10


def test_no_delay_stays_none():
    assert restart_delay(_status([0] * 10, 400), JobBackoff(initial_seconds=0, max_seconds=0)) == 0


def backing_off(ended_at: float, seconds: float) -> TrainingJobStatus:
    last = AttemptStatus(
        attempt=1, started_at=rfc3339_millis(NOW - 100), finished_at=rfc3339_millis(ended_at)
    )
    next_at = rfc3339_millis(ended_at + seconds)
    return TrainingJobStatus(attempt=1, attempts=(last,), next_attempt_at=next_at)


@pytest.mark.parametrize(("since", "left"), [(-10, 70), (0, 60), (59, 1), (60, 0), (100, -40)])
def test_the_next_attempt_waits_for_its_delay_after_the_end_of_the_last(since: float, left: float):
    assert backoff_left(backing_off(NOW, 60), NOW + since) == pytest.approx(left)


def test_nobody_waits_for_a_clock_that_was_put_back():
    assert backoff_left(backing_off(NOW + 3600, 60), NOW) == 0.0


def test_a_job_that_never_ran_waits_for_nothing():
    assert backoff_left(TrainingJobStatus(), NOW) < 0


def test_of_older_attempts_less_is_kept_and_the_status_of_the_biggest_gang_stays_small():
    node = "gke-training-cluster-a3-megagpu-pool-1a2b3c4d-"
    status = TrainingJobStatus(
        excluded_nodes=tuple(
            ExcludedNode(name=f"{node}{n:04}", until=rfc3339_millis(NOW), cause="ApplicationExit")
            for n in range(MAX_EXCLUDED)
        ),
    )
    details = {
        "cause": "ApplicationExit",
        "pod": "a-job-with-a-long-name-10-123-7",
        "rank": 9999,
        "node": f"{node}0000",
        "message": "m" * 1400,
        "last_lines": "first" + "l" * 500 + "last",
        "slow_nodes": tuple(f"{node}{n:04}" for n in range(MAX_SLOW)),
        "detection": DetectionTime(ms=1_234_567, source="estimated"),
        "recovery": (PhaseTime(phase="RendezvousWait", ms=1_234_567),) * 10,
    }
    for _ in range(20):
        status = finished(begun(status, NOW), NOW, **details)
    status = begun(status, NOW)
    assert len(status.attempts) == KEPT_ATTEMPTS
    assert [len(a.message or "") for a in status.attempts] == [SHORT] * 6 + [1400] * 3 + [0]
    assert status.attempts[0].last_lines.endswith("last")
    assert status.attempts[0].slow_nodes == details["slow_nodes"], "they still count"
    odd = bitmap.encode(frozenset(Random(1).sample(range(10_000), 5_000)))
    status = status.model_copy(update={"succeeded": odd})
    assert len(dumps(status.to_json(), separators=(",", ":"))) < 25 * 1024, (
        "the rest is for conditions and the ledger"
    )
