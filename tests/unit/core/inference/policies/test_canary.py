"""How a canary is watched, promoted and refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drumline.api.inference_status import GroupPhase, GroupStatus, RolloutPhase, RolloutStatus
from drumline.api.reasons import ServiceCondition
from drumline.core.inference.policies.canary import canary
from drumline.core.inference.policies.scale import scale
from drumline.core.inference.signals import GroupSignals, Histogram, Rates, Signals
from drumline.core.inference.view import View
from tests.unit.core.inference import services
from tests.unit.core.inference.policies.test_rollout import old, rolling
from tests.unit.core.inference.services import NEW, OLD

RULES = {"minSeconds": 300, "readySeconds": 600, "maxErrorRate": 0.01}
CANARY = RolloutStatus(phase=RolloutPhase.CANARY, revision=NEW, since=services.ago(900))
READY = CANARY.model_copy(
    update={"canary_placed_at": services.ago(400), "canary_ready_at": services.ago(301)}
)


def world(
    *groups: GroupStatus,
    record: RolloutStatus = READY,
    automatic: bool = True,
    paused: bool = False,
    **rules: Any,
) -> services.Observation:
    """Two old groups, and these of the canary."""
    spec = {"replicas": 1, "automatic": automatic, "analysis": {**RULES, **rules}}
    return rolling(old(0), old(1), *groups, record=record, canary=spec, paused=paused)


def heard(observation: services.Observation, **numbers: GroupSignals) -> services.Observation:
    """What groups say, by number: _0 and _1 are stable, _2 is the canary."""
    groups = {("serve", int(name[1:])): said for name, said in numbers.items()}
    return replace(observation, signals=Signals(groups))


def run(observation: services.Observation) -> View:
    return canary(services.view(observation))


def clocks(view: View) -> tuple[str | None, str | None]:
    return view.status.rollout.canary_placed_at, view.status.rollout.canary_ready_at


def test_without_a_canary_nothing_is_said() -> None:
    observation = rolling(old(0), services.group(1))
    assert run(observation) == services.view(observation)


def test_waiting_for_a_place_is_not_held_against_it() -> None:
    view = run(world(services.waiting(2), record=CANARY))
    assert clocks(view) == (None, None)
    assert view.status.rollout.refused is None
    assert view.status.rollout.message == "the canary waits for a place for 1 groups"


def test_its_time_to_be_ready_runs_from_its_place() -> None:
    view = run(world(services.starting(2), record=CANARY))
    assert clocks(view) == (services.ago(0), None)
    assert view.requeue_after == 600


def test_not_ready_in_time_is_refused() -> None:
    late = CANARY.model_copy(update={"canary_placed_at": services.ago(600)})
    view = run(world(services.starting(2), record=late))
    assert view.status.rollout.refused == NEW
    assert view.status.rollout.phase is RolloutPhase.ROLLED_BACK
    assert view.status_first
    assert services.reason(view.status, ServiceCondition.ROLLOUT_COMPLETE) == ("False", "RolledBack")
    assert [(e.type, e.reason) for e in view.events] == [("Warning", "RolledBack")]
    assert "1 groups not in service after 600 s" in (view.status.rollout.message or "")


def test_a_group_that_is_given_up_is_refused_at_once() -> None:
    failed = services.starting(2, phase=GroupPhase.FAILED, cause="OutOfMemory")
    view = run(world(failed, record=CANARY))
    assert "group 2 of role serve failed: OutOfMemory" in (view.status.rollout.message or "")


def test_when_ready_it_is_watched_for_its_time() -> None:
    view = run(world(services.group(2), record=CANARY))
    assert clocks(view) == (services.ago(0), services.ago(0))
    assert view.status.rollout.promoted is None
    assert view.requeue_after == 10
    assert run(replace(world(services.group(2)), status=view.status)).status == view.status


def test_after_its_time_it_is_promoted() -> None:
    view = run(world(services.group(2)))
    assert view.status.rollout.promoted == NEW
    assert view.status.rollout.phase is RolloutPhase.ROLLING
    assert view.status_first
    assert [e.reason for e in view.events] == ["Promoted"]


def test_leaving_service_begins_the_observation_anew() -> None:
    view = run(world(services.starting(2)))
    assert clocks(view) == (services.ago(0), None)
    assert view.status.rollout.promoted is None


def test_it_must_have_answered_enough() -> None:
    observation = world(services.group(2), minRequests=100)
    few = run(heard(observation, _2=GroupSignals(since_ready=Rates(300, requests=99))))
    assert few.status.rollout.promoted is None
    assert few.requeue_after == 10
    enough = run(heard(observation, _2=GroupSignals(since_ready=Rates(300, requests=100))))
    assert enough.status.rollout.promoted == NEW


def test_errors_refuse_it_at_any_time() -> None:
    early = READY.model_copy(update={"canary_ready_at": services.ago(5)})
    said = GroupSignals(since_ready=Rates(5, requests=100, failed_requests=20))
    view = run(heard(world(services.group(2), record=early), _2=said))
    assert view.status.rollout.refused == NEW


def test_latency_is_judged_at_the_end() -> None:
    late = Histogram(((0.1, 0), (1.0, 50), (float("inf"), 50)), 40, 50)
    early = Histogram(((0.1, 50), (1.0, 50), (float("inf"), 50)), 2, 50)
    said = {
        "_0": GroupSignals(since_ready=Rates(9000, ttft=early)),
        "_2": GroupSignals(since_ready=Rates(300, ttft=late)),
    }
    before = READY.model_copy(update={"canary_ready_at": services.ago(299)})
    assert run(heard(world(services.group(2), record=before), **said)).status.rollout.refused is None
    view = run(heard(world(services.group(2)), **said))
    assert view.status.rollout.refused == NEW
    assert "ttft" in (view.status.rollout.message or "")


@pytest.mark.parametrize("record", [READY, CANARY])
def test_by_hand_nothing_is_decided(record: RolloutStatus) -> None:
    said = GroupSignals(since_ready=Rates(300, requests=10, failed_requests=90))
    observation = heard(world(services.group(2), record=record, automatic=False), _2=said)
    view = run(observation)
    assert (view.status.rollout.promoted, view.status.rollout.refused) == (None, None)
    assert "90.0% of 100 requests failed" in (view.status.rollout.message or "")
    well = run(world(services.group(2), record=record, automatic=False))
    assert well.status.rollout.message == "the canary is in service; promote it or roll it back"


def test_while_paused_nothing_is_decided() -> None:
    observation = world(services.group(2), paused=True)
    assert run(observation) == services.view(observation)


def test_a_canary_is_as_many_groups_as_asked_beside_all_the_old_ones() -> None:
    view = scale(services.view(world(record=CANARY)))
    assert [(g.id, g.revision) for g in view.groups("serve")] == [(0, OLD), (1, OLD), (2, NEW)]
    assert not any(g.draining_since for g in view.groups("serve"))
    settled = scale(services.view(world(services.group(2))))
    assert not settled.status_first


def test_scaling_while_a_canary_runs_is_of_the_current_revision() -> None:
    observation = world(services.group(2))
    assert observation.spec is not None
    role = observation.spec.roles[0].model_copy(update={"replicas": 4})
    more = replace(observation, spec=observation.spec.model_copy(update={"roles": (role,)}))
    assert [g.revision for g in scale(services.view(more)).groups("serve")] == [OLD, OLD, NEW, OLD, OLD]
    role = role.model_copy(update={"replicas": 1})
    less = replace(observation, spec=observation.spec.model_copy(update={"roles": (role,)}))
    assert [(g.revision, bool(g.draining_since)) for g in scale(services.view(less)).groups("serve")] == [
        (OLD, False),
        (OLD, True),
        (NEW, False),
    ]


def test_a_refused_canary_goes_and_the_old_ones_stay() -> None:
    refused = READY.model_copy(update={"refused": NEW})
    view = scale(services.view(world(services.group(2), record=refused)))
    assert [(g.id, g.drain_reason) for g in view.groups("serve")] == [(0, None), (1, None), (2, "RolledBack")]
