"""Reports that come late, twice, out of order, from others, or that were merged by their sender."""

from drumline.api.goodput import State
from drumline.core.gang.ledger.events import Reported
from drumline.core.gang.ledger.fold import durable_ms, fold, is_stale
from drumline.core.gang.ledger.resume import to_resume
from tests.unit.core.gang.ledger.story import Story, Worker


def test_a_report_twice_is_a_report_once() -> None:
    report = Worker().steps(1000, 100, 100, 100, 100).commit(3).report()
    story = Story().begin(0).hear(1400, report)
    before = story.figures
    assert story.hear(1400, report).figures == before
    after = story.hear(9000, report).figures
    assert (after.totals, after.step_times) == (before.totals, before.step_times)
    assert story.provisional == 200 + 7600


def test_a_report_that_was_lost_is_made_good_by_the_next() -> None:
    worker = Worker().steps(1000, 100, 100)
    story = Story().begin(0).hear(1200, worker.report())
    worker.steps(100, 100)
    worker.steps(100, 100)
    story.hear(1600, worker.report())
    assert story.figures.step == 7
    assert story.ms(State.UNKNOWN) == 0


def test_an_older_report_adds_nothing() -> None:
    worker = Worker().steps(1000, 100)
    old = worker.report()
    new = worker.steps(100, 100, 100).report()
    story = Story().begin(0).hear(1400, new)
    before = story.figures
    assert story.hear(1400, old).figures == before


def test_stale_and_early_reports_are_ignored() -> None:
    story = Story().begin(0, 2)
    for attempt, epoch in ((1, 0), (3, 0), (2, 1)):
        report = Worker(attempt).steps(1000).report(epoch=epoch)
        assert is_stale(story.ledger, report)
        assert durable_ms(story.ledger, report) == 0
        story.hear(2000, report)
    assert story.figures.step == -1
    assert story.provisional == 2000


def test_what_is_on_record_need_not_come_again() -> None:
    story, worker = Story().begin(0), Worker().steps(1000, 100).idle(30)
    assert durable_ms(story.ledger, worker.report()) == 0
    story.hear(1130, worker.report())
    assert durable_ms(story.ledger, worker.report()) == 1100
    story.hear(1330, worker.forget().steps(100, 100).report())
    assert story.figures.step == 4


def test_a_report_that_takes_less_time_moves_the_clock_earlier() -> None:
    worker = Worker().steps(1000, 100, 100, 100)
    story = Story().begin(0).hear(1800, worker.report())  # 500 ms under way
    assert story.figures.last_progress_at == 1800
    story.hear(2000, worker.idle(400).steps(200).report())  # 100 ms
    assert story.figures.last_progress_at == 2000
    # what it tells of before the frontier was accounted then and is not again
    assert story.ms(State.UNKNOWN) == 0
    story.hear(2400, worker.idle(200).steps(200).report())
    assert story.ms(State.UNKNOWN) == 200


def test_a_report_that_takes_longer_moves_nothing() -> None:
    worker = Worker().steps(1000, 100, 100, 100)
    story = Story().begin(0).hear(1300, worker.report()).hear(1900, worker.steps(100).report())
    assert story.figures.last_progress_at == 1400


def test_a_span_cannot_end_in_the_future() -> None:
    worker = Worker().steps(1000, 100, 100, 100)
    story = Story().begin(0).hear(1300, worker.report(sent_ms=1000))
    assert story.figures.last_progress_at == 1300
    assert story.figures.step == 4
    assert story.ms(State.COMPILE) + story.provisional == 1300


def test_time_in_which_lanes_were_not_up_is_not_told_of() -> None:
    worker = Worker().phase("device_init", 2000).steps(1000, 100, 100, 100)
    story = Story().lanes(0, State.POD_INIT).begin(1500).hear(3300, worker.report())
    assert story.ms(State.POD_INIT) == 1500
    assert story.ms(State.DEVICE_INIT) == 500


def test_reports_apply_to_the_lanes_that_are_up() -> None:
    worker = Worker().steps(1000, 100, 100, 100, 100)
    story = Story(lanes=4).begin(0).lanes(0, State.QUEUED, 2, 3).hear(1400, worker.commit().report())
    assert story.figures.totals[State.PRODUCTIVE] == 2 * 4 * 500
    assert story.figures.totals[State.QUEUED] == 2 * 4 * 1400


def test_lanes_that_come_and_go_within_a_span() -> None:
    story, worker = Story().begin(0), Worker().steps(1000, 100, 100, 100)
    story.hear(1300, worker.report()).lanes(1400, State.POD_INIT, 1).lanes(1500, None, 1)
    story.hear(1700, worker.steps(400).commit().report())
    assert story.figures.totals[State.PRODUCTIVE] == 8 * 400 + 8 * 400 - 4 * 100


