"""The delay before an attempt, from the attempts that are kept."""

import pytest

from drumline.api.failure import JobBackoff
from drumline.api.status import AttemptStatus, TrainingJobStatus
from drumline.core.training.attempts import KEPT_ATTEMPTS, restart_delay
from drumline.core.training.clock import rfc3339_millis
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
