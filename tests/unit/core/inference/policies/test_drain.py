"""How a group that was taken out of service comes to its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drumline.api.inference_status import GroupStatus
from drumline.core.inference.groups import finished
from drumline.core.inference.policies.drain import drain
from drumline.core.inference.signals import EngineSample, GroupSignals, Signals
from drumline.core.inference.view import View
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NOW

VLLM = services.spec(engine="vllm", model={"name": "tiny"}, drain={"settleSeconds": 5, "timeoutSeconds": 300})


def draining(
    since: float = 60, raw: dict[str, Any] = VLLM, *, closed: bool = True, **changes: Any
) -> services.Observation:
    observation = services.serving(services.service(raw))
    group = services.draining(0, draining_since=services.ago(since), **changes)
    observation = services.with_groups(observation, "serve", group)
    if closed:
        return services.with_pod(
            observation, "serve", 0, 0, lambda p: replace(p, in_service=False, ready=False)
        )
    return observation


def heard(observation: services.Observation, ago: float, running: float | None) -> services.Observation:
    sample = EngineSample(NOW - ago, running=running)
    return replace(observation, signals=Signals({("serve", 0): GroupSignals(sample)}))


def drained(observation: services.Observation) -> tuple[View, GroupStatus]:
    view = drain(services.view(observation))
    (group,) = view.groups("serve")
    return view, group


def test_the_gate_is_closed_first_and_the_settle_time_waited_for() -> None:
    view, group = drained(draining(since=2, closed=False))
    (body,) = services.patched(view).values()
    assert [c["status"] for c in body["status"]["conditions"]] == ["False"]
    assert not finished(group)
    assert view.requeue_after == 3


def test_a_gate_that_nobody_closed_in_time_has_its_whole_settle_time_before_it() -> None:
    """As when the operator ends between what it says and what it does: until then requests still arrive."""
    for late in (4, 60, 3600):
        view, group = drained(heard(draining(since=late, closed=False), ago=0.1, running=0))
        assert len(services.patched(view)) == 1
        assert not finished(group), late
        assert (group.draining_since, group.quiet_since) == (services.ago(0), None)
        assert view.requeue_after == 5
        assert view.status_first is False


def test_a_drain_that_seems_to_begin_in_an_hour_begins_now() -> None:
    """A clock that was ahead said so, and has been put back."""
    view, group = drained(draining(since=-3600, quiet_since=services.ago(-3600)))
    assert (group.draining_since, group.quiet_since) == (services.ago(0), None)
    assert view.requeue_after == 5
    _, slightly = drained(draining(since=-10))
    assert slightly.draining_since == services.ago(-10)


def test_a_closed_gate_is_not_closed_again() -> None:
    view, _ = drained(draining(since=2))
    assert services.patched(view) == {}


def test_requests_in_flight_are_waited_for() -> None:
    view, group = drained(heard(draining(), ago=1, running=3))
    assert not finished(group)
    assert view.requeue_after == 1


def test_two_looks_without_requests_end_it() -> None:
    view, group = drained(heard(draining(), ago=2, running=0))
    assert not finished(group)
    assert group.quiet_since == services.ago(2)
    again, same = drained(heard(draining(quiet_since=services.ago(2)), ago=2, running=0))
    assert not finished(same), "one look counts once"
    assert again.status == draining(quiet_since=services.ago(2)).status
    view, last = drained(heard(draining(quiet_since=services.ago(2)), ago=0.5, running=0))
    assert finished(last)
    assert view.status_first
    assert view.events == ()


def test_a_request_between_two_looks_begins_them_anew() -> None:
    _, group = drained(heard(draining(quiet_since=services.ago(2)), ago=1, running=1))
    assert group.quiet_since is None


def test_what_was_seen_before_the_settle_time_proves_nothing() -> None:
    _, group = drained(heard(draining(since=10), ago=6, running=0))
    assert (group.quiet_since, finished(group)) == (None, False)


def test_an_engine_not_yet_asked_is_waited_for() -> None:
    view, group = drained(draining())
    assert not finished(group)
    assert view.requeue_after == 1


@pytest.mark.parametrize(
    "observation",
    [
        heard(draining(), ago=1, running=None),
        replace(draining(), signals=Signals({("serve", 0): GroupSignals(mute_since=NOW - 10)})),
    ],
    ids=["no such metrics", "no metrics"],
)
def test_an_engine_that_says_nothing_gets_the_settle_time(observation: services.Observation) -> None:
    view, group = drained(observation)
    assert finished(group)
    assert view.events == ()


def test_one_look_that_failed_proves_nothing() -> None:
    signals = Signals({("serve", 0): GroupSignals(failing_since=NOW - 1, mute_since=NOW - 1)})
    _, group = drained(replace(draining(), signals=signals))
    assert not finished(group)


def test_an_engine_out_of_reach_is_waited_for_until_it_is_heard_or_the_time_is_over() -> None:
    """As by an operator that has just begun: what the engine said before is lost, and it may be at work."""
    signals = Signals({("serve", 0): GroupSignals(failing_since=NOW - 200)})
    view, group = drained(replace(draining(since=250), signals=signals))
    assert not finished(group)
    assert view.requeue_after == 1
    view, group = drained(replace(draining(since=300), signals=signals))
    assert finished(group)
    assert [e.reason for e in view.events] == ["DrainTimeout"]
    assert "an unknown number of requests" in view.events[0].message


def test_a_role_whose_revision_is_gone_gets_the_settle_time() -> None:
    _, group = drained(draining(revision="chat-0000000000"))
    assert finished(group)


def test_an_engine_that_fell_silent_is_waited_for() -> None:
    sample = EngineSample(NOW - 50, running=2)
    signals = Signals({("serve", 0): GroupSignals(sample, failing_since=NOW - 40)})
    _, group = drained(replace(draining(), signals=signals))
    assert not finished(group)


def test_time_is_bounded() -> None:
    view, group = drained(heard(draining(since=301), ago=1, running=2))
    assert finished(group)
    assert [(e.type, e.reason) for e in view.events] == [("Warning", "DrainTimeout")]
    assert "2 requests" in view.events[0].message


def test_the_wait_ends_with_the_time_that_is_left() -> None:
    view, _ = drained(heard(draining(since=299.5), ago=1, running=2))
    assert view.requeue_after == pytest.approx(0.5)


def test_a_group_that_never_served_goes_at_once() -> None:
    observation = draining(since=0, closed=False, ready_at=None)
    observation = services.with_pod(observation, "serve", 0, 0, services.gated)
    assert finished(drained(observation)[1])
    opened = draining(since=0, closed=False, ready_at=None)
    assert not finished(drained(opened)[1]), "its gate is open: it may have been asked already"


@pytest.mark.parametrize("change", [services.failed, services.deleting])
def test_a_leader_that_ended_has_nothing_to_finish(change: Any) -> None:
    assert finished(drained(services.with_pod(draining(since=0), "serve", 0, 0, change))[1])


def test_a_leader_that_is_gone_has_nothing_to_finish() -> None:
    assert finished(drained(services.with_pods(draining(since=0), "serve", 0, ()))[1])


def test_other_groups_are_left_alone() -> None:
    observation = services.serving()
    assert drain(services.view(observation)) == services.view(observation)


def pair(decode: GroupStatus | None, since: float, *, timeout: float = 300) -> services.Observation:
    """A prefill group that is to go, with its gate open, and a decode group of the entry role."""
    roles = (services.role("prefill"), services.role("decode"))
    raw = services.spec(*roles, drain={"settleSeconds": 5, "timeoutSeconds": timeout})
    observation = services.serving(services.serving(services.service(raw), "prefill"), "decode")
    going = services.draining(0, draining_since=services.ago(since))
    observation = services.with_groups(observation, "prefill", going)
    return services.with_groups(observation, "decode", *([decode] if decode is not None else []))


def of_prefill(observation: services.Observation) -> tuple[View, GroupStatus, bool]:
    view = drain(services.view(observation))
    closed = any("prefill" in name for name in services.patched(view))
    return view, view.groups("prefill")[0], closed


@pytest.mark.parametrize("left", [{}, {"nodes": (), "created": False}], ids=["drains", "terminates"])
def test_what_the_entry_role_asks_stays_until_its_draining_groups_are_gone(left: dict[str, Any]) -> None:
    asks = services.draining(0, draining_since=services.ago(20), **left)
    view, group, closed = of_prefill(pair(asks, since=20))
    assert not closed
    assert not finished(group)
    assert view.requeue_after == 1


@pytest.mark.parametrize(
    "decode",
    [
        None,
        services.group(0),
        services.draining(0, draining_since=services.ago(20), revision=services.OLD),
    ],
    ids=["gone", "stays", "of another revision"],
)
def test_what_no_draining_group_asks_is_closed(decode: GroupStatus | None) -> None:
    _, group, closed = of_prefill(pair(decode, since=20))
    assert closed
    assert not finished(group)
    assert group.draining_since == services.ago(0), "its settle time begins with the closed gate"


def test_nobody_is_asked_for_longer_than_a_drain_may_take() -> None:
    asks = services.draining(0, draining_since=services.ago(61))
    assert of_prefill(pair(asks, since=61, timeout=60))[2]
