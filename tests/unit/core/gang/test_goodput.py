"""`status.goodput` from a ledger's figures; each expected number is worked out beside it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.catalog import Catalog
from drumline.api.goodput import GoodputStatus, Source, State, StepTimes, Straggler
from drumline.api.progress import CheckpointSpec, ModelSpec
from drumline.core.gang.goodput import Facts, status_of
from drumline.core.gang.goodput_flops import flops_per_token
from drumline.core.gang.goodput_ratios import predicted_ettr
from drumline.core.gang.ledger.summary import AttemptFigures, RecentSteps, Summary
from tests.unit.core.gang.goodput_figures import STARTED, UP, figures

HOUR = 3_600_000
H100 = Catalog.default()["nvidia-h100-80gb"]
CPU = Catalog.default()["cpu"]
LLAMA = ModelSpec(parameters=7.505e9, layers=32, heads=32, head_dim=128, sequence_length=8192)
FACTS = Facts(model=LLAMA, accelerator=H100)
# 32 H100 for ten hours, in chip-hours: 320 in all, of them 32 suspended, 288 active, 280 held
DAY = {
    State.SUSPENDED: 32 * HOUR,
    State.QUEUED: 8 * HOUR,
    State.IMAGE_PULL: 8 * HOUR,
    State.COMPILE: 8 * HOUR,
    State.DATA_STALL: 16 * HOUR,
    State.LOST_PROGRESS: 24 * HOUR,
    State.PRODUCTIVE: 208 * HOUR,
}


def status(found: Summary, facts: Facts = FACTS) -> GoodputStatus:
    return status_of(found, facts, found.at)


def ratio(name: str, found: Summary, facts: Facts = FACTS) -> tuple[str, str] | None:
    """(value, source)."""
    return next(((r.value, r.source) for r in status(found, facts).ratios if r.name == name), None)


def day(**more: Any) -> Summary:
    """16 of the 320 chip-hours are provisional."""
    return figures(DAY, 16 * HOUR, **more)


def test_times_and_states() -> None:
    found = status(day(last_progress_at=STARTED + 1234))
    assert found.started_at == "2025-11-20T01:00:00.000Z"
    assert found.at == "2025-11-20T02:00:00.000Z"
    assert found.last_progress_at == "2025-11-20T01:00:01.234Z"
    assert found.last_checkpoint_at is None
    assert (found.lanes, found.chips_per_lane, found.source) == (4, 8, "reported")
    assert [s.state for s in found.states] == [s.value for s in State if s in DAY]
    assert sum(s.ms for s in found.states) + found.provisional_ms == found.elapsed_ms == 320 * HOUR


def test_scheduling_goodput() -> None:
    # ready: 8 compile + 16 stall + 24 lost + 208 productive + 16 provisional = 272; 272 / 288 = 0.94444
    assert ratio("scheduling", day()) == ("0.9444", "observed")


def test_runtime_goodput() -> None:
    assert ratio("runtime", day()) == ("0.7647", "reported")  # 208 / 272


def test_ettr_and_held_goodput() -> None:
    assert ratio("ettr", day()) == ("0.7222", "reported")  # 208 / 288
    assert ratio("held", day()) == ("0.7429", "reported")  # 208 / 280


def test_data_stall_is_absent_where_nobody_told_of_any() -> None:
    assert ratio("data_stall", day()) == ("0.0588", "reported")  # 16 / 272
    assert ratio("data_stall", figures({State.PRODUCTIVE: HOUR})) is None


def test_program_goodput_and_mpg() -> None:
    # 208 chip-hours at 989e12 FLOP/s could have done 208 · 3600 · 989e12 = 7.405632e20 FLOPs
    # 6e9 tokens of 51.472450944e9 FLOPs are 3.08834705664e20: 0.41703
    found = day(tokens=6_000_000_000, seen_tokens=7_000_000_000)
    assert ratio("program", found) == ("0.4170", "estimated")
    # = 3.08834705664e20 / (288 · 3600 · 989e12 = 1.02539520e21) = 0.30119
    assert ratio("mpg", found) == ("0.3012", "estimated")


def test_reported_flops_go_before_the_models() -> None:
    found = day(tokens=1, seen_tokens=1, flops=37 * 10**19, seen_flops=4 * 10**20)
    assert ratio("program", found) == ("0.4996", "reported")  # 3.7e20 / 7.405632e20
    assert ratio("program", found, Facts(accelerator=H100)) == ("0.4996", "reported")


def test_stated_tokens_go_where_none_are_reported() -> None:
    # 1000 steps seen, 100 of them run again, 150 not covered yet: 750 · 8e6 tokens = 6e9, as above
    model = LLAMA.model_copy(update={"tokens_per_step": 8_000_000})
    found = day(step=899, committed_step=749, lost_steps=100, step_times=StepTimes(count=1000))
    assert ratio("program", found, Facts(model=model, accelerator=H100)) == ("0.4170", "estimated")


def test_mfu_of_the_latest_steps() -> None:
    # 15e6 tokens in 60 s are 250,000 a second: 12.868112736e15 / 31.648e15 = 0.40660
    found = day(recent=RecentSteps(count=50, wall_ms=60_000, tokens=15_000_000))
    assert ratio("mfu", found) == ("0.4066", "estimated")
    assert status(found).tokens_per_second == "250000.0"


def test_mfu_of_reported_flops() -> None:
    # 60 s · 31.648e15 = 1.89888e18
    found = day(recent=RecentSteps(count=50, wall_ms=60_000, tokens=15_000_000, flops=10**18))
    assert ratio("mfu", found) == ("0.5266", "reported")


def test_mfu_by_stated_tokens() -> None:
    model = LLAMA.model_copy(update={"tokens_per_step": 300_000})
    found = day(recent=RecentSteps(count=50, wall_ms=60_000))
    assert ratio("mfu", found, Facts(model=model, accelerator=H100)) == ("0.4066", "estimated")
    assert status(found, Facts(model=model)).tokens_per_second == "250000.0"
    assert status(found).tokens_per_second is None


def test_fp8_is_measured_against_its_own_peak() -> None:
    model = ModelSpec.model_validate({**LLAMA.model_dump(), "precision": "fp8"})
    found = day(recent=RecentSteps(count=50, wall_ms=60_000, tokens=15_000_000))
    # 12.868112736e15 / (32 · 1979e12 = 63.328e15) = 0.20320
    assert ratio("mfu", found, Facts(model=model, accelerator=H100)) == ("0.2032", "estimated")


def test_what_it_cost() -> None:
    found = status(day())
    assert found.cost_dollars == "3074.4000"  # 280 · 10.98
    assert found.badput_dollars == "614.8800"  # (280 − 208 − 16 = 56) · 10.98
    assert found.energy_joules == 705_600_000  # 280 · 3600 s · 700 W


def test_a_cpu_has_no_price_no_watts_and_no_peak() -> None:
    found = status(day(tokens=5, seen_tokens=5), Facts(model=LLAMA, accelerator=CPU))
    assert (found.cost_dollars, found.badput_dollars, found.energy_joules) == (None, None, None)
    assert {r.name for r in found.ratios} == {"scheduling", "runtime", "ettr", "held", "data_stall"}


def test_nothing_yet() -> None:
    found = status(figures())
    assert found.ratios == ()
    assert found.cost_dollars == "0.0000"
    assert status(figures(), Facts()).cost_dollars is None


@pytest.mark.parametrize("source", list(Source))
def test_what_follows_from_the_split_is_as_good_as_it(source: Source) -> None:
    assert ratio("runtime", day(source=source)) == ("0.7647", source.value)
    assert ratio("scheduling", day(source=source)) == ("0.9444", "observed")


def test_predicted_ettr_by_the_formula() -> None:
    # Four nodes that fail 0.0065 times a day each: λ = 0.026 a day. u₀ = 5 min, Δt = 60 min, w = 1 min:
    # lost = 0.026 · (5 + 30) / 1440 = 6.3194e-4; (1 − 6.3194e-4) / (1 + 1/60) = 0.98298
    minute, per_day = 60_000, 1 / 86_400_000
    value = predicted_ettr(0.026 * per_day, 5 * minute, 60 * minute, minute)
    assert value == pytest.approx(0.98298, abs=5e-6)
    assert predicted_ettr(1.0, minute, minute, 0) == 0


def test_predicted_ettr_from_the_jobs_own_history() -> None:
    # ready for 272 / 32 = 8.5 h of wall time, 2 failures: λ = 0.235294 an hour
    # ways back without queueing: 300 s and 500 s, so u₀ = 400 s; Δt = 600 s; 4 saves in 32 · 80 s: w = 20 s
    # lost = 0.235294 · (400 + 300) / 3600 = 0.0457516; 0.9542484 / (1 + 20/600) = 0.92347
    back = (
        AttemptFigures(1, 3, ()),
        AttemptFigures(2, 5, (("queued", 60_000), ("total", 360_000))),
        AttemptFigures(3, None, (("draining", 9_000), ("total", 500_000))),
    )
    save = {State.CHECKPOINT_SAVE: 32 * 80_000}
    found = figures(
        {**DAY, **save}, 16 * HOUR - 32 * 80_000, failures=2, attempts=back, checkpoint_saves=4, commits=4
    )
    facts = Facts(checkpoint=CheckpointSpec(interval_seconds=600))
    assert ratio("ettr_predicted", found, facts) == ("0.9235", "estimated")


def test_predicted_ettr_without_a_failure_needs_a_known_rate() -> None:
    # the first start: 8 image_pull + 8 compile chip-hours / 32 = 1800 s = u₀; Δt as seen: 3600 s; w = 0
    # λ = 4 · 0.5 a day; lost = 2 · (1800 + 1800) / 86400 = 0.083333
    found = day(commits=3, commit_gap_ms=HOUR, step_times=StepTimes(count=100))
    assert ratio("ettr_predicted", found) is None
    assert ratio("ettr_predicted", found, Facts(failures_per_node_day=0.5)) == ("0.9167", "estimated")


@pytest.mark.parametrize(
    "missing", [{"commits": 0}, {"commit_gap_ms": 0}, {"failures": 0}, {"step_times": StepTimes()}]
)
def test_predicted_ettr_is_not_guessed(missing: dict[str, Any]) -> None:
    known = {"commits": 3, "commit_gap_ms": HOUR, "failures": 1, "step_times": StepTimes(count=9)}
    assert ratio("ettr_predicted", day(**known)) is not None
    assert ratio("ettr_predicted", day(**{**known, **missing})) is None


TIMES = st.dictionaries(st.sampled_from(State), st.integers(1, 10**13), max_size=len(State))


@given(TIMES, st.integers(0, 10**13), st.floats(0, 1), st.integers(0, 50), st.integers(1, 10**7))
def test_ratios_are_ratios(
    totals: dict[State, int], provisional: int, used: float, failures: int, gap: int
) -> None:
    flops = int(used * totals.get(State.PRODUCTIVE, 0) / 1000 * 989e12)
    found = figures(
        totals,
        provisional,
        flops=flops,
        seen_flops=flops + 1,
        failures=failures,
        commits=2,
        commit_gap_ms=gap,
        step_times=StepTimes(count=1),
    )
    values = {r.name: float(r.value) for r in status(found).ratios}
    assert all(0 <= value <= 1 for value in values.values()), values
    if "mpg" in values:
        product = values["scheduling"] * values["runtime"] * values["program"]
        assert values["mpg"] == pytest.approx(product, abs=3e-4)
        assert values["ettr"] == pytest.approx(values["scheduling"] * values["runtime"], abs=2e-4)
    assert values.get("held", 1) >= values.get("ettr", 0) - 1e-9
    assert float(status(found).badput_dollars or 0) <= float(status(found).cost_dollars or 0)


@given(TIMES, st.integers(0, 10**13))
def test_the_sum_is_the_whole(totals: dict[State, int], provisional: int) -> None:
    found = status(figures(totals, provisional))
    assert sum(s.ms for s in found.states) + found.provisional_ms == found.elapsed_ms


def test_states_while_up_are_those_the_property_takes_for_ready() -> None:
    assert {State.PRODUCTIVE, State.HANG} <= UP
    assert not UP & {State.QUEUED, State.GANG_WAIT, State.IDLE_TAIL}
    assert flops_per_token(LLAMA) == pytest.approx(51.472450944e9)


def test_no_number_is_larger_than_the_api_server_takes() -> None:
    huge = 10**30
    times = StepTimes(count=huge, sum_ms=huge, buckets=(huge, 1))
    found = status(figures({State.PRODUCTIVE: 1}, tokens=huge, lost_steps=huge, step_times=times))
    most = 2**63 - 1
    assert (found.tokens, found.lost_steps) == (most, most)
    assert (found.step_times.count, found.step_times.sum_ms) == (most, most)
    assert found.step_times.buckets == (most, 1)


def test_who_was_slow_already_is_so_since_then() -> None:
    slow = {lane: Straggler(lane=lane, median_ms=900) for lane in ("0-1", "0-2")}
    first = status(day(stragglers=(slow["0-1"],)))
    assert [(s.lane, s.since) for s in first.stragglers] == [("0-1", first.at)]
    later = first.model_copy(update={"stragglers": (slow["0-1"].model_copy(update={"since": "before"}),)})
    found = status(day(stragglers=tuple(slow.values())), Facts(before=later))
    assert [(s.lane, s.since) for s in found.stragglers] == [("0-1", "before"), ("0-2", found.at)]
    assert status(day(), Facts(before=found)).stragglers == ()


def test_what_was_paid_stays_paid_when_a_price_changes() -> None:
    whole = day()
    first = status(whole)
    assert H100.price is not None
    cheap = H100.model_copy(
        update={"price": H100.price.model_copy(update={"usd_per_chip_hour": 1.0}), "watts": 1.0}
    )
    same = status(whole, Facts(accelerator=cheap, before=first))
    assert (same.cost_dollars, same.energy_joules) == (first.cost_dollars, first.energy_joules)
    later = figures({**DAY, State.PRODUCTIVE: 218 * HOUR}, 16 * HOUR)  # ten chip-hours more, at a dollar
    after = status(later, Facts(accelerator=cheap, before=first))
    assert float(after.cost_dollars or 0) == pytest.approx(float(first.cost_dollars or 0) + 10)
    assert after.energy_joules == (first.energy_joules or 0) + 36_000  # a watt for ten hours
    unpriced = status(later, Facts(accelerator=CPU, before=first))
    assert (unpriced.cost_dollars, unpriced.energy_joules) == (first.cost_dollars, first.energy_joules)
