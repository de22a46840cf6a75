"""Steps and phases become spans that are in order, do not overlap, and add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.report import MAX_SPANS, Span
from drumline.worker.timeline import DATA_WAIT, FIRST_STEPS, PHASES, STEP, Timeline


def _wire(timeline: Timeline) -> list[dict[str, object]]:
    return [span.to_wire() for span in timeline.spans]


def _phase(timeline: Timeline, kind: str, start: int, end: int) -> None:
    timeline.begin(kind, start)
    timeline.end(end)


def test_steps_follow_each_other_without_a_gap() -> None:
    timeline = Timeline()
    timeline.step(0, 5000, tokens=10, flops=2.5)
    timeline.step(1, 6000)
    assert _wire(timeline) == [
        {"kind": "step", "startMs": 0, "durationMs": 5000, "step": 0, "tokens": 10, "flops": 2.5},
        {"kind": "step", "startMs": 5000, "durationMs": 1000, "step": 1},
    ]


def test_phases_before_the_first_step_stand_alone() -> None:
    timeline = Timeline()
    _phase(timeline, "device_init", 10, 500)
    _phase(timeline, "data_wait", 600, 700)
    timeline.step(1, 1700)
    assert [(s.kind, s.start, s.duration) for s in timeline.spans] == [
        ("device_init", 10, 490),
        ("data_wait", 600, 100),
        ("step", 700, 1000),
    ]


def test_a_save_at_the_edge_of_a_step_stands_alone_and_one_within_is_a_part() -> None:
    timeline = Timeline()
    timeline.step(1, 10_000)
    _phase(timeline, "checkpoint_save", 10_050, 13_000)
    _phase(timeline, "eval", 18_000, 19_000)
    timeline.step(2, 23_000)
    assert _wire(timeline)[1:] == [
        {"kind": "checkpoint_save", "startMs": 10_000, "durationMs": 3000},
        {"kind": "step", "startMs": 13_000, "durationMs": 10_000, "step": 2, "evalMs": 1000},
    ]


def test_waiting_for_data_is_the_steps_stall() -> None:
    timeline = Timeline()
    timeline.step(1, 1000)
    _phase(timeline, "data_wait", 1000, 1300)
    _phase(timeline, "data_wait", 1500, 1600)
    timeline.step(2, 2000)
    assert _wire(timeline)[1] == {
        "kind": "step",
        "startMs": 1000,
        "durationMs": 1000,
        "step": 2,
        "stallMs": 400,
    }


def test_own_work_is_told_without_the_phases_in_it() -> None:
    timeline = Timeline()
    timeline.step(1, 1000)
    timeline.begin_work(1000)
    _phase(timeline, "data_wait", 1050, 1250)
    timeline.begin_work(1300)  # one within another is the same work
    timeline.end_work(1350)
    timeline.end_work(1400)
    timeline.worked(50)
    timeline.step(2, 2000)
    assert _wire(timeline)[1] == {
        "kind": "step",
        "startMs": 1000,
        "durationMs": 1000,
        "step": 2,
        "stallMs": 200,
        "computeMs": 250,
    }
    timeline.step(3, 3000)
    assert "computeMs" not in _wire(timeline)[2]


def test_own_work_that_a_step_ends_in_is_divided_there() -> None:
    timeline = Timeline()
    timeline.begin_work(0)
    timeline.step(1, 1000)
    timeline.end_work(1300)
    timeline.step(2, 2000)
    assert [s.compute_ms for s in timeline.spans] == [1000, 300]


def test_own_work_is_no_longer_than_what_other_parts_leave() -> None:
    timeline = Timeline()
    timeline.step(1, 1000)
    _phase(timeline, "data_wait", 1000, 1900)
    timeline.worked(10**15)
    timeline.step(2, 2000)
    timeline.worked(-5)
    timeline.step(3, 3000)
    assert [s.compute_ms for s in timeline.spans] == [0, 100, 0]


def test_rows_of_short_steps_have_the_work_of_all() -> None:
    timeline = Timeline()
    for step in range(FIRST_STEPS + 12):
        timeline.worked(3)
        timeline.step(step, (step + 1) * 10)
    assert sum(s.compute_ms for s in timeline.spans) == 3 * (FIRST_STEPS + 12)
    assert len(timeline.spans) < FIRST_STEPS + 12


def test_an_inner_phase_belongs_to_the_outer_one() -> None:
    timeline = Timeline()
    timeline.begin("checkpoint_restore", 0)
    _phase(timeline, "data_wait", 10, 20)
    assert timeline.open == ("checkpoint_restore", 0)
    timeline.end(100)
    assert timeline.open is None
    assert [(s.kind, s.duration) for s in timeline.spans] == [("checkpoint_restore", 100)]


def test_an_unknown_phase_is_an_error_and_leaves_nothing_open() -> None:
    timeline = Timeline()
    with pytest.raises(ValueError, match="no phase 'lunch'"):
        timeline.begin("lunch", 0)
    assert timeline.open is None


@pytest.mark.parametrize(
    ("resumed", "steps", "counts"),
    [
        (None, [10, 20, 30], [1, 10, 10]),
        (0, [10, 20], [10, 10]),
        (100, [101, 102], [1, 1]),
        (None, [50, 40], [1, 1]),  # back to a checkpoint
        (None, [1, 900_000], [1, 1]),  # a jump
    ],
)
def test_steps_between_two_reports_are_counted(
    resumed: int | None, steps: list[int], counts: list[int]
) -> None:
    timeline = Timeline()
    if resumed is not None:
        timeline.resume(resumed)
    for index, step in enumerate(steps):
        timeline.step(step, 1000 * (index + 1))
    assert [s.count for s in timeline.spans] == counts


def test_what_is_durable_is_forgotten() -> None:
    timeline = Timeline()
    for step in range(5):
        timeline.step(step, 1000 * (step + 1))
        timeline.commit(step, 1000 * (step + 1))
    timeline.acknowledge(3000)
    assert [s.step for s in timeline.spans] == [3, 4]
    assert [step for step, _ in timeline.commits] == [3, 4]


def test_short_steps_are_merged_but_not_the_first() -> None:
    timeline = Timeline()
    for step in range(200):
        timeline.step(step, 10 * (step + 1))
    single = [s for s in timeline.spans if s.count == 1]
    assert len(single) == FIRST_STEPS
    assert sum(s.count for s in timeline.spans) == 200
    assert len(timeline.spans) < 30


def test_a_full_buffer_loses_no_time() -> None:
    timeline = Timeline(limit=50)
    for step in range(1000):
        timeline.step(step, 500 * (step + 1), tokens=3)
    assert len(timeline.spans) <= 50
    assert timeline.dropped == 0
    assert sum(s.duration for s in timeline.spans) == 500_000
    assert sum(s.tokens for s in timeline.spans) == 3000


def test_what_cannot_be_merged_is_dropped_and_counted() -> None:
    timeline = Timeline(limit=10)
    for index in range(30):
        _phase(timeline, "compile", 1000 * index, 1000 * index + 500)
    assert len(timeline.spans) == 10
    assert timeline.dropped == 20


_ACTIONS = st.lists(
    st.tuples(st.sampled_from([STEP, *sorted(PHASES), "end"]), st.integers(0, 5000), st.integers(-3, 10**7)),
    max_size=120,
)


@given(_ACTIONS, st.sampled_from([3, 20, 1200]))
def test_spans_are_always_in_order_and_valid(actions: list[tuple[str, int, int]], limit: int) -> None:
    timeline = Timeline(limit)
    now = 0
    for what, later, step in actions:
        now += later
        if what == STEP:
            timeline.step(step, now, tokens=step, flops=float(step))
        elif what == "end":
            timeline.end(now)
        else:
            timeline.begin(what, now)
    assert len(timeline.spans) <= limit <= MAX_SPANS
    end = 0
    for wire in _wire(timeline):
        span = Span.model_validate(wire)
        assert span.start_ms >= end
        end = span.start_ms + span.duration_ms
        assert span.stall_ms + span.save_ms + span.eval_ms <= span.duration_ms
        assert span.kind == STEP or span.step == -1
    assert end <= now


def test_a_step_longer_than_its_parts_say() -> None:
    timeline = Timeline()
    timeline.step(0, 0)
    timeline.begin(DATA_WAIT, 0)
    timeline.step(1, 50)  # within the wait: the wait goes on
    timeline.end(80)
    timeline.step(2, 100)
    assert [s.stall_ms for s in timeline.spans] == [0, 0, 30]


def test_what_follows_the_last_step_is_no_part_of_a_step() -> None:
    timeline = Timeline()
    timeline.step(1, 1000)
    timeline.step(2, 2000)
    _phase(timeline, "eval", 2600, 3000)  # too late to stand at the step's edge
    _phase(timeline, "checkpoint_save", 3100, 3500)
    assert [s.kind for s in timeline.spans] == [STEP, STEP]
    for _ in range(2):  # a last report may be sent again
        timeline.finish()
        assert [(s.kind, s.start, s.duration) for s in timeline.spans[2:]] == [
            ("eval", 2600, 400),
            ("checkpoint_save", 3100, 400),
        ]