def test_an_elastic_gang_grows() -> None:
    story, worker = Story(lanes=1).begin(0), Worker().steps(1000, 100, 100, 100)
    story.hear(1300, worker.report()).resize(1300, 2, State.POD_INIT).lanes(1500, None)
    story.hear(2000, worker.idle(200).steps(500).commit().report())
    assert story.figures.totals[State.POD_INIT] == 4 * 200
    assert story.figures.totals[State.PRODUCTIVE] == 4 * 400 + 8 * 500


def test_a_row_of_steps_merged_over_what_is_on_record_is_cut_there() -> None:
    story, worker = Story().begin(0), Worker().steps(1000, 100, 100, 100, 100)
    story.hear(1400, worker.report())
    merged = Worker().idle(1000)
    merged.step = 1
    merged.row(8, 800, stall_ms=80, tokens=800)
    story.hear(1800, merged.report())
    assert story.figures.step == 9
    assert story.figures.step_times.count == 9
    assert story.ms(State.DATA_STALL) == 40
    assert story.figures.seen_tokens == 400
    assert story.provisional == 860


def test_slices_that_tell_of_the_same_steps_count_them_once() -> None:
    story, one = Story().begin(0), Worker(origin="a").steps(1000, 100, 100, 100)
    other = Worker(origin="b", slice=1).steps(1000, 100, 100, 110)
    story.hear(1300, one.report()).hear(1310, other.report())
    assert story.figures.step_times.count == 4
    assert story.figures.lost_steps == 0
    assert story.provisional == 410
    one.steps(100)
    story.hear(1420, other.steps(100).report()).hear(1420, one.report())
    assert story.figures.step_times.count == 5
    assert story.provisional == 510 + 10


def test_a_follower_of_the_log_may_begin_again_without_the_processes_having_done_so() -> None:
    story, log = Story().begin(0), Worker(origin="a", source="log").steps(1000, 100, 100, 100)
    story.hear(1300, log.report())
    again = Worker(origin="b", source="log").steps(1000, 100, 100, 100, 100)
    story.hear(1400, again.report())
    assert (story.figures.step, story.figures.step_times.count) == (5, 5)
    assert (story.figures.lost_steps, story.ms(State.COMPILE)) == (0, 900)


def test_a_process_that_begins_again_compiles_again_and_goes_on_from_its_checkpoint() -> None:
    story, worker = Story().begin(0), Worker(origin="a").steps(1000, *[100] * 9)
    old = worker.report()
    story.hear(1900, old)
    again = Worker(origin="b").idle(50)
    again.step = 6
    story.hear(2800, again.steps(550, 100, 100, 100).report())
    assert story.figures.lost_steps == 4
    assert story.ms(State.COMPILE) == 900 + 500
    before = story.figures
    assert story.hear(2800, old).figures == before


def test_more_reporters_than_an_epoch_has_are_left_out() -> None:
    story = Story().begin(0)
    for i in range(20):
        story.hear(1000 + i, Worker(origin=f"o{i}", slice=i).steps(500).report())
    assert len(story.ledger.reporters) == 16


def test_processes_that_were_started_again_many_times_are_all_heard() -> None:
    story = Story().begin(0)
    for life in range(40):
        worker = Worker(origin=f"o{life}")
        worker.step = 3 * life
        story.hear(300 * (life + 1), worker.steps(100, 100, 100).report())
    assert (story.figures.step, len(story.ledger.reporters)) == (120, 16)
    assert sum(not r.replaced for r in story.ledger.reporters) == 1
    story.hear(12_000, Worker(origin="o38").steps(100).report())
    assert story.figures.step == 120, "one that was replaced is not heard any more"


def test_reports_that_come_when_an_attempt_is_accounted_for_change_no_time() -> None:
    story, worker = Story().begin(0), Worker().steps(1000, *[100] * 9)
    story.hear(1900, worker.report()).fail(2100).tick(63_000)
    before = story.figures.totals
    story.hear(63_000, worker.steps(200).commit(5).report())
    assert story.figures.totals == before | {State.PRODUCTIVE: 8 * 500}


def test_a_clock_that_is_set_back_loses_steps_no_time() -> None:
    story, worker = Story().begin(100_000), Worker().steps(1000, 100, 100, 100)
    story.hear(101_300, worker.report())
    story.hear(71_400, worker.steps(100).report())  # 30 s back
    assert (story.figures.step, story.provisional) == (5, 400)
    for _ in range(40):
        worker.steps(1000)
    story.hear(111_400, worker.report())
    assert story.figures.step == 45
    assert story.provisional == 400 + 10_100
    assert story.ms(State.UNKNOWN) == 0


