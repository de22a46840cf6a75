"""Groups of services count in queues as their status says, until their pods are gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.core.gang.queues import Eviction, RunningGang
from drumline.core.gang.types import Granted, Placement, Refusal
from drumline.core.inference.observation import Observation
from drumline.core.inference.policies.admission import admission, request_of
from drumline.runtime.queue_evictions import _Told
from drumline.runtime.queue_groups import told
from drumline.runtime.queue_records import read_queue
from tests.builders import H100
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NOW
from tests.unit.runtime.service_lab import GANG, Lab

RAW = services.spec(services.role(accelerator={"type": H100, "chipsPerWorker": 4}))


@pytest.fixture
async def lab() -> Lab:
    made = Lab()
    document = {"metadata": {"name": "q", "uid": "u"}, "spec": {"namespaceSelector": {}}}
    record = read_queue(document)
    made.jobs.book.entries["q"], made.jobs.book.queues["q"] = record.entry, record.queue
    made.jobs.book.namespaces["ns"] = {}
    return made


def with_group(**changes: object) -> Observation:
    return services.with_groups(services.service(RAW), "serve", services.group(queue="q", **changes))


async def test_a_group_counts_with_the_chips_of_its_pods(lab: Lab) -> None:
    lab.hold(with_group())
    found = lab.jobs.book.now().running[GANG]
    assert (found.queue, found.accelerator, found.chips, found.leaving) == ("q", H100, 8, False)
    assert found.admitted_at == NOW - 600
    before = lab.jobs.book.changes
    lab.hold(with_group())
    assert lab.jobs.book.changes == before


async def test_a_group_that_drains_is_leaving(lab: Lab) -> None:
    lab.hold(with_group(draining_since=services.ago(5)))
    assert lab.jobs.book.now().running[GANG].leaving


async def test_a_group_without_nodes_counts_while_it_has_pods(lab: Lab) -> None:
    lab.hold(with_group())
    there = [True]
    lab.jobs.book.is_gone = lambda _: not there[0]
    lab.hold(with_group(nodes=(), started_at=None))
    assert lab.jobs.book.now().running[GANG].chips == 8
    there[0] = False
    lab.hold(with_group(nodes=(), started_at=None))
    assert lab.jobs.book.now().running == {}


async def test_a_group_whose_entry_is_gone_counts_no_more(lab: Lab) -> None:
    lab.hold(with_group())
    lab.hold(services.service(RAW))
    assert lab.jobs.book.now().running == {}
    assert lab.memory.counted == set()


async def test_a_grant_that_is_given_back_counts_no_more(lab: Lab) -> None:
    observation = services.with_groups(services.service(RAW), "serve", services.waiting())
    request = lab.grant(replace(observation, queue="q"), "node-0-0", "node-0-1")
    lab.jobs.book.granted(request, Placement(("node-0-0", "node-0-1")))
    assert lab.jobs.book.now().running[GANG].chips == 8
    lab.controller._give_back(lab.memory, GANG)
    assert lab.jobs.book.now().running == {}


async def test_a_deleted_service_counts_until_its_pods_are_gone(lab: Lab) -> None:
    lab.hold(with_group())
    lab.controller.service_gone(services.UID)
    assert lab.jobs.book.now().running == {}


async def test_decisions_are_told_the_queue_and_who_has_to_leave(lab: Lab) -> None:
    book = lab.jobs.book
    observation = services.with_groups(services.service(RAW), "serve", services.group(queue="q"))
    assert told(book, observation, {}).queue == ""
    named = services.service({**RAW, "queue": "q"})
    assert told(book, named, {}).queue == "q"
    lost = told(book, services.service({**RAW, "queue": "z"}), {}).queue_refused
    assert lost is not None
    assert lost.reason == "QueueNotFound"
    eviction = Eviction("ns/other", "it goes first")
    book.hold(GANG, RunningGang(GANG, "q", H100, 8))
    book.evictions._told[GANG] = _Told("other", eviction)
    group = services.group_of(observation.status)
    assert told(book, observation, {GANG: group}).evicted == {GANG: eviction}
    book.entries.clear()
    assert told(book, named, {}) is named


def test_a_group_asks_the_queue_that_it_counts_in_while_it_holds_nodes() -> None:
    observation = replace(with_group(), queue="new")
    view = services.view(observation)
    assert request_of(view, "serve", services.group(queue="q")).queue == "q"
    assert request_of(view, "serve", services.waiting(queue="q")).queue == "new"


def test_a_group_counts_in_the_queue_that_its_place_was_granted_from() -> None:
    observation = services.with_groups(services.service(RAW), "serve", services.waiting())
    placement = Placement(("node-0-0", "node-0-1"))
    for granted in (Granted(placement, queue="q"), Granted(placement)):
        seen = replace(observation, queue="new", admission={GANG: granted})
        found = admission(services.view(seen))
        assert services.group_of(found.status).queue == (granted.queue or None)


def test_groups_of_a_service_without_a_queue_that_it_should_have_wait_and_ask_nobody() -> None:
    observation = services.with_groups(services.service(RAW), "serve", services.waiting())
    refusal = Refusal("QueueNotFound", "there is no AcceleratorQueue z")
    found = admission(services.view(replace(observation, queue_refused=refusal)))
    assert found.queue == ()
    assert services.group_of(found.status).message == "QueueNotFound: there is no AcceleratorQueue z"
