"""What a ledger is told of attempts, and what the status is told of the ledger."""

from __future__ import annotations

import pytest

from drumline.api.goodput import GoodputStatus
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.ledger.events import AttemptBegan, AttemptEnded, Closed, Ticked
from drumline.core.gang.ledger.summary import AttemptFigures
from drumline.core.training import accounts
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

START = int(NOW * 1000)
GOODPUT = GoodputStatus(at=rfc3339_millis(NOW), started_at=rfc3339_millis(NOW))


def status(*attempts, **more):
    """Attempts as (begin, end, cause), seconds after NOW; without an end they run."""
    rows = [
        {
            "attempt": number,
            "startedAt": rfc3339_millis(NOW + begin),
            **({"finishedAt": rfc3339_millis(NOW + end)} if end is not None else {}),
            **({"cause": cause} if cause else {}),
        }
        for number, (begin, end, cause) in enumerate(attempts, start=1)
    ]
    return TrainingJobStatus.model_validate({"attempt": len(rows), "attempts": rows, **more})


def ledger(attempt=0, epoch=0):
    made = accounts.new_ledger(jobs.job())
    made.attempt, made.epoch = attempt, epoch
    return made


def test_all_that_was_missed_is_told():
    seen = status((1, 5, "ApplicationExit"), (7, None, None))
    assert accounts.attempt_events(seen, ledger(), (0, 0), NOW + 9) == [
        AttemptBegan(START + 1000, 1, 0, restart=False),
        AttemptEnded(START + 5000, 1, failed=True),
        AttemptBegan(START + 7000, 2, 0, restart=True),
    ]
    assert accounts.attempt_events(seen, ledger(2), (1, 0), NOW + 9) == []


def test_an_end_is_told_once():
    seen = status((1, 5, "NodeLost"))
    assert accounts.attempt_events(seen, ledger(1), (0, 0), NOW + 9) == [
        AttemptEnded(START + 5000, 1, failed=True)
    ]
    assert accounts.attempt_events(seen, ledger(1), (1, 0), NOW + 9) == []


@pytest.mark.parametrize(
    ("causes", "restart"),
    [
        (("NodeLost",), True),
        (("Preempted",), True),
        ((None,), False),  # suspended
        (("GangTimeout",), False),
        (("NodeLost", "GangTimeout"), True),  # the way back took another try
        (("NodeLost", None), False),
        (("NodeLost", None, "GangTimeout"), False),
    ],
)
def test_what_follows_a_failure_is_a_restart(causes, restart):
    over = [(i, i + 1, cause) for i, cause in enumerate(causes)]
    seen = status(*over, (10, None, None))
    (event,) = accounts.attempt_events(seen, ledger(len(over)), (len(over), 0), NOW + 11)
    assert event == AttemptBegan(START + 10_000, len(over) + 1, 0, restart=restart)


def epochs(*ends, attempt=1):
    """Epochs of one attempt that each began when the one before it ended; None: it runs."""
    times = [1, *ends]
    rows = [
        {
            "attempt": attempt,
            "epoch": number,
            "startedAt": rfc3339_millis(NOW + times[number]),
            **({"finishedAt": rfc3339_millis(NOW + end), "cause": "ApplicationExit"} if end else {}),
        }
        for number, end in enumerate(ends)
    ]
    return TrainingJobStatus.model_validate({"attempt": attempt, "epoch": len(ends) - 1, "attempts": rows})


def test_an_epoch_ends_and_begins_within_an_attempt():
    seen = epochs(4, 6, None)
    ends = [AttemptEnded(START + at, 1, failed=True, epoch=e) for e, at in enumerate((4000, 6000))]
    begins = [AttemptBegan(START + at, 1, e, restart=e > 0) for e, at in enumerate((1000, 4000, 6000))]
    told = [begins[0], ends[0], begins[1], ends[1], begins[2]]
    assert accounts.attempt_events(seen, ledger(), (0, 0), NOW + 9) == told
    assert accounts.attempt_events(seen, ledger(1, 0), (0, 0), NOW + 9) == told[1:]
    assert accounts.attempt_events(seen, ledger(1, 1), (1, 0), NOW + 9) == told[3:]
    assert accounts.attempt_events(seen, ledger(1, 2), (1, 1), NOW + 9) == []
    assert accounts.last_ended(seen) == (1, 1)


def test_figures_of_an_epoch_are_its_own():
    figures = [AttemptFigures(1, 3, ()), AttemptFigures(1, 5, (("draining", 4), ("total", 4)), epoch=1)]
    told = accounts.told(epochs(4, None), GOODPUT, figures, None, {}, NOW)
    assert [(a.label, a.lost_steps, len(a.recovery)) for a in told.attempts] == [("1", 3, 0), ("1.1", 5, 2)]


def test_the_job_is_closed_when_its_status_says_so():
    assert accounts.closing(status((1, None, None)), NOW) == []
    for kind, success in (("Complete", True), ("Failed", False)):
        condition = {"type": kind, "status": "True", "reason": "r", "lastTransitionTime": rfc3339_millis(NOW)}
        seen = status((1, 5, None), conditions=[condition], completionTime=rfc3339_millis(NOW + 5.25))
        assert accounts.closing(seen, NOW + 9) == [Closed(START + 5250, success)]


def test_events_are_told_in_the_order_of_their_times():
    late, early, same = Ticked(5), AttemptEnded(3, 1, failed=True), AttemptBegan(5, 2, 0, restart=True)
    assert accounts.in_time([late, early, same]) == [early, late, same]


def test_settings_come_from_the_spec():
    plain = accounts.settings_of(jobs.job().spec)
    assert (plain.checkpoint_interval_ms, plain.expects_reports) == (None, True)
    said = jobs.job(jobs.spec(checkpoint={"intervalSeconds": 600}, progress={"source": "none"})).spec
    assert accounts.settings_of(said).checkpoint_interval_ms == 600_000
    assert not accounts.settings_of(said).expects_reports


def test_figures_of_attempts_go_into_the_status_and_stay_there():
    seen = status((1, 5, "NodeLost"), (7, None, None))
    figures = [AttemptFigures(1, 3, ()), AttemptFigures(2, None, (("binding", 4), ("total", 9)))]
    told = accounts.told(seen, GOODPUT, figures, None, {}, NOW)
    assert [a.lost_steps for a in told.attempts] == [3, None]
    assert [(p.phase, p.ms) for p in told.attempts[1].recovery] == [("binding", 4), ("total", 9)]
    assert told.goodput is GOODPUT
    later = accounts.told(told, GOODPUT, [AttemptFigures(1, None, ())], None, {}, NOW)
    assert later.attempts == told.attempts
