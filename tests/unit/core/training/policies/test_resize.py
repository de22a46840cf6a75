"""An elastic gang begins with what there is, goes on with what is left, and grows at a checkpoint."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.failure import HangAction
from drumline.api.reasons import ConditionType
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.plan import Delete
from drumline.core.gang.types import Granted, Placement, Refusal
from drumline.core.training.decide import decide
from drumline.core.training.elastic import fitted
from drumline.core.training.observation import Settings
from drumline.core.training.policies.resize import LOOK_SECONDS
from tests.unit.core.training import elastic_jobs, jobs
from tests.unit.core.training.elastic_jobs import after, granted, job, lose, running, scaled
from tests.unit.core.training.history import created
from tests.unit.core.training.jobs import NOW
from tests.unit.core.training.policies.test_hang import SILENT

REGROW = 600.0
FULL = Refusal("InsufficientAccelerators", "needs 4 nodes; 0 free")


def status_of(plan):
    return TrainingJobStatus.model_validate(plan.status or plan.intent)


def deleted(plan):
    return sorted(
        a.name for stage in plan.actions for a in stage if isinstance(a, Delete) and a.resource == "pods"
    )


def events(plan):
    return [e.reason for e in plan.events]


def test_it_asks_for_all_and_says_how_few_will_do():
    request = decide(replace(job(4, minSlices=2, waitSeconds=60)), NOW).waiting
    assert (request.slices, request.min_slices) == (4, 2)
    assert request.patient_until == request.queued_at + 60


def test_it_begins_with_what_it_gets():
    plan = decide(granted(job(4), 3), NOW)
    status = status_of(plan)
    assert (status.slices, status.placement.pods, status.workers.desired) == (3, 3, 3)
    assert status.selector == "drumline.dev/job=job,drumline.dev/role=worker"
    assert (status.attempts[0].slices, status.attempts[0].wanted_slices) == (3, 4)
    assert len(created(plan)) == 3
    placed = next(c for c in status.conditions if c.type == "QuotaReserved")
    assert placed.message == "attempt 1: 3 of 4 slices, 3 pods placed on 3 nodes"


def test_any_other_job_has_its_slices_on_record_too():
    status = jobs.running().status
    assert (status.slices, status.attempts[0].slices) == (2, None)


def test_a_grant_for_more_than_is_wanted_by_now_is_not_taken():
    plan = decide(scaled(granted(job(4), 4), 2), NOW)
    assert not plan.begins
    assert plan.waiting.slices == 2


def test_after_the_loss_of_a_slice_it_takes_less_at_once():
    lost = lose(running(4, waitSeconds=300), 1)
    plan = decide(lost, NOW + 5)
    assert plan.waiting.slices == 4
    assert plan.waiting.patient_until == 0.0
    assert plan.waiting.preferred_nodes == {i: f"node-{i}" for i in range(4)}
    again = replace(after(lost, plan), admission=Granted(Placement(("node-0", "node-2", "node-3")), 3))
    status = status_of(decide(again, NOW + 6))
    assert (status.attempt, status.slices) == (2, 3)
    assert status.attempts[0].cause == "NodeLost"
    assert status.restart_count == 0


def test_a_gang_with_all_its_slices_is_left_alone():
    calm = running(4)
    assert decide(calm, NOW + 10_000).status is None
    assert decide(replace(calm, room=4), NOW + 10_000).status is None


def test_a_gang_with_fewer_looks_for_room_now_and_then():
    plan = decide(running(2), NOW + 5)
    assert plan.status is None
    assert plan.requeue_after == LOOK_SECONDS


def test_room_is_waited_with_until_a_checkpoint():
    short = replace(running(2), room=3, checkpoint_at=NOW + 10)
    plan = decide(short, NOW + REGROW + 50)
    status = status_of(plan)
    assert (status.resize.slices, status.attempts[0].finished_at) == (3, None)
    assert events(plan) == ["ResizePending"]
    waiting = after(short, plan)
    assert decide(waiting, NOW + REGROW + 90).actions == ()
    saved = replace(waiting, checkpoint_at=NOW + REGROW + 91)
    plan = decide(saved, NOW + REGROW + 92)
    status = status_of(plan)
    assert status.attempts[0].finished_at is not None
    assert (status.attempts[0].cause, status.attempts[0].action) == (None, "Resize")
    assert status.attempts[0].message == "resized from 2 to 3 slices, after a durable checkpoint"
    assert (status.restart_count, status.restarts, status.resize) == (0, (), None)
    assert deleted(plan) == ["job-1-0-0", "job-1-1-0"]
    assert plan.waiting.slices == 4
    assert jobs.reason(status, ConditionType.RESTARTING) == ("True", "Resized")


def test_a_checkpoint_of_long_ago_is_no_reason():
    short = replace(running(2), room=3, checkpoint_at=NOW + 10)
    pending = after(short, decide(short, NOW + REGROW + 50))
    late = replace(pending, checkpoint_at=NOW + REGROW + 60)
    assert status_of_or_none(decide(late, NOW + REGROW + 200)) is None


def status_of_or_none(plan):
    return None if plan.status is None and plan.intent is None else status_of(plan)


def test_room_counts_only_for_an_attempt_that_has_run_for_long_enough():
    short = replace(running(2), room=4, checkpoint_at=NOW)
    pending = after(short, decide(short, NOW + 5))
    early = replace(pending, checkpoint_at=NOW + 8)
    assert decide(early, NOW + 9).actions == ()
    due = replace(pending, checkpoint_at=NOW + REGROW + 1)
    assert status_of(decide(due, NOW + REGROW + 2)).attempts[0].action == "Resize"


def test_where_no_checkpoint_is_known_time_alone_decides():
    short = replace(running(2), room=4)
    pending = after(short, decide(short, NOW + 5))
    assert decide(pending, NOW + 5).requeue_after == REGROW - 5
    status = status_of(decide(pending, NOW + REGROW))
    assert status.attempts[0].message == "resized from 2 to 4 slices, no checkpoint is known"


def test_room_that_is_gone_again_is_forgotten():
    short = replace(running(2), room=4, checkpoint_at=NOW)
    pending = after(short, decide(short, NOW + 5))
    plan = decide(replace(pending, room=2), NOW + 20)
    assert status_of(plan).resize is None


def test_more_room_than_at_first_does_not_begin_the_wait_again():
    short = replace(running(2), room=3, checkpoint_at=NOW)
    pending = after(short, decide(short, NOW + 5))
    plan = decide(replace(pending, room=4), NOW + 20)
    assert status_of(plan).resize.slices == 4
    assert status_of(plan).resize.since == pending.status.resize.since
    assert events(plan) == []


@pytest.mark.parametrize("slices", [1, 3])
def test_fewer_are_asked_for(slices):
    """The gang keeps the places of its first slices; nobody is asked."""
    whole = scaled(replace(running(4), checkpoint_at=NOW), slices)
    pending = after(whole, decide(whole, NOW + 5))
    assert pending.status.resize.slices == slices
    plan = decide(replace(pending, checkpoint_at=NOW + 6), NOW + 7)
    status = status_of(plan)
    assert plan.waiting is None
    assert (status.attempt, status.slices, status.placement.pods) == (2, slices, slices)
    assert (status.attempts[1].slices, status.attempts[1].wanted_slices) == (slices, slices)
    assert deleted(plan) == [f"job-1-{i}-0" for i in range(4)]
    assert plan.prepare[0].manifest["data"]["pods"] == slices


def test_more_are_asked_for_and_there_is_room():
    """A change of the spec need not wait for `regrowSeconds`."""
    whole = scaled(replace(running(2, wanted=2), room=4, checkpoint_at=NOW), 4)
    pending = after(whole, decide(whole, NOW + 5))
    ended = decide(replace(pending, checkpoint_at=NOW + 6), NOW + 7)
    again = after(pending, ended)
    assert again.status.attempts[0].action == "Resize"
    assert ended.waiting.preferred_nodes == {0: "node-0", 1: "node-1"}
    begun = decide(granted(again, 4), NOW + 8)
    assert (status_of(begun).attempt, status_of(begun).slices) == (2, 4)


def test_a_gang_that_grows_and_is_refused_goes_on_as_it_was():
    short = replace(running(2), room=4)
    again = after(short, decide(short, NOW + REGROW))
    refused = decide(replace(again, admission=FULL), NOW + REGROW + 1)
    status = status_of(refused)
    assert (status.attempt, status.slices, status.attempts[1].wanted_slices) == (2, 2, 4)


def test_any_restart_grows_where_there_is_room_and_only_there():
    def restarted(room):
        short = replace(running(2), room=room)
        return decide(jobs.with_pod(short, 0, jobs.failed), NOW + 5)

    assert status_of(restarted(2)).attempt == 2
    asking = restarted(4)
    assert status_of(asking).attempt == 1
    assert asking.waiting.slices == 4


def test_an_attempt_that_is_still_starting_is_not_resized():
    starting = jobs.with_pods(running(4), lambda p: replace(p, ready=False))
    attempts = (starting.status.attempts[0].model_copy(update={"ready_at": None}),)
    starting = replace(starting, status=starting.status.model_copy(update={"attempts": attempts}))
    plan = decide(scaled(starting, 2), NOW + REGROW + 5)
    assert plan.waiting is None
    assert deleted(plan) == []


def test_an_epoch_does_not_hide_what_its_attempt_began_with():
    short = replace(running(2), room=4, checkpoint_at=NOW)
    first = short.status.attempts[0]
    epoch = first.model_copy(update={"epoch": 1, "ready_at": None, "wanted_slices": None})
    over = first.model_copy(update={"finished_at": first.started_at})
    status = short.status.model_copy(update={"epoch": 1, "attempts": (over, epoch)})
    short = replace(short, status=status)
    pending = after(short, decide(short, NOW + 5))
    assert decide(replace(pending, checkpoint_at=NOW + 6), NOW + 7).actions == ()


def test_success_is_of_the_slices_that_the_attempt_has():
    short = jobs.with_pods(running(2), jobs.succeeded)
    status = status_of(decide(short, NOW + 5))
    assert jobs.reason(status, ConditionType.COMPLETE)[0] == "True"
    assert status.workers.succeeded == 2
    assert status.slices is None


def test_a_requeued_gang_asks_for_all_again():
    short = running(2, waitSeconds=30)
    rejected = jobs.with_pods(short, lambda p: replace(p, bound=False, ready=False, rejected="0/4 nodes"))
    status = status_of(decide(rejected, NOW + 500))
    assert (status.placement, status.slices) == (None, None)
    waiting = decide(
        fitted(replace(short, status=status, pods={}, placement=None), status), NOW + 5000
    ).waiting
    assert waiting.slices == 4
    assert waiting.patient_until == waiting.queued_at + 30


def test_helpers_stay_where_they_are():
    loader = [{"name": "loader", "replicas": 1, "template": jobs.TEMPLATE}]
    short = replace(elastic_jobs.running(2, helpers=loader), room=4)
    plan = decide(short, NOW + REGROW)
    plan = decide(after(short, plan), NOW + REGROW) if plan.waiting is None else plan
    assert plan.waiting.preferred_nodes == {0: "node-0", 1: "node-1", 4: "node-2"}


ON_REQUEST = {"onRequest": {"signal": "SIGUSR1", "graceSeconds": 60}}
LAUNCHED = Settings(report_url="https://reports", launcher_image="example.org/launcher:1")


def asking(known=NOW):
    """A gang whose program saves on request, with room for more, when its time to grow has come."""
    short = replace(running(2, checkpoint=ON_REQUEST), room=4, checkpoint_at=known, settings=LAUNCHED)
    pending = after(short, decide(short, NOW + 5))
    return pending, decide(pending, NOW + REGROW)


def test_a_checkpoint_is_asked_for_where_the_job_says_how():
    pending, plan = asking()
    assert pending.status.order is None, "not before it may grow"
    status = status_of(plan)
    assert (status.order.kind, status.order.node, status.order.ended_at) == ("Checkpoint", None, None)
    assert (plan.orders.kind, plan.orders.signal) == ("Checkpoint", "SIGUSR1")
    assert events(plan) == ["CheckpointRequested"]
    saved = replace(after(pending, plan), checkpoint_at=NOW + REGROW + 3)
    status = status_of(decide(saved, NOW + REGROW + 4))
    assert status.attempts[0].action == "Resize"
    assert status.order.ended_at is not None


@pytest.mark.parametrize("known", [NOW, None])
def test_a_request_that_nobody_answers_is_made_once(known):
    pending, plan = asking(known)
    silent = after(pending, plan)
    assert decide(silent, NOW + REGROW + 30).actions == ()
    plan = decide(silent, NOW + REGROW + 61)
    status = status_of(plan)
    assert status.order.ended_at is not None
    if known is None:
        assert status.attempts[0].action == "Resize", "there is nothing else to wait for"
    else:
        later = status_of_or_none(decide(after(silent, plan), NOW + REGROW + 90))
        assert later is None, "it makes another one by itself"


def test_a_request_that_is_needed_no_more_ends():
    pending, plan = asking()
    full = replace(after(pending, plan), room=2)
    assert status_of(decide(full, NOW + REGROW + 5)).order.ended_at is not None


def test_a_quota_that_counts_the_pods_that_go_is_waited_for():
    quota = Refusal("NamespaceQuotaExceeded", "2 pods are free")
    short = replace(running(2), room=4)
    again = replace(after(short, decide(short, NOW + REGROW)), admission=quota)
    assert not decide(again, NOW + REGROW + 1).begins
    gone = replace(again, pods={})
    assert status_of(decide(gone, NOW + REGROW + 2)).slices == 2


def test_each_resize_that_comes_to_nothing_makes_the_next_one_wait_twice_as_long():
    short = replace(running(2), room=4)
    latest = short.status.attempts[0]
    over = {"action": "Resize", "finished_at": "2027-01-15T07:00:00Z"}
    before = [latest.model_copy(update={"attempt": number, **over}) for number in (-1, 0)]
    status = short.status.model_copy(update={"attempts": (*before, latest)})
    short = replace(short, status=status)
    pending = after(short, decide(short, NOW + 5))
    assert decide(pending, NOW + 4 * REGROW - 10).requeue_after == 10
    assert status_of(decide(pending, NOW + 4 * REGROW)).attempts[-1].action == "Resize"


@pytest.mark.parametrize("end", ["suspended", "succeeded"])
def test_nothing_is_due_any_more_of_a_gang_that_gives_its_nodes_back(end):
    due = jobs.settled(scaled(running(4), 2), NOW + 5)
    assert due.status.resize.slices == 2
    if end == "suspended":
        ended = replace(due, spec=due.spec.model_copy(update={"suspend": True}))
    else:
        ended = jobs.with_pods(due, jobs.succeeded)
    status = status_of(decide(ended, NOW + 6))
    assert (status.placement, status.resize) == (None, None)


def test_a_gang_of_which_a_hang_is_only_reported_is_asked_for_no_checkpoint():
    """Else the hang would be told again, and the checkpoint asked for again, over and over."""
    observation = replace(
        running(4, checkpoint=ON_REQUEST), settings=LAUNCHED, checkpoint_at=NOW - 500, wanted=2
    )
    policy = observation.spec.failure_policy
    report = policy.hang.model_copy(update={"action": HangAction.REPORT})
    changed = {"failure_policy": policy.model_copy(update={"hang": report})}
    observation = replace(observation, spec=observation.spec.model_copy(update=changed))
    told, now = [], NOW + 400
    for _ in range(40):
        silent = replace(SILENT, silent=now - NOW - 50, heard_at=now - 5)
        plan = decide(replace(observation, pulse=silent), now)
        told += events(plan)
        observation = after(observation, plan) if plan.status or plan.intent else observation
        now += 15
    assert told == ["ResizePending", "HangDetected"]