def test_workers_slower_than_three_mads_are_stragglers() -> None:
    medians = {f"0-{i}": 100 + i % 3 for i in range(9)}
    story = Story().begin(0).hear(0, Worker().report(slow=medians | {"0-9": 130, "0-10": 150}))
    assert [(s.lane, s.median_ms) for s in story.figures.stragglers] == [("0-10", 150), ("0-9", 130)]
    story.hear(10, Worker().report(sent_ms=10, slow=medians | {"0-9": 101, "0-10": 150}))
    assert [s.lane for s in story.figures.stragglers] == ["0-10"]
    story.begin(20, 2, restart=True)
    assert story.figures.stragglers == ()


def test_a_step_without_a_number_is_the_next() -> None:
    story, worker = Story().begin(0), Worker().steps(1000, 100, 100, 100)
    report = worker.report()
    span = report.spans[-1].model_copy(update={"step": -1, "start_ms": 1300})
    story.hear(1400, report.model_copy(update={"spans": (*report.spans, span), "sent_ms": 1400}))
    assert story.figures.step == 5


def test_where_one_slice_went_on_from_is_not_asked_of_another_again() -> None:
    story, other = Story().begin(0), Worker(origin="b", slice=1).steps(1000, 100, 100, 100)
    other_says = other.report(resumed_step=0)
    story.hear(1300, other_says).hear(1310, Worker(origin="a").report())
    story.hear(1310, Worker(origin="c").report())
    before = story.figures
    assert story.hear(1310, other_says).figures == before


def test_the_last_words_of_a_life_that_is_over_come_too_late() -> None:
    story, old = Story().begin(0), Worker(origin="a").steps(1000, *[100] * 9)
    story.hear(1900, old.report()).hear(1900, Worker(origin="b").report())
    before = story.figures
    assert story.hear(1900, old.steps(100).report()).figures == before


def test_parts_of_a_step_are_clamped_to_what_is_new_of_its_time() -> None:
    story, worker = Story().begin(0), Worker().steps(1000, 100, 100, 100)
    story.hear(1700, worker.report())  # 400 ms under way
    story.hear(1700, Worker(origin="b", slice=1).phase("eval", 10).report(sent_ms=1400))
    story.hear(1900, worker.steps(600, stall_ms=550).report())  # at once: its first 400 ms are accounted
    assert story.ms(State.DATA_STALL) == 200


def test_a_commit_that_proved_wrong_is_not_believed_again() -> None:
    story, worker = Story().begin(0), Worker().steps(1000, *[100] * 9).commit(10)
    story.hear(1900, worker.report())
    worker.step = 5
    worker.steps(100, 100)
    story.hear(2100, worker.report()).hear(2200, worker.steps(100).report())
    assert story.figures.committed_step == 5
    assert story.figures.lost_steps == 5
    assert story.provisional == 300


def test_a_commit_covers_the_steps_before_it_in_time() -> None:
    worker = Worker().steps(1000, *[100] * 9).commit(10)
    worker.step = 5
    story = Story().begin(0).hear(2000, worker.steps(100).report())
    assert story.ms(State.PRODUCTIVE) == 1000
    assert story.provisional == 100


def test_going_back_before_the_first_step_was_split() -> None:
    worker = Worker().steps(1000, 100)
    worker.step = 0
    story = Story().begin(0).hear(1300, worker.steps(100, 100).report())
    assert (story.ms(State.COMPILE), story.ms(State.LOST_PROGRESS)) == (900, 200)
    assert story.provisional == 200


def test_a_late_report_of_a_first_attempt_is_no_price_of_the_restart() -> None:
    story = Story().begin(0).fail(2000)
    story.hear(2000, Worker().phase("device_init", 500).phase("checkpoint_restore", 1500).report())
    assert story.ms(State.CHECKPOINT_RESTORE) == 1500
    assert story.figures.restart == {}


def test_folding_a_report_leaves_the_ledger_it_was_folded_into_alone() -> None:
    worker = Worker().steps(1000, 100, 100)
    story = Story().begin(0).hear(1200, worker.report(slow={"0-0": 1, "0-1": 1, "0-2": 9}))
    before, text = story.ledger, to_resume(story.ledger)
    for _ in range(2):
        after = fold(before, Reported(1600, worker.steps(100, 100).commit().report(slow={"0-3": 5})))
        assert after.step > 3
        assert to_resume(before) == text
