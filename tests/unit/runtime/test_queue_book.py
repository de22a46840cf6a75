"""What counts in queues: from the grant until the last pod is gone; and who is told to leave."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from drumline.api.queue import Reclaim, WithinQueue
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.queue_choice import QueueEntry
from drumline.core.gang.queues import NO_QUEUES, Queue, QueueQuota, RunningGang
from drumline.core.gang.types import Charge, Granted, Placement, Pod, Refusal
from drumline.core.training.observation import Observation
from drumline.runtime.queue_book import QueueBook
from drumline.runtime.queue_jobs import JobQueues
from drumline.runtime.queue_records import read_queue
from tests.builders import H100, gang
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW, UID


class Desk:
    """A book with queue "q" of 8 chips, and what it was asked and told."""

    def __init__(self) -> None:
        self.pods: set[str] = set()  # gangs that have pods
        self.heard: list[str] = []
        self.freed = 0  # how often quota was said to come free
        self.book = QueueBook(lambda uid: uid not in self.pods, self.heard.append, lambda: NOW, self.free)
        self.add("q")

    def free(self) -> None:
        self.freed += 1

    def add(self, name: str, **spec: Any) -> None:
        document = {
            "metadata": {"name": name, "uid": name},
            "spec": {
                "quotas": [{"accelerator": H100, "nominalQuota": 8}],
                "namespaceSelector": {},
                **spec,
            },
        }
        record = read_queue(document)
        self.book.entries[name], self.book.queues[name] = record.entry, record.queue
        self.book.namespaces["ns"] = {}

    def counted(self) -> dict[str, int]:
        return {uid: gang.chips for uid, gang in self.book.now().running.items()}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_queue_whose_spec_does_not_hold_has_no_quota_and_a_fault() -> None:
    record = read_queue({"metadata": {"name": "x", "uid": "u"}, "spec": {"maxRunSeconds": 0}})
    assert record.queue == Queue("x")
    assert record.entry.spec is None
    assert "spec.maxRunSeconds" in record.entry.fault


def test_without_queues_there_are_none(desk: Desk) -> None:
    desk.book.hold("g", RunningGang("g", "q", H100, 8))
    desk.book.queues.clear()
    assert desk.book.now() is NO_QUEUES


def test_a_gang_counts_from_its_grant_with_its_spares(desk: Desk) -> None:
    desk.book.granted(gang("g", 2, queue="q", chips_per_worker=1, spares=1), Placement(("a", "b", "c")))
    desk.book.granted(gang("h", 2), Placement(("a", "b")))
    assert desk.counted() == {"g": 3}
    assert desk.book.now().running["g"].admitted_at == NOW


def test_what_was_counted_is_forgotten_where_there_are_no_queues_any_more(desk: Desk) -> None:
    desk.book.hold("g", RunningGang("g", "q", H100, 8))
    desk.book.hold("g", None)
    desk.book.take_in({}, {})
    assert desk.book.now() is NO_QUEUES
    assert len(desk.book) == 0


def test_a_gang_that_gave_back_counts_until_its_pods_are_gone(desk: Desk) -> None:
    desk.book.hold("g", RunningGang("g", "q", H100, 8))
    desk.pods.add("g")
    desk.book.hold("g", None)
    assert desk.counted() == {"g": 8}
    assert desk.book.now().running["g"].leaving
    desk.pods.clear()
    assert desk.counted() == {}


def test_one_that_never_counted_is_not_missed(desk: Desk) -> None:
    before = desk.book.changes
    desk.book.hold("g", None)
    assert (desk.counted(), desk.book.changes) == ({}, before)


def never(_: Observation) -> None:
    """No checkpoint."""


def h100(queue: str | None = "q", **more: Any) -> Observation:
    """A job of two workers with two H100s each that runs in a queue."""
    raw = jobs.spec(accelerator={"type": H100, "chipsPerWorker": 2}, slices=1, framework="torch", **more)
    made = jobs.running(jobs.job(raw))
    status = made.status.model_copy(update={"queue": queue, "admitted_at": rfc3339_millis(NOW - 60)})
    return replace(made, status=status)


def test_a_status_says_what_a_job_counts_for(desk: Desk) -> None:
    queues = JobQueues(desk.book)
    queues.hold(replace(h100(), priority=7), lambda _: NOW - 10)
    found = desk.book.now().running[UID]
    assert (found.queue, found.accelerator, found.chips, found.priority) == ("q", H100, 4, 7)
    assert (found.admitted_at, found.saved_at, found.leaving) == (NOW - 60, NOW - 10, False)
    queues.hold(h100(None), never)
    assert desk.counted() == {}


def test_a_job_that_gave_its_nodes_back_counts_for_the_same_until_its_status_says_no_more(desk: Desk) -> None:
    queues, obs = JobQueues(desk.book), h100()
    queues.hold(obs, never)
    released = obs.status.model_copy(update={"placement": None, "admitted_at": None})
    queues.hold(replace(obs, status=released, placement=None), never)
    assert desk.counted() == {UID: 4}
    assert desk.book.now().running[UID].leaving


def test_a_successor_counts_the_pods_of_a_job_that_gave_its_nodes_back(desk: Desk) -> None:
    obs = h100()
    released = obs.status.model_copy(update={"placement": None, "admitted_at": None})
    JobQueues(desk.book).hold(replace(obs, status=released, placement=None), never)
    assert desk.counted() == {UID: 4}


def test_nobody_is_to_leave_who_can_not_be_told(desk: Desk) -> None:
    queues, obs = JobQueues(desk.book), h100()
    queues.hold(obs, never)
    assert desk.book.now().running[UID].admitted_at < inf
    queues.hold(replace(obs, spec=None, shape=None), never)
    found = desk.book.now().running[UID]
    assert (found.admitted_at, found.accelerator, found.chips) == (inf, H100, 4)
    queues.hold(replace(obs, job=replace(obs.job, deleting=True)), never)
    assert desk.book.now().running[UID].leaving


def test_a_gang_that_waits_for_its_first_node_has_its_quota_since_it_began(desk: Desk) -> None:
    obs = h100()
    status = obs.status.model_copy(update={"admitted_at": None})
    JobQueues(desk.book).hold(replace(obs, status=status), never)
    assert desk.book.now().running[UID].admitted_at == NOW


def test_a_job_that_asks_for_others_counts_for_the_accelerators_that_its_pods_have(desk: Desk) -> None:
    queues, obs = JobQueues(desk.book), h100()
    queues.hold(obs, never)
    assert obs.spec is not None
    other = obs.spec.model_copy(
        update={"accelerator": obs.spec.accelerator.model_copy(update={"type": "cpu"})}
    )
    released = obs.status.model_copy(update={"placement": None, "admitted_at": None})
    queues.hold(replace(obs, spec=other, status=released, placement=None), never)
    assert desk.book.now().running[UID].accelerator == H100


def test_a_job_stays_in_the_queue_that_it_counts_in(desk: Desk) -> None:
    desk.add("other", default=True, maxRunSeconds=60)
    told = JobQueues(desk.book).told(replace(h100(), queue=""))
    assert (told.queue, told.queue_refused, told.queue_max_run_seconds) == ("q", None, None)
    assert JobQueues(desk.book).told(h100("other")).queue_max_run_seconds == 60
    assert JobQueues(desk.book).told(h100(None)).queue == "", "it was admitted without"


def test_a_job_that_holds_nothing_is_told_its_queue_or_why_it_has_none(desk: Desk) -> None:
    queues = JobQueues(desk.book)
    assert queues.told(jobs.job()).queue == ""
    assert queues.told(jobs.job(jobs.spec(queue="q"))).queue == "q"
    lost = queues.told(jobs.job(jobs.spec(queue="z")))
    assert lost.queue_refused is not None
    assert lost.queue_refused.reason == "QueueNotFound"
    desk.book.entries.clear()
    job = jobs.job(jobs.spec(queue="z"))
    assert queues.told(job) is job


def test_a_grant_is_taken_up_in_the_queue_that_it_was_given_from() -> None:
    job = replace(jobs.job(), queue="new", admission=Granted(jobs.placement(jobs.job()), queue="q"))
    for granted, queue in ((job.admission, "q"), (Granted(jobs.placement(job)), None)):
        plan = jobs.decide(replace(job, admission=granted), NOW)
        assert plan.intent is not None
        assert plan.intent.get("queue") == queue


def test_an_elastic_gang_has_room_for_what_its_queue_may_take(desk: Desk) -> None:
    request = gang("g", 2, slices=4, chips_per_worker=1, queue="q")
    desk.book.hold("g", RunningGang("g", "q", H100, 4))
    desk.book.hold("h", RunningGang("h", "q", H100, 2))
    assert desk.book.slices(request) == 3
    assert desk.book.slices(replace(request, queue="")) == 4


def test_a_record_says_what_the_queue_is() -> None:
    raw = {
        "cohort": "all",
        "quotas": [{"accelerator": H100, "nominalQuota": 8, "lendingLimit": 2}],
        "preemption": {"withinQueue": "LowerPriority", "reclaimWithinCohort": "Any", "minRunSeconds": 5},
    }
    record = read_queue({"metadata": {"name": "x", "uid": "u", "generation": 3}, "spec": raw})
    assert record.queue.quotas == {H100: QueueQuota(8, None, 2)}
    assert (record.queue.within_queue, record.queue.reclaim) == (WithinQueue.LOWER_PRIORITY, Reclaim.ANY)
    assert (record.queue.min_run_seconds, record.generation) == (5, 3)
    assert isinstance(record.entry, QueueEntry)


def test_what_is_refused_does_not_ask() -> None:
    waits = Refusal("QueueNotFound", "there is no AcceleratorQueue z")
    plan = jobs.decide(replace(jobs.job(), queue_refused=waits), NOW)
    assert plan.waiting is None
    assert plan.status is not None
    assert jobs.reason(plan.status, jobs.ConditionType.QUOTA_RESERVED) == ("False", "QueueNotFound")


def test_who_is_out_of_the_status_after_its_last_pod_frees_quota_that_no_pod_told_of(desk: Desk) -> None:
    gang = RunningGang("a", "q", H100, 8)
    desk.book.hold("a", gang)
    desk.book.hold("a", replace(gang, leaving=True))
    assert desk.freed == 0
    desk.book.hold("a", None)
    desk.book.hold("a", None)
    desk.book.hold("b", None)
    assert (desk.freed, desk.counted()) == (1, {})
    desk.book.hold("a", gang)
    desk.book.hold("a", replace(gang, chips=4))
    assert desk.freed == 2


def charged(obs: Observation, charge: Charge | None = None) -> Observation:
    """The job whose pods say what they count for."""
    charge = charge or Charge("q", H100, 2)

    def said(pod: Pod) -> Pod:
        assert pod.member is not None
        return replace(pod, member=replace(pod.member, charge=charge))

    return jobs.with_pods(obs, said)


def test_a_job_whose_spec_does_not_hold_any_more_counts_by_its_pods(desk: Desk) -> None:
    gone = replace(charged(h100()), spec=None, shape=None, roster=None)
    JobQueues(desk.book).hold(gone, never)
    found = desk.book.now().running[UID]
    assert (found.queue, found.accelerator, found.chips, found.admitted_at) == ("q", H100, 4, inf)
    JobQueues(desk.book).hold(gone, never)
    assert desk.counted() == {UID: 4}


def test_a_catalogue_that_changed_does_not_change_what_a_running_job_counts_for(desk: Desk) -> None:
    JobQueues(desk.book).hold(charged(h100(), Charge("q", H100, 3)), never)
    assert desk.counted() == {UID: 6}


def test_what_is_written_into_its_pods_has_no_job_count_for_less_or_for_more_than_they_ask_for(
    desk: Desk,
) -> None:
    queues = JobQueues(desk.book)
    queues.hold(charged(h100(), Charge("q", H100, 1)), never)
    assert desk.counted() == {UID: 4}
    asking = jobs.with_pods(charged(h100(), Charge("q", H100, 900)), asks_for_three)
    queues.hold(asking, never)
    assert desk.counted() == {UID: 6}


def asks_for_three(pod: Pod) -> Pod:
    return replace(pod, requests=(("cpu", 1), ("nvidia.com/gpu", 3)))


def test_a_successor_counts_pods_of_a_job_that_is_gone(desk: Desk) -> None:
    obs = charged(h100())
    over = jobs.with_pod(obs, 1, jobs.succeeded)
    desk.pods.add(UID)
    desk.book.inherit(over.pods.values())
    found = desk.book.now().running[UID]
    assert (found.queue, found.accelerator, found.chips, found.leaving) == ("q", H100, 2, True)
    desk.book.inherit(obs.pods.values())
    assert desk.counted() == {UID: 2}
    desk.pods.clear()
    assert desk.counted() == {}


def test_a_successor_counts_nobody_twice(desk: Desk) -> None:
    JobQueues(desk.book).hold(charged(h100()), never)
    desk.book.inherit(charged(h100()).pods.values())
    found = desk.book.now().running[UID]
    assert (found.chips, found.leaving) == (4, False)
