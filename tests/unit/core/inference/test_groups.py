"""The life of a group in the status, step by step."""

from __future__ import annotations

import pytest

from drumline.api.inference_status import GroupPhase
from drumline.api.meta import IN_SERVICE
from drumline.api.reasons import Cause, DrainReason
from drumline.core.inference import groups
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NOW, group_of


@pytest.mark.parametrize(
    ("group", "live", "finished"),
    [
        (services.waiting(), False, False),
        (services.starting(), True, False),
        (services.group(), True, False),
        (services.draining(), True, False),
        (services.draining(nodes=()), False, True),
        (services.draining(started_at=None), False, False),
        (services.group(phase=GroupPhase.BACKOFF), False, False),
        (services.group(phase=GroupPhase.WAITING), False, False),
        (services.group(phase=GroupPhase.FAILED, nodes=()), False, False),
        (services.starting(nodes=("",), size=1), True, False),
    ],
)
def test_an_attempt_is_under_way_or_not(group, live, finished) -> None:
    assert (groups.live(group), groups.finished(group)) == (live, finished)


def test_an_attempt_begins_with_nothing_of_the_last_one() -> None:
    rests = services.group(attempt=3, phase=GroupPhase.BACKOFF, message="x", next_attempt_at=services.ago(1))
    new = groups.begun(rests, ("a", "b"), NOW)
    assert (new.attempt, new.phase, new.nodes, new.created) == (4, GroupPhase.STARTING, ("a", "b"), False)
    assert (new.ready_at, new.next_attempt_at, new.message, new.started_at) == (None,) * 3 + (
        services.ago(0),
    )


def test_a_finished_group_keeps_why_it_went() -> None:
    observation = services.with_groups(services.service(), "serve", services.draining(0), services.group(1))
    view = services.view(observation)
    for group in view.groups("serve"):
        view = groups.finish(view, "serve", group)
    assert [g.drain_reason for g in view.groups("serve")] == ["ScaleDown", DrainReason.FINISHED]
    assert group_of(view.status, number=1).draining_since == services.ago(0)
    assert view.status_first


def test_avoided_nodes_are_few_and_the_latest() -> None:
    group = services.group(excluded=tuple(f"n{i}" for i in range(16)))
    assert groups.excluding(group, ["n3", ""])[-1] == "n3"
    assert len(groups.excluding(group, ["new"])) == groups.MAX_EXCLUDED
    assert "n0" not in groups.excluding(group, ["new"])


def test_restarts_are_counted_by_cause() -> None:
    view = services.view(services.service())
    for cause in (Cause.UNKNOWN, Cause.EVICTED, Cause.UNKNOWN):
        view = groups.count_restart(view, cause)
    assert [(r.cause, r.count) for r in view.status.restarts] == [("Evicted", 1), ("Unknown", 2)]


def test_the_gate_is_a_condition_of_the_leader() -> None:
    pod = services.pod("serve", services.group(), 0)
    patch = groups.gate(pod, False, NOW, "why")
    assert (patch.name, patch.uid, patch.subresource) == (pod.name, pod.uid, "status")
    (condition,) = patch.body["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["message"]) == (IN_SERVICE, "False", "why")
