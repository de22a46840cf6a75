"""The keeper and a gang in which every worker reports: who is slow gets into the status, with no write more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.report import Span, SpanKind
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted
from drumline.runtime.ledger_keeper import HELD_SECONDS
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW
from tests.unit.runtime.test_ledger_keeper import LANES, Stage, report, reporter, up


@pytest.fixture
def running():
    """A job of four workers that are up from NOW on, and written."""
    stage = Stage(jobs.job())
    granted = replace(stage.observation, admission=Granted(jobs.placement(stage.observation)))
    stage.look(plan=decide(granted, NOW))
    placed = replace(stage.observation, placement=jobs.placement(stage.observation))
    stage.observation = replace(placed, pods={p.name: p for p in jobs.pods(placed)})
    stage.change(up)
    stage.observation = jobs.published(stage.observation)
    stage.look()
    return stage


def tell(stage, slow=3, count=25):
    """Every worker reports its steps of a second; `slow` needs longer for its part of them."""
    receipts = []
    for index in range(LANES):
        own = 700 if index == slow else 400
        spans = [
            Span(kind=SpanKind.STEP, start_ms=i * 1000, duration_ms=1000, step=i, compute_ms=own)
            for i in range(count)
        ]
        said = report(*spans, sent=count * 1000, origin=f"o-{index}")
        receipts.append(stage.keeper.deliver(said, reporter(index)).receipt)
    return receipts


def slow(stage):
    return [(s.lane, s.median_ms) for s in stage.goodput.stragglers]


def test_who_is_slow_is_in_the_status_when_it_is_written_anyway(running):
    assert running.look(HELD_SECONDS).status is not None
    running.now += 25
    receipts = tell(running)
    assert [r.durable_ms for r in receipts] == [0, 25_000, 25_000, 25_000]
    assert running.look(HELD_SECONDS - 26).status is None
    assert slow(running) == []
    assert running.look(1).status is not None
    assert slow(running) == [("1-1", 700)]
    running.balanced()
    assert running.goodput.step == 24


def test_it_outlives_a_restart_of_the_operator_and_is_judged_anew(running):
    running.now += 25
    tell(running)
    running.look(5)
    running.keeper = running.new_keeper()
    running.look(HELD_SECONDS)
    assert slow(running) == [("1-1", 700)]
    tell(running, slow=None, count=50)
    running.look(HELD_SECONDS)
    assert slow(running) == []


def test_who_is_slow_in_one_attempt_is_not_in_the_next(running):
    running.now += 25
    tell(running)
    running.look(5)
    running.change(lambda p: jobs.failed(p, at=running.now), 1)
    running.look(5)
    assert slow(running) == [("1-1", 700)], "until another attempt begins"
    running.observation = replace(running.observation, pods={})
    running.look(10)
    assert running.observation.status.attempt == 2
    assert slow(running) == []


def test_one_that_speaks_for_all_says_nothing_of_the_others(running):
    running.now += 25
    span = Span(kind=SpanKind.STEP, start_ms=0, duration_ms=25_000, step=24, count=25, compute_ms=20_000)
    running.keeper.deliver(report(span, sent=25_000), reporter())
    running.look(5)
    assert running.goodput.step == 24
    assert slow(running) == []
