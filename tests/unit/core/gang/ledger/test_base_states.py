"""Lanes that are not up: pods and nodes alone say what their time goes into."""

from drumline.api.goodput import Source, State
from drumline.core.gang.ledger.events import AttemptBegan, AttemptEnded, Closed, Ticked
from drumline.core.gang.ledger.fold import fold, fold_all
from tests.unit.core.gang.ledger.story import Story


def test_a_new_jobs_lanes_are_queued() -> None:
    story = Story().tick(1000)
    assert story.figures.totals == {State.QUEUED: 8000}
    assert story.figures.held_ms == 0
    assert story.figures.source is Source.OBSERVED
    assert story.figures.current == "queued"


def test_each_lane_has_its_own_state() -> None:
    story = Story().lanes(1000, State.IMAGE_PULL, 0).lanes(3000, State.POD_INIT, 1).tick(4000)
    assert story.figures.totals == {State.QUEUED: 16_000, State.IMAGE_PULL: 12_000, State.POD_INIT: 4000}
    assert story.figures.held_ms == 16_000


def test_a_late_change_counts_from_where_the_account_stands() -> None:
    story = Story().tick(5000).lanes(2000, State.BINDING).tick(6000)
    assert story.ms(State.QUEUED) == 5000
    assert story.ms(State.BINDING) == 1000


def test_a_lane_the_gang_does_not_have_is_no_matter() -> None:
    story = Story().lanes(0, State.BINDING, 7, -1).tick(1000)
    assert story.ms(State.QUEUED) == 1000


def test_the_same_change_twice_is_one() -> None:
    story = Story().lanes(1000, State.BINDING)
    before = story.figures
    assert story.lanes(1000, State.BINDING).figures == before


def test_folding_leaves_the_ledger_it_was_given_alone() -> None:
    story = Story().begin(1000)
    before = story.ledger
    was = story.figures
    fold(before, Closed(9000, success=True))
    assert story.tick(1000).figures == was


def test_folding_all_at_once_is_the_same() -> None:
    events = [AttemptBegan(10, 1, 0, restart=False), Ticked(500), AttemptEnded(900, 1, failed=True)]
    one = Story()
    for event in events:
        one.fold(event)
    assert fold_all(Story().ledger, events).totals == one.ledger.totals


def test_lanes_that_join_begin_in_a_state_and_those_that_leave_cease() -> None:
    story = Story().lanes(0, State.BINDING).resize(1000, 3, State.PROVISIONING).tick(2000)
    assert story.figures.totals == {State.BINDING: 16_000, State.PROVISIONING: 4000}
    story.resize(2000, 1).tick(3000)
    assert story.figures.totals == {State.BINDING: 20_000, State.PROVISIONING: 4000}
    assert story.figures.elapsed_ms == 24_000


def test_only_lanes_that_are_up_take_part_in_what_is_done() -> None:
    story = Story().begin(0).lanes(0, State.QUEUED, 1).tick(1000)
    assert story.figures.provisional_ms == 4000
    assert story.figures.totals == {State.QUEUED: 4000}
    assert story.figures.gang_ready_ms == 0


def test_the_gang_is_ready_when_all_are_up_or_have_done_their_work_or_stand_by() -> None:
    story = Story(lanes=3).begin(0).tick(1000)
    assert story.figures.gang_ready_ms == 12_000
    story.lanes(1000, State.IDLE_TAIL, 0).lanes(1000, State.SPARE, 1).tick(2000)
    assert story.figures.gang_ready_ms == 24_000
    assert story.figures.totals == {State.IDLE_TAIL: 4000, State.SPARE: 4000}
    story.lanes(2000, State.DRAINING, 0).tick(3000)
    assert story.figures.gang_ready_ms == 24_000


def test_time_after_a_failure_is_the_price_of_a_restart() -> None:
    story = Story().lanes(1000, State.POD_INIT).begin(2000)
    assert story.figures.restart == {}
    story.fail(3000).lanes(5000, State.SUSPENDED).tick(6000)
    assert story.restart_ms(State.DRAINING) == 2000
    assert story.restart_ms(State.SUSPENDED) == 0
    assert story.figures.failures == 1


def test_a_requeue_without_a_failure_costs_no_restart() -> None:
    story = Story().begin(0).fold(AttemptEnded(1000, 1, failed=False)).lanes(1000, State.QUEUED)
    story.fold(AttemptBegan(2000, 2, 0, restart=False)).lanes(2000, State.POD_INIT).tick(3000)
    assert story.figures.restart == {}
    assert story.figures.failures == 0


def test_processes_that_outlive_their_attempt_drain() -> None:
    story = Story().begin(0).fold(AttemptEnded(1000, 1, failed=True)).tick(3000)
    assert story.ms(State.DRAINING) == 2000
    assert story.restart_ms(State.DRAINING) == 2000


def test_an_attempt_that_began_already_does_not_begin_again() -> None:
    story = Story().begin(0, 2).tick(1000)
    story.fold(AttemptBegan(1000, 1, 0, restart=True)).fold(AttemptBegan(1000, 2, 0, restart=True))
    assert story.figures.attempt == 2
    assert story.figures.failures == 0


def test_a_new_attempt_ends_the_one_before() -> None:
    story = Story().begin(0, 1).tick(1000).begin(1000, 2, restart=True)
    assert story.figures.failures == 1
    assert story.ms(State.LOST_PROGRESS) == 1000


def test_the_end_of_another_attempt_is_no_matter() -> None:
    story = Story().begin(0, 2).fold(AttemptEnded(1000, 1, failed=True)).tick(2000)
    assert story.figures.failures == 0
    assert story.provisional == 2000


def test_a_clock_that_goes_back_stops_the_account() -> None:
    story = Story().tick(10_000).tick(4000).lanes(5000, State.BINDING).tick(11_000)
    assert story.ms(State.QUEUED) == 10_000
    assert story.ms(State.BINDING) == 1000


def test_nothing_happens_after_the_end() -> None:
    story = Story().lanes(0, State.BINDING).close(1000, success=False).tick(9000).begin(9000)
    assert story.figures.elapsed_ms == 8000
    assert story.figures.ended_at == 1000
    assert story.figures.attempt == 0
