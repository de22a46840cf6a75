"""A group that admission wants to leave drains, and another one asks for a place."""

from __future__ import annotations

from dataclasses import replace

from drumline.api.inference_status import GroupPhase
from drumline.core.gang.queues import Eviction
from drumline.core.inference import names
from drumline.core.inference.decide import decide
from drumline.core.inference.observation import Observation
from drumline.core.inference.policies.preemption import preemption
from tests.unit.core.inference import services

EVICTED = Eviction("ns/urgent", "it is of queue b, whose cohort's quota queue a borrows")


def evicted(observation: Observation, group: int = 0) -> Observation:
    return replace(observation, evicted={names.gang_uid(observation.service.uid, "serve", group): EVICTED})


def test_it_goes_out_of_service_and_it_is_said_for_whom() -> None:
    view = preemption(services.view(evicted(services.serving(count=2), 1)))
    stays, goes = view.groups("serve")
    assert (stays.phase, goes.phase) == (GroupPhase.SERVING, GroupPhase.DRAINING)
    assert (goes.drain_reason, goes.draining_since) == ("Preempted", services.ago(0))
    assert (goes.restarts, view.status.restarts) == (0, ())
    (event,) = view.events
    assert (event.type, event.reason) == ("Warning", "Preempted")
    assert "Preempted by ns/urgent: it is of queue b, whose" in event.message
    assert view.status_first


def test_another_group_takes_its_place_and_waits_in_the_queue() -> None:
    observation = evicted(services.serving())
    plan = decide(observation, services.NOW)
    assert plan.intent is not None
    (role,) = plan.intent["roles"]
    assert [(g["id"], g["phase"]) for g in role["groups"]] == [(0, "Draining"), (1, "Waiting")]
    assert [r.uid for r in plan.queue] == [names.gang_uid(observation.service.uid, "serve", 1)]


def test_who_goes_already_or_holds_nothing_is_left_alone() -> None:
    going = services.with_groups(services.serving(), "serve", services.draining(0))
    assert preemption(services.view(evicted(going))).events == ()
    waiting = services.with_groups(services.serving(), "serve", services.waiting(0))
    assert preemption(services.view(evicted(waiting))).groups("serve")[0].phase is GroupPhase.WAITING
