"""The account of serving: states add up exactly, counters count once, and a restart of the operator loses nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.inference_status import GroupPhase, GroupStatus
from drumline.api.serving import ServingState, ServingStatus
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.types import Pod, PodTimes
from drumline.core.inference.ledger import Entry, account
from drumline.core.inference.ledger_times import Facts, spans
from drumline.core.inference.signals import EngineSample, Histogram

T0 = 1_800_000_000.0
NO_SLO = (None, None)
S = ServingState


def at(seconds: float) -> str:
    return rfc3339_millis(T0 + seconds)


def group(**changes: Any) -> GroupStatus:
    values = {
        "id": 0,
        "revision": "r",
        "attempt": 1,
        "phase": GroupPhase.SERVING,
        "nodes": ("a", "b"),
        **changes,
    }
    return GroupStatus(**values)


def pod(bound: float, prepared: float = 0, started: float = 0) -> Pod:
    moments = (T0 + m if m else 0.0 for m in (prepared, started))
    times = PodTimes(*moments)
    return Pod("ns", "p", "u", bound_at=T0 + bound if bound else 0.0, times=times)


WHOLE = Facts(
    group(queued_at=None, started_at=at(10), ready_at=at(60)),
    size=2,
    pods={0: pod(12, 15, 20), 1: pod(14, 18, 30)},
    leftovers=False,
)


def sample(second: float, running: float = 0.0, requests: float = 0.0, tokens: float = 0.0) -> EngineSample:
    return EngineSample(
        T0 + second, waiting=0.0, running=running, requests=requests, generation_tokens=tokens
    )


def states(facts: Facts, start: float, end: float) -> list[tuple[float, float, ServingState]]:
    return [(round(a - T0, 3), round(b - T0, 3), s) for a, b, s in spans(facts, T0 + start, T0 + end)]


def test_an_attempt_is_read_off_its_last_pod() -> None:
    assert states(WHOLE, 0, 100) == [
        (0, 10, S.QUEUED),
        (10, 14, S.BINDING),
        (14, 18, S.POD_INIT),
        (18, 30, S.IMAGE_PULL),
        (30, 60, S.LOADING),
        (60, 100, S.UNKNOWN),
    ]


def test_what_is_not_over_goes_on() -> None:
    half = replace(WHOLE, pods={0: pod(12, 15, 20)})
    assert states(half, 11, 40) == [(11, 40, S.BINDING)]


def test_in_service_the_samples_tell() -> None:
    page = (sample(65), sample(70, running=1), sample(75, requests=3), sample(80, requests=3))
    assert states(replace(WHOLE, samples=page), 60, 85) == [
        (60, 65, S.IDLE),
        (65, 70, S.SERVING),
        (70, 75, S.SERVING),
        (75, 80, S.IDLE),
        (80, 85, S.IDLE),
    ]


def test_a_gap_between_samples_is_unknown_unless_counters_tell() -> None:
    late = replace(WHOLE, samples=(sample(160),))
    assert states(late, 60, 160) == [(60, 160, S.UNKNOWN)]
    busy = replace(WHOLE, samples=(sample(160, requests=9),), before=sample(60, requests=2))
    assert states(busy, 60, 160) == [(60, 160, S.SERVING)]
    assert states(replace(WHOLE, samples=(sample(65),)), 70, 200) == [(70, 200, S.UNKNOWN)], "stale"


@pytest.mark.parametrize(
    ("changes", "leftovers", "state"),
    [
        ({"phase": GroupPhase.WAITING, "nodes": ()}, False, S.QUEUED),
        ({"phase": GroupPhase.BACKOFF}, True, S.DRAINING),
        ({"phase": GroupPhase.BACKOFF}, False, S.BINDING),
        ({"phase": GroupPhase.FAILED}, False, S.QUEUED),
        ({"phase": GroupPhase.DRAINING, "nodes": (), "draining_since": at(5)}, True, S.DRAINING),
    ],
)
def test_between_attempts(changes: Any, leftovers: bool, state: ServingState) -> None:
    facts = Facts(group(**changes), 2, {}, leftovers)
    assert states(facts, 0, 10) == [(0, 10, state)]


def test_draining_follows_service() -> None:
    going = replace(
        WHOLE, group=WHOLE.group.model_copy(update={"draining_since": at(80)}), samples=(sample(79),)
    )
    assert states(going, 75, 90) == [(75, 79, S.IDLE), (79, 80, S.IDLE), (80, 90, S.DRAINING)]


def entry(facts: Facts, chips: int = 8, dollars: float | None = 3.6) -> Entry:
    return Entry(facts, chips, dollars)


def total(status: ServingStatus, role: str = "serve") -> dict[str, int]:
    found = next(r for r in status.roles if r.role == role)
    return {s.state: s.ms for s in found.states}


def test_the_account_of_a_whole_life() -> None:
    first = account(None, {}, NO_SLO, T0)
    page = (sample(70, running=1), sample(75, requests=3, tokens=100), sample(80, requests=3, tokens=100))
    alive = account(first, {("serve", 0): entry(replace(WHOLE, samples=page))}, NO_SLO, T0 + 80)
    assert total(alive) == {
        "binding": 8 * 4_000,
        "image_pull": 8 * 12_000,
        "pod_init": 8 * 4_000,
        "loading": 8 * 30_000,
        "serving": 8 * 15_000,
        "idle": 8 * 5_000,
    }
    assert alive.roles[0].requests == 3
    assert alive.roles[0].generation_tokens == 100
    gone = account(alive, {}, NO_SLO, T0 + 90)
    assert total(gone)["draining"] == 8 * 10_000
    assert account(gone, {}, NO_SLO, T0 + 200).elapsed_ms == gone.elapsed_ms


def test_figures() -> None:
    page = (sample(70, running=1), sample(110, requests=40, tokens=6400))
    facts = replace(WHOLE, samples=page)
    before = account(None, {}, NO_SLO, T0 + 10)
    found = account(before, {("serve", 0): entry(facts)}, NO_SLO, T0 + 110)
    assert found.held_ms == found.elapsed_ms == 800_000
    assert found.tokens_per_accelerator_second == 8.0
    assert found.requests_per_accelerator_second == 0.05
    assert found.cost_usd == pytest.approx(0.8), "800 chip-seconds at 3.6 dollars an hour"


def test_slo_and_acceptance() -> None:
    ttft = Histogram(((0.5, 90.0), (1.0, 100.0), (float("inf"), 100.0)), 30.0, 100.0)
    tpot = Histogram(((0.05, 700.0), (float("inf"), 1000.0)), 30.0, 1000.0)
    page = (EngineSample(T0 + 70, ttft=ttft, tpot=tpot, draft_tokens=10.0, accepted_tokens=4.0),)
    found = account(None, {("serve", 0): entry(replace(WHOLE, samples=page))}, (0.5, 0.05), T0 + 70)
    role = found.roles[0]
    assert (role.ttft_met, role.ttft_measured, role.tpot_met, role.tpot_measured) == (90, 100, 700, 1000)
    assert (found.slo_attainment, found.acceptance_rate) == (0.7, 0.4)
    other = account(found, {("serve", 0): entry(replace(WHOLE, samples=page))}, (0.1, 0.05), T0 + 75)
    assert other.roles[0].ttft_measured == 100, "another promise holds for what comes"


def test_an_engine_that_began_again_counts_on() -> None:
    def seen(moment: float, requests: float, attempt: int, before: ServingStatus | None) -> ServingStatus:
        facts = replace(
            WHOLE,
            group=WHOLE.group.model_copy(update={"attempt": attempt}),
            samples=(sample(moment, requests=requests),),
        )
        return account(before, {("serve", 0): entry(facts)}, NO_SLO, T0 + moment)

    status = seen(70, 10, 1, None)
    status = seen(75, 12, 1, status)
    status = seen(80, 3, 1, status)
    status = seen(85, 4, 2, status)
    assert status.roles[0].requests == 12 + 3 + 4


def test_nonsense_to_go_on_from_begins_anew() -> None:
    odd = ServingStatus(at=at(0), resume='{"groups":[["serve",0,1]],"slo":7}')
    found = account(odd, {("serve", 0): entry(WHOLE)}, NO_SLO, T0 + 5)
    assert sum(total(found).values()) == found.elapsed_ms


MOMENTS = st.lists(st.floats(0.001, 50), min_size=1, max_size=12)


@given(MOMENTS, st.integers(1, 64), st.randoms(use_true_random=False))
def test_states_add_up_to_the_whole_and_never_fall(steps: list[float], chips: int, random: Any) -> None:
    """Whatever happens between two accounts, each group's time is in exactly one state."""
    now, status, expected = T0, account(None, {}, NO_SLO, T0), 0
    alive: dict[int, Facts] = {}
    requests: dict[int, float] = {}
    for number, step in enumerate(steps):
        later = round(now + step, 3)
        chosen = random.choice(["new", "end", "restart", "stay"])
        ended = 0
        if chosen == "new":
            fresh = group(
                id=number, attempt=0, phase=GroupPhase.WAITING, nodes=(), queued_at=rfc3339_millis(now)
            )
            alive[number] = Facts(fresh, 2, {}, leftovers=False)
        elif chosen == "end" and alive:
            alive.popitem()
            ended = 1
        elif chosen == "restart" and alive:
            key = random.choice(sorted(alive))
            begun = group(
                id=key, attempt=number + 1, started_at=rfc3339_millis(now), ready_at=rfc3339_millis(later)
            )
            requests[key] = requests.get(key, 0) + random.randint(0, 3)
            page = (EngineSample(later, running=0.0, requests=requests[key]),)
            alive[key] = Facts(begun, 2, {0: pod(1, 1, 1), 1: pod(1, 1, 1)}, False, page)
        after = account(status, {("serve", k): entry(f, chips) for k, f in alive.items()}, NO_SLO, later)
        expected += chips * (round(later * 1000) - round(now * 1000)) * (len(alive) + ended)
        assert after.elapsed_ms == expected
        assert after == account(
            status, {("serve", k): entry(f, chips) for k, f in alive.items()}, NO_SLO, later
        )
        for role in status.roles:
            mine = next(r for r in after.roles if r.role == role.role)
            old = {s.state: s.ms for s in role.states}
            assert all(old.get(s.state, 0) <= s.ms for s in mine.states)
            assert mine.requests >= role.requests
        now, status = later, after


