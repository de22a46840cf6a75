"""A spare's accelerators are held and never productive, and the account is exact whatever becomes of spares."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.goodput import State
from drumline.core.gang.ledger.events import Event, LanesChanged, LanesResized, Ticked
from drumline.core.gang.ledger.fold import fold_all
from drumline.core.gang.ledger.ledger import Ledger
from drumline.core.gang.ledger.summary import summary
from drumline.core.gang.types import Placement
from drumline.core.training import accounts
from drumline.core.training.attempts import released
from drumline.core.training.observation import Observation
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW
from tests.unit.core.training.spare_jobs import NODES, asking, running

START = round(NOW * 1000)


def news(
    obs: Observation, known: accounts.KnownLanes, lanes: int, now: float
) -> tuple[list[Event], accounts.KnownLanes]:
    """What the ledger's keeper tells a ledger of so many lanes."""
    changed, known = accounts.lane_news(obs, obs.status, known, 0, now)
    return [*accounts.resize_news(obs, obs.status, lanes, now), *changed], known


def test_spares_have_lanes_from_the_attempts_begin_and_are_told_once() -> None:
    observation = running()
    first, known = news(observation, accounts.NO_LANES, 4, NOW + 5)
    assert LanesResized(START, 6, State.BINDING) in first
    assert {
        lane: state
        for e in first
        if isinstance(e, LanesChanged) and e.at == START
        for lane, state in e.states.items()
        if lane > 3
    } == {
        4: State.SPARE,
        5: State.SPARE,
    }
    assert len(known.lanes) == 6
    assert news(observation, known, 6, NOW + 9)[0] == []


def test_a_lost_spares_lane_goes_when_it_is_lost() -> None:
    observation = running()
    _, known = news(observation, accounts.NO_LANES, 4, NOW + 5)
    written = observation.status.placement
    assert written is not None
    status = observation.status.model_copy(
        update={"placement": written.model_copy(update={"lost_spares": (0,)})}
    )
    events, known = news(replace(observation, status=status), known, 6, NOW + 60)
    assert events == [LanesResized(START + 60_000, 5, State.BINDING)]
    assert len(known.lanes) == 5


def test_without_a_placement_there_are_no_spares_lanes() -> None:
    observation = running()
    _, known = news(observation, accounts.NO_LANES, 4, NOW + 5)
    status = released(observation.status, NOW + 60)
    events, _ = news(replace(observation, status=status, placement=None), known, 6, NOW + 60)
    assert LanesResized(START + 60_000, 4, State.QUEUED) in events


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["lose", "release", "begin", "fail", "wait"]), st.integers(1, 600), st.integers(0, 2)
    ),
    max_size=12,
)


def changed(observation: Observation, what: str, number: int) -> Observation:
    """The observation after something befell the job; the ledger is only told of statuses and pods."""
    status, written = observation.status, observation.status.placement
    if what == "lose" and written is not None and written.spares:
        lost = sorted({*(written.lost_spares or ()), number % written.spares})
        placement = written.model_copy(update={"lost_spares": tuple(lost)})
        return replace(observation, status=status.model_copy(update={"placement": placement}))
    if what == "release":
        return replace(observation, status=released(status, NOW), placement=None, pods={})
    if what == "begin":
        again = running(asking(2), NODES[: 4 + number])
        assert again.placement == Placement(NODES[: 4 + number])
        return again
    return jobs.with_pods(observation, jobs.failed) if what == "fail" else observation


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_the_account_is_exact_whatever_becomes_of_spares(steps: list[tuple[str, int, int]]) -> None:
    observation, now = running(), NOW
    ledger: Ledger = accounts.new_ledger(observation)
    known, spare_ms = accounts.NO_LANES, 0
    for what, seconds, number in steps:
        events, known = news(observation, known, len(ledger.lanes), now)
        ledger = fold_all(ledger, accounts.in_time(events))
        standing = ledger.lanes.counts
        before = ledger.at
        now += seconds
        held = len(known.lanes) - 4
        ledger = fold_all(ledger, (Ticked(round(now * 1000)),))
        spare_ms += held * (ledger.at - before)
        assert sum(standing) == len(ledger.lanes) == len(known.lanes)
        found = summary(ledger, ledger.at)
        assert sum(found.totals.values()) + found.provisional_ms == found.elapsed_ms
        assert found.totals.get(State.SPARE, 0) >= spare_ms
        assert found.totals.get(State.PRODUCTIVE, 0) + found.provisional_ms <= 4 * (
            ledger.at - ledger.started_at
        )
        assert found.spares == held
        observation = changed(observation, what, number)
