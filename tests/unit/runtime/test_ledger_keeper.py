"""The keeper of ledgers: what goes into which status when, what a restart keeps, what a report gets for an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.goodput import GoodputStatus, State
from drumline.api.progress import ProgressSource
from drumline.api.reasons import ConditionType
from drumline.api.report import Commit, JobRef, Report, ReportSource, Span, SpanKind
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.plan import Plan
from drumline.core.training import conditions
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted, Settings
from drumline.runtime import ledger_keeper
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.ingest.verdicts import Accepted, Forbidden, Reporter, Stale, Unavailable
from drumline.runtime.ledger_keeper import HELD_SECONDS, WAITING_SECONDS, LedgerKeeper
from drumline.runtime.records import JobRecord
from drumline.runtime.workqueue import WorkQueue
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import CATALOG, NOW, UID

CREATED = NOW - 5  # as `jobs.job` has it
LANES = 4


class Stage:
    """A job whose plans are applied by hand, before a keeper with a clock of its own."""

    def __init__(self, observation):
        self.now = NOW
        self.observation = observation
        clocks = Clocks(lambda: self.now, lambda: self.now)
        self.world = Controller(None, WorkQueue(), Catalogue(CATALOG), Settings(), clocks).world
        self.meter = Meter()
        self.keeper = self.new_keeper()
        self.show()

    def new_keeper(self):
        """As after a restart of the operator."""
        return LedgerKeeper(self.world, self.meter, lambda: self.now)

    def show(self):
        o = self.observation
        record = JobRecord(o.job, o.spec, o.errors, o.shape, o.roster, o.status, o.catalog)
        self.world.jobs.store.put(record.key, record)
        for pod in o.pods.values():
            self.world.pods.store.put((pod.namespace, pod.name), pod)

    def look(self, seconds=0.0, *, written=True, plan=None):
        """One reconcile after so many seconds; what is written shows. Returns the plan."""
        self.now += seconds
        plan = plan or decide(self.observation, self.now)
        draft = self.keeper.draft(self.observation, plan, plan)
        draft.begin()
        self.keeper.settle(self.observation, draft, written=written)
        status = draft.plan.status or draft.plan.intent
        if written and status is not None:
            after = TrainingJobStatus.model_validate(status)
            self.observation = replace(self.observation, status=after)
        self.show()
        return draft.plan

    def change(self, change, index=None):
        """Pods change."""
        index_or_all = jobs.with_pods if index is None else jobs.with_pod
        args = (change,) if index is None else (index, change)
        self.observation = index_or_all(self.observation, *args)
        self.show()

    @property
    def goodput(self) -> GoodputStatus:
        return self.observation.status.goodput

    def states(self):
        return {s.state: s.ms for s in self.goodput.states}

    def balanced(self):
        """Everything adds up to lanes times time."""
        found = self.goodput
        whole = LANES * round((self.now - CREATED) * 1000)
        assert found.elapsed_ms == whole
        assert sum(s.ms for s in found.states) + found.provisional_ms == whole


class Meter:
    def __init__(self):
        self.written = 0
        self.spans = []

    def settled(self, obs, before, after):
        self.written += 1

    def heard(self, namespace, spans):
        self.spans += spans


def up(pod):
    return jobs.up(pod, NOW)


@pytest.fixture
def running():
    """A job that was up from its beginning at NOW, its first account written."""
    stage = Stage(jobs.job())
    granted = replace(stage.observation, admission=Granted(jobs.placement(stage.observation)))
    stage.look(plan=decide(granted, NOW))
    placed = replace(stage.observation, placement=jobs.placement(stage.observation))
    stage.observation = replace(placed, pods={p.name: p for p in jobs.pods(placed)})
    stage.change(up)
    stage.observation = jobs.published(stage.observation)
    stage.look()
    assert conditions.is_true(stage.observation.status, ConditionType.PODS_READY)
    return stage


def report(*spans, sent=0, attempt=1, commits=(), **more):
    job = JobRef(namespace="ns", name="job", uid=UID)
    base = {"version": 1, "job": job, "attempt": attempt, "sent_ms": sent, "origin": "o"}
    return Report(**{**base, "spans": spans, "commits": commits, **more})


def step(start, duration, number):
    return Span(kind=SpanKind.STEP, start_ms=start, duration_ms=duration, step=number)


def steps(count, start=0, duration=1000):
    return [step(start + i * duration, duration, i) for i in range(count)]


def reporter(index=0, attempt=1):
    return Reporter("ns", f"job-{attempt}-{index // 2}-{index % 2}", f"uid-{attempt}-{index}")


def test_the_status_that_begins_an_attempt_has_the_account(running):
    assert running.states() == {State.QUEUED: LANES * 5000}
    running.balanced()
    assert running.goodput.lanes == LANES
    assert running.goodput.resume


def test_while_accelerators_are_held_the_account_is_written_now_and_then(running):
    assert running.look(HELD_SECONDS).status is not None
    plan = running.look(HELD_SECONDS - 1)
    assert plan.status is None
    assert plan.requeue_after == pytest.approx(1)
    assert running.look(1).status is not None
    assert running.goodput.provisional_ms == LANES * 60_000
    running.balanced()
    assert running.look(0.5).status is None


def test_a_job_that_waits_is_written_less_often():
    stage = Stage(jobs.settled(jobs.job(), NOW))
    assert stage.look().requeue_after == WAITING_SECONDS
    queued = conditions.set_condition(
        stage.observation.status, ConditionType.QUOTA_RESERVED, False, "Queued", "", NOW
    )
    stage.observation = replace(stage.observation, status=queued)
    assert stage.look(HELD_SECONDS, plan=Plan()).status is None
    assert stage.look(WAITING_SECONDS, plan=Plan()).status is not None
    assert stage.states() == {State.QUEUED: LANES * 335_000}


def test_the_more_jobs_there_are_the_less_often_each_is_written(running, monkeypatch):
    running.look(HELD_SECONDS)
    monkeypatch.setattr(ledger_keeper, "HELD_PER_SECOND", 1 / 100)
    monkeypatch.setattr(ledger_keeper, "WAITING_PER_SECOND", 1 / 1000)
    assert Stage(jobs.settled(jobs.job(), NOW)).look().requeue_after == 1000
    assert running.look(HELD_SECONDS + 1).status is None
    assert running.look(70).status is not None


def test_a_new_job_that_nothing_is_said_of_is_not_written_for_its_account():
    stage = Stage(jobs.job())
    stage.look(plan=Plan())
    assert stage.look(WAITING_SECONDS + 1, plan=Plan()).status is None


def test_what_was_not_written_did_not_happen(running):
    running.change(lambda p: jobs.failed(p, at=NOW + 10), 1)
    lost = running.look(10, written=False)
    assert lost.intent["attempts"][0]["cause"] == "ApplicationExit"
    assert running.look(5).intent is not None
    running.balanced()
    assert running.goodput.step == -1
    assert running.states()[State.DRAINING] == 5000, "the failed lane, from its end on"


def test_a_failure_is_written_with_its_account_and_the_next_attempt_recovers(running):
    running.change(lambda p: jobs.failed(p, at=NOW + 10), 1)
    running.look(10)
    running.observation = replace(running.observation, pods={})
    running.look(4)
    running.look(6)
    restarted = running.observation.status
    assert restarted.attempt == 2
    running.balanced()
    recovering = {s.state: s.restart_ms for s in running.goodput.states if s.restart_ms}
    assert recovering == {State.DRAINING: LANES * 4000, State.BINDING: LANES * 6000}


def test_success_closes_the_account_once_and_for_all(running):
    running.change(lambda p: jobs.succeeded(p, NOW + 20))
    running.look(20)
    running.balanced()
    assert running.goodput.provisional_ms == 0
    assert running.states()[State.PRODUCTIVE] == LANES * 20_000
    assert running.goodput.resume == ""
    closed = running.goodput
    assert running.look(HELD_SECONDS).status is None
    assert running.goodput == closed


def test_after_a_restart_of_the_operator_nothing_is_lost_or_counted_twice(running):
    running.look(HELD_SECONDS)
    before = running.states()
    running.keeper = running.new_keeper()
    running.look(70)
    running.balanced()
    assert all(running.states()[state] >= ms for state, ms in before.items())
    running.change(lambda p: jobs.succeeded(p, running.now))
    running.look()
    assert running.states() == {State.QUEUED: LANES * 5000, State.PRODUCTIVE: LANES * 100_000}


def test_what_another_leader_wrote_counts(running):
    other = running.new_keeper()
    running.look(HELD_SECONDS)
    ours, running.keeper = running.keeper, other
    running.look(HELD_SECONDS)
    running.keeper = ours
    running.look(HELD_SECONDS)
    running.balanced()


def test_a_resume_point_that_is_broken_begins_anew(running, caplog):
    broken = running.goodput.model_copy(update={"resume": "nonsense"})
    status = running.observation.status.model_copy(update={"goodput": broken})
    running.observation = replace(running.observation, status=status)
    running.keeper = running.new_keeper()
    running.look(HELD_SECONDS)
    running.balanced()
    assert "begins anew" in caplog.text


def test_reported_steps_become_productive_when_they_are_durable(running):
    running.now += 20
    sent = report(*steps(20), sent=20_000, commits=[Commit(step=9, at_ms=10_000)])
    assert isinstance(running.keeper.deliver(sent, reporter()), Accepted)
    running.look(10)
    running.balanced()
    assert running.goodput.step == 19
    assert running.goodput.committed_step == 9
    assert running.states()[State.PRODUCTIVE] > 0
    reported = conditions.find(running.observation.status, ConditionType.PROGRESS_REPORTED)
    assert (reported.status, reported.reason) == ("True", "ReportsReceived")


def test_a_receipt_covers_what_is_written(running):
    running.now += 20
    first = running.keeper.deliver(report(*steps(20), sent=20_000), reporter())
    assert first.receipt.durable_ms == 0
    running.look(10)
    again = running.keeper.deliver(report(*steps(20), sent=30_000), reporter())
    assert again.receipt.durable_ms == 20_000
    assert len(running.meter.spans) == 20, "counted once"


def test_a_report_that_comes_while_a_status_is_written_is_kept_either_way(running):
    for written in (False, True):
        running.now += HELD_SECONDS
        draft = running.keeper.draft(running.observation, Plan(), Plan())
        draft.begin()
        number = 20 if written else 10
        running.keeper.deliver(report(*steps(number), sent=number * 1000), reporter())
        running.keeper.settle(running.observation, draft, written=written)
    running.look(HELD_SECONDS)
    assert running.goodput.step == 19
    running.balanced()


def test_one_worker_speaks_of_the_gangs_time(running):
    running.now += 20
    take = running.keeper.deliver
    assert take(report(*steps(20), sent=20_000), reporter(3)).receipt.durable_ms == 0
    assert take(report(*steps(20), sent=20_000, origin="p"), reporter(2)).receipt.durable_ms == 0
    ignored = take(report(*steps(30), sent=20_000), reporter(3))
    assert ignored.receipt.durable_ms == 20_000, "the lower rank is listened to"
    running.look(10)
    assert running.goodput.step == 19


def test_who_says_nothing_makes_nothing_known(running):
    running.now += 20
    running.keeper.deliver(report(sent=20_000, source=ReportSource.LAUNCHER), reporter())
    phase = Span(kind=SpanKind.COMPILE, start_ms=0, duration_ms=1000)
    running.keeper.deliver(report(phase, sent=20_000), reporter(3))
    running.look(10)
    assert running.goodput.source != "reported"
    running.keeper.deliver(report(phase, sent=30_000), reporter())
    running.look(HELD_SECONDS)
    assert running.goodput.source == "reported"


def test_who_speaks_is_known_after_a_restart(running):
    running.now += 20
    running.keeper.deliver(report(*steps(20), sent=20_000), reporter())
    running.look(10)
    running.keeper = running.new_keeper()
    running.look()
    assert running.keeper.source_of(UID, 1) is ReportSource.REPORT
    assert running.keeper.position_of(report()) == 20_000


def test_the_best_way_to_know_of_steps_wins(running):
    running.now += 20
    running.keeper.deliver(report(*steps(5), sent=20_000, source=ReportSource.LAUNCHER), reporter())
    logged = report(*steps(9), sent=20_000, source=ReportSource.LOG, origin="log")
    assert running.keeper.deliver(logged, reporter()).receipt.durable_ms == 20_000, "need not come again"
    running.look(10)
    assert running.goodput.step == 4
    assert running.keeper.source_of(UID, 1) is ReportSource.LAUNCHER
    assert running.keeper.source_of(UID, 2) is None


def test_reports_of_others_are_refused(running):
    deliver = running.keeper.deliver
    stranger = Reporter("ns", "job-1-0-0", "another uid")
    unknown = report().model_copy(update={"job": JobRef(namespace="ns", name="job", uid="u")})
    assert isinstance(deliver(report(), stranger), Forbidden)
    assert isinstance(deliver(unknown, reporter()), Forbidden)
    running.keeper.forget(UID)
    assert isinstance(deliver(report(), reporter()), Unavailable)


def test_an_attempt_that_is_over_takes_no_reports(running):
    running.change(lambda p: jobs.failed(p, at=NOW + 10), 1)
    running.look(10)
    old = running.observation.pods
    running.observation = replace(running.observation, pods={})
    running.look(10)
    assert running.observation.status.attempt == 2
    running.observation = replace(running.observation, pods=old)
    running.show()
    assert isinstance(running.keeper.deliver(report(*steps(3), sent=3000), reporter()), Stale)


def test_a_job_that_wants_no_reports_hears_none(running):
    progress = running.observation.spec.progress.model_copy(update={"source": ProgressSource.NONE})
    spec = running.observation.spec.model_copy(update={"progress": progress})
    running.observation = replace(running.observation, spec=spec)
    running.look()
    running.keeper.deliver(report(*steps(3), sent=3000), reporter())
    running.look(HELD_SECONDS)
    assert running.goodput.step == -1


def test_the_last_words_of_a_failure_are_kept(running):
    running.keeper.deliver(report(sent=9000, exit="exit code 1\nRuntimeError: NaN"), reporter())
    running.change(lambda p: jobs.failed(p, at=NOW + 10), 0)
    running.look(10)
    message = running.observation.status.attempts[0].message
    assert message.endswith("exited with 1; it said: exit code 1\nRuntimeError: NaN")
    running.observation = replace(running.observation, pods={})
    running.look(10)
    assert running.observation.status.attempts[0].message == message


def test_the_last_words_of_a_worker_that_was_ended_for_another_are_not(running):
    running.keeper.deliver(report(sent=9000, exit="killed by SIGTERM"), reporter())
    running.change(lambda p: jobs.failed(p, at=NOW + 10), 1)
    running.look(10)
    assert "SIGTERM" not in running.observation.status.attempts[0].message


def test_a_spec_that_ceases_to_hold_ends_its_account_too(running):
    running.keeper = running.new_keeper()
    broken = replace(running.observation, spec=None, shape=None, roster=None, errors=("odd",), pods={})
    running.observation = broken
    running.look(10)
    assert conditions.is_true(running.observation.status, ConditionType.FAILED)
    running.balanced()
    assert running.goodput.provisional_ms == 0
    assert running.states()[State.LOST_PROGRESS] == LANES * 10_000


def test_a_metric_that_fails_harms_no_plan(running, caplog, monkeypatch):
    monkeypatch.setattr(running.meter, "settled", lambda *_args: {}["no such thing"])
    assert running.look(HELD_SECONDS).status
    running.balanced()
    assert "no account of" in caplog.text
