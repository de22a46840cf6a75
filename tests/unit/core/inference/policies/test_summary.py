"""What is said of the service as a whole: counts, conditions, phase, URL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.inference_status import GroupPhase
from drumline.api.reasons import Reason, ServiceCondition
from drumline.core.gang.types import Refusal
from drumline.core.inference.policies.summary import summary
from drumline.core.inference.signals import Scaling, Signals
from tests.unit.core.inference import services
from tests.unit.core.inference.services import reason, with_groups

READY, AVAILABLE = ServiceCondition.READY, ServiceCondition.AVAILABLE
PROGRESSING, SCALING = ServiceCondition.PROGRESSING, ServiceCondition.SCALING_ACTIVE


def said(observation):
    return summary(services.view(observation)).status


def of(*groups, replicas=2, **changes):
    raw = services.spec(services.role(replicas=replicas), **changes)
    return with_groups(services.service(raw), "serve", *groups)


def test_a_service_with_all_its_groups_is_ready() -> None:
    status = said(of(services.group(0), services.group(1)))
    assert reason(status, READY) == ("True", Reason.GROUPS_READY)
    assert reason(status, AVAILABLE) == ("True", Reason.GROUPS_READY)
    assert reason(status, PROGRESSING) == ("False", Reason.GROUPS_SETTLED)
    assert (status.phase, status.url) == ("Serving", "http://chat.ns.svc:80")


def test_groups_are_counted_by_what_they_are() -> None:
    observation = services.old_revision(
        of(
            services.group(0),
            services.group(1, revision=services.OLD),
            services.draining(2),
            services.waiting(3),
        )
    )
    status = said(observation)
    role = status.roles[0]
    assert (role.desired, role.replicas, role.ready, role.updated) == (2, 4, 2, 1)
    assert (status.replicas, status.ready_replicas) == (4, 2)


def resting(number):
    return services.group(number, phase=GroupPhase.BACKOFF, message="OutOfMemory: pod x", started_at=None)


def failed(number):
    return services.group(number, phase=GroupPhase.FAILED, nodes=(), message="2 restarts are allowed")


@pytest.mark.parametrize(
    ("group", "expected", "phase"),
    [
        (failed(1), Reason.MAX_RESTARTS, "Degraded"),
        (resting(1), Reason.GROUP_RESTARTING, "Degraded"),
        (services.starting(1), Reason.GROUPS_STARTING, "Degraded"),
        (services.waiting(1), Reason.QUEUED, "Degraded"),
        (services.waiting(1, next_attempt_at=services.ago(-9)), Reason.BACKOFF, "Degraded"),
    ],
)
def test_ready_says_what_is_in_the_way(group, expected, phase) -> None:
    status = said(of(services.group(0), group))
    assert reason(status, READY) == ("False", expected)
    assert status.conditions[0].message.startswith("1 of 2 groups of serve are in service")
    assert reason(status, AVAILABLE)[0] == "True"
    assert status.phase == phase


def test_the_weightiest_obstacle_counts() -> None:
    status = said(of(services.starting(0), resting(1), failed(2), replicas=3))
    assert reason(status, READY)[1] == Reason.MAX_RESTARTS
    assert "group serve/2: 2 restarts are allowed" in status.conditions[0].message


def test_a_refusal_of_admission_is_the_reason() -> None:
    uid = services.view(of()).uid_of("serve", 0)
    refusal = Refusal(Reason.NAMESPACE_QUOTA, "quota x")
    status = said(replace(of(services.waiting(0)), admission={uid: refusal}))
    assert reason(status, READY) == ("False", Reason.NAMESPACE_QUOTA)
    assert reason(status, AVAILABLE) == ("False", Reason.NO_GROUP_READY)
    assert status.phase == "Pending"


def test_a_service_of_which_every_group_failed_has_failed() -> None:
    status = said(of(failed(0), failed(1)))
    assert status.phase == "Failed"
    assert reason(status, PROGRESSING)[0] == "False"


def test_a_role_that_waits_for_another_says_so() -> None:
    raw = services.spec(services.role("prefill"), services.role("decode", startAfter=["prefill"]))
    observation = with_groups(services.service(raw), "prefill", services.group())
    observation = with_groups(observation, "decode", services.waiting())
    assert reason(said(observation), READY)[1] == Reason.QUEUED
    observation = with_groups(observation, "prefill")
    assert reason(said(observation), READY)[1] == Reason.START_AFTER


def test_suspended_and_scaled_to_zero_are_told_apart() -> None:
    suspended = said(of(suspend=True))
    assert (suspended.phase, reason(suspended, AVAILABLE)[1]) == ("Suspended", Reason.SUSPENDED)
    zero = said(of(replicas=0))
    assert (zero.phase, reason(zero, AVAILABLE)[1]) == ("Serving", Reason.SCALED_TO_ZERO)


def test_a_role_that_is_no_more_is_forgotten_with_its_last_group() -> None:
    observation = with_groups(of(services.group(0), services.group(1)), "gone", services.draining())
    assert [r.name for r in said(observation).roles] == ["serve", "gone"]
    assert [r.name for r in said(with_groups(observation, "gone")).roles] == ["serve"]


@pytest.mark.parametrize(
    ("autoscaling", "scaling", "expected"),
    [
        (None, {}, ("False", Reason.NOT_SCALED)),
        ({"mode": "External", "maxReplicas": 4}, {}, ("True", Reason.SCALED_EXTERNALLY)),
        ({"maxReplicas": 4}, {}, ("False", Reason.METRICS_MISSING)),
        ({"maxReplicas": 4}, {"serve": Scaling(2)}, ("False", Reason.METRICS_MISSING)),
        (
            {"maxReplicas": 4},
            {"serve": Scaling(2, metrics=(("waiting", 1.0, 2.0),))},
            ("True", Reason.SCALED_BY_METRICS),
        ),
    ],
)
def test_who_scales_is_told(autoscaling, scaling, expected) -> None:
    role = services.role() if autoscaling is None else services.role(autoscaling=autoscaling)
    observation = services.service(services.spec(role), signals=Signals(scaling=scaling))
    assert reason(said(observation), SCALING) == expected


def test_becoming_ready_is_an_event_once() -> None:
    observation = of(services.group(0), services.group(1))
    first = summary(services.view(observation))
    assert [e.reason for e in first.events] == [Reason.GROUPS_READY]
    again = summary(services.view(replace(observation, status=first.status)))
    assert (again.events, again.status) == ((), first.status)