@given(st.lists(st.integers(1, 299), max_size=8, unique=True))
def test_when_it_is_written_changes_nothing(cuts: list[int]) -> None:
    """An account in many steps, an operator restarted between any of them, is the account in one."""
    page = tuple(
        sample(second, running=float(second % 20 == 0), requests=second // 20) for second in range(60, 301, 5)
    )

    def told(second: float) -> Entry:
        seen = tuple(s for s in page if s.at <= T0 + second)
        asked = WHOLE.group.model_copy(update={"queued_at": at(0)})
        return entry(replace(WHOLE, group=asked, samples=seen))

    begin = account(None, {}, NO_SLO, T0)
    stepwise = begin
    for cut in sorted(cuts):
        stepwise = account(stepwise, {("serve", 0): told(cut)}, NO_SLO, T0 + cut)
    stepwise = account(stepwise, {("serve", 0): told(300)}, NO_SLO, T0 + 300)
    once = account(begin, {("serve", 0): told(300)}, NO_SLO, T0 + 300)
    assert stepwise.elapsed_ms == once.elapsed_ms
    assert stepwise.roles[0].requests == once.roles[0].requests
    for state in (S.QUEUED, S.BINDING, S.POD_INIT, S.IMAGE_PULL):
        assert total(stepwise).get(state.value) == total(once).get(state.value)


def test_a_clock_that_goes_back_adds_nothing() -> None:
    status = account(None, {("serve", 0): entry(WHOLE)}, NO_SLO, T0 + 50)
    back = account(status, {("serve", 0): entry(WHOLE)}, NO_SLO, T0 + 20)
    assert (back.elapsed_ms, back.at) == (status.elapsed_ms, status.at)
    assert unix(back.at) == T0 + 50


@pytest.mark.parametrize("word", [2.0**62, 1e300])
def test_whatever_an_engine_counts_the_status_can_be_written(word: float) -> None:
    status = None
    for second, requests in ((70, word), (80, 0.0), (90, word)) * 700:
        page = (sample(second, requests=requests),)
        status = account(status, {("serve", 0): entry(replace(WHOLE, samples=page))}, NO_SLO, T0 + second)
    assert status is not None
    assert 0 < status.roles[0].requests < 2**63
