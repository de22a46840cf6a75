"""Whatever happens, the account adds up, never falls, and goes on from where it was written down."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drumline.api.goodput import MAX_RESUME, State
from drumline.core.gang.ledger.events import LanesChanged
from drumline.core.gang.ledger.fold import fold
from drumline.core.gang.ledger.resume import from_resume, to_resume
from drumline.core.gang.ledger.settings import LedgerSettings
from drumline.core.gang.ledger.summary import summary
from tests.unit.core.gang.ledger.story import Story, Worker
from tests.unit.core.gang.ledger.world import ACTIONS, World

histories = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 3000)), max_size=80)
usual = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(usual, max_examples=150)
@given(histories)
def test_any_history_adds_up(history: list[tuple[str, int]]) -> None:
    # the checks are made after each event, by Story.fold and by World.tell
    world = World()
    world.begin(0)
    for name, n in history:
        world.act(name, n)
    world.close(0)
    assert world.story.figures.provisional_ms == 0


@settings(usual, max_examples=100)
@given(histories)
def test_reports_that_come_again_change_nothing(history: list[tuple[str, int]]) -> None:
    world = World()
    world.begin(0)
    for name, n in history:
        world.act(name, n)
    world.tick(0)
    for i in range(len(world.arrived)):
        world.again(i)


@pytest.mark.parametrize("seed", range(6))
def test_long_histories_add_up(seed: int) -> None:
    rng, world = random.Random(seed), World()
    world.begin(0)
    for _ in range(600):
        world.act(rng.choice([a for a in ACTIONS if a != "close"]), rng.randrange(3000))
    world.close(0)
    assert world.story.figures.provisional_ms == 0


spans = st.lists(
    st.tuples(st.sampled_from(["step", "step", "step", "row", "phase", "commit"]), st.integers(1, 2000))
)


@settings(usual, max_examples=100)
@given(spans)
def test_one_report_says_as_much_as_many(history: list[tuple[str, int]]) -> None:
    worker, often, once = Worker(), Story().begin(0), Story().begin(0)
    often.hear(0, worker.report())
    once.hear(0, worker.report())
    for name, n in history:
        match name:
            case "step":
                worker.steps(n, stall_ms=n // 9)
            case "row":
                worker.row(1 + n % 5, n)
            case "phase":
                worker.phase("eval", n)
            case _:
                worker.commit()
        often.hear(worker.clock, worker.report())
    once.hear(worker.clock, worker.report())
    assert often.close(worker.clock, success=False).figures == once.close(worker.clock, success=False).figures


def _busy(lanes: int) -> Story:
    """As much as a ledger can hold that is unsettled."""
    rng, story = random.Random(1), Story(lanes=lanes, weight=8)
    for attempt in range(1, 12):
        story.begin(story.now + 1000, attempt, restart=attempt > 1).fail(story.now + 60_000, attempt)
    story.begin(story.now + 1000, 12, restart=True)
    main = Worker(12, origin="main", worker=1)
    for _ in range(400):
        ms = rng.randrange(300, 90_000)
        stall = ms * rng.randrange(2) * 3 // 4
        main.steps(ms, tokens=rng.randrange(10**9), flops=rng.random() * 1e21, stall_ms=stall)
        story.hear(story.now + ms, main.report())
        story.lanes(
            story.now, rng.choice([State.POD_INIT, None]), *rng.sample(range(lanes), min(lanes // 3, 50))
        )
    for i in range(15):
        worker = Worker(12, origin=rng.randbytes(32).hex(), slice=i)
        slow = {f"{i}-{w}": rng.randrange(10**5) + 10**6 * (w < 3) for w in range(1000)}
        story.hear(story.now + 10, worker.idle(rng.randrange(10**9)).report(slow=slow))
    for _ in range(40):
        story.lanes(story.now + rng.randrange(1000), State.POD_INIT, rng.randrange(lanes))
    states = {lane: rng.choice([None, *State]) for lane in range(lanes)}
    return story.fold(LanesChanged(story.now, states))


def test_what_is_unsettled_is_bounded() -> None:
    ledger = _busy(10).ledger
    assert 32 < len(ledger.buckets.buckets) <= 64
    assert 64 < len(ledger.chart.entries) <= 128
    assert 8 < len(ledger.up.runs) <= 32
    assert [len(ledger.reporters), len(ledger.stragglers), len(ledger.records)] == [16, 16, 10]
    assert [len(ledger.steps.net), len(ledger.steps.recent)] == [64, 64]


def test_the_resume_point_of_ten_thousand_lanes_is_small() -> None:
    story = _busy(10_000)
    text = to_resume(story.ledger)
    assert len(text) <= MAX_RESUME
    again = from_resume(text, story.ledger.settings)
    assert summary(again, again.at) == story.figures


def test_a_resume_point_of_very_many_lanes_keeps_the_totals() -> None:
    story = _busy(40_000)
    text = to_resume(story.ledger)
    assert len(text) <= MAX_RESUME
    again = from_resume(text, story.ledger.settings)
    figures = summary(again, again.at)
    assert (figures.totals, figures.provisional_ms) == (story.figures.totals, story.figures.provisional_ms)
    assert figures.lanes == 40_000


def test_settings_may_change_across_a_resume() -> None:
    story = Story().begin(0)
    again = from_resume(to_resume(story.ledger), LedgerSettings(expects_reports=False))
    assert again.settings.expects_reports is False
    assert fold(again, LanesChanged(5, {0: State.QUEUED})).at == 5


@pytest.mark.parametrize("text", ["", "?", "aGVsbG8=", "eJwDAAAAAAE=", "eJyLjgUAARUAuQ==", "é"])
def test_what_is_no_resume_point_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        from_resume(text, LedgerSettings())


def test_a_resume_point_that_was_cut_off_is_refused() -> None:
    text = to_resume(Story(lanes=50).begin(0).ledger)
    with pytest.raises(ValueError):
        from_resume(text[: len(text) // 8 * 4], LedgerSettings())
