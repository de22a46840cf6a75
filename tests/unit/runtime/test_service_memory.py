"""A route that can't be written holds up nothing else, and is tried again ever later."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.inference_status import GroupPhase
from drumline.core.gang.plan import Plan
from drumline.core.inference.policies.creation import creation
from drumline.core.inference.policies.failure import failure
from drumline.runtime.controller import Clocks
from drumline.runtime.errors import (
    ApiError,
    Conflict,
    FieldDropped,
    Forbidden,
    Invalid,
    NameConflict,
    NotFound,
    Throttled,
    Unavailable,
)
from drumline.runtime.executor import Outcome
from drumline.runtime.service_memory import REFUSED_SECONDS, learn
from drumline.runtime.service_observe import Beside, observe
from tests.unit.core.inference import elsewhere, services
from tests.unit.core.inference.elsewhere import GROUPS, NEED, THEIRS
from tests.unit.core.inference.services import NOW
from tests.unit.runtime.service_lab import Lab

ROUTE = "httproutes/chat"
INVALID = Invalid("hostnames[0]: Invalid value", status=422)


@pytest.fixture
async def lab() -> Lab:
    return Lab()


def learned(lab: Lab, outcome: Outcome, after: float = 0.0) -> bool:
    """Whether that outcome changes what is decided next."""
    clocks = Clocks(lambda: NOW + after, lambda: NOW + after)
    return learn(lab.sees(services.service()), lab.memory, Plan(), outcome, clocks)


def routes(lab: Lab, after: float = 0.0) -> tuple[dict[str, str], set[str]]:
    """Routes that were refused, and those that are not to be tried yet."""
    record = lab.sees(services.service())
    seen = observe(lab.world, record, Beside(lab.controller._settings, now=NOW + after))
    return dict(seen.refused), set(seen.withheld)


async def test_what_the_api_server_refuses_for_good_is_tried_a_minute_later(lab: Lab) -> None:
    assert learned(lab, Outcome(failed=ROUTE, error=INVALID))
    assert routes(lab) == ({ROUTE: "hostnames[0]: Invalid value"}, {ROUTE})
    assert routes(lab, REFUSED_SECONDS) == ({ROUTE: "hostnames[0]: Invalid value"}, set())
    assert not learned(lab, Outcome(failed="services/chat", error=INVALID))


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("failed calling webhook", status=500),
        Throttled("too many requests", status=429),
        Conflict("the object has been modified", status=409),
        NotFound("the server could not find the requested resource", status=404),
    ],
)
async def test_a_failure_of_the_moment_ends_no_plan_and_is_tried_again_ever_later(
    lab: Lab, error: ApiError
) -> None:
    outcome, now, pauses = Outcome(failed=ROUTE, error=error), 0.0, []
    for _ in range(7):
        assert learned(lab, outcome, now)
        assert lab.controller._again(lab.memory, Plan(), outcome, decisive=True) == 0.0
        pauses.append(lab.memory.refused[ROUTE].pause)
        assert routes(lab, now)[1] == {ROUTE}
        now += pauses[-1]
        assert routes(lab, now)[1] == set()
    assert pauses == [2, 4, 8, 16, 32, 60, 60]


async def test_a_service_with_a_refused_route_is_looked_at_when_its_time_has_come(lab: Lab) -> None:
    learned(lab, Outcome(failed=ROUTE, error=Unavailable("no", status=503)))
    assert lab.controller._again(lab.memory, Plan(requeue_after=30), Outcome(), decisive=False) == 2


async def test_a_route_that_was_written_is_refused_no_more(lab: Lab) -> None:
    learned(lab, Outcome(failed=ROUTE, error=Unavailable("no", status=503)))
    assert not learned(lab, Outcome(), after=1)
    assert routes(lab, 1) == ({ROUTE: "no"}, {ROUTE})
    assert learned(lab, Outcome(applied=[]), after=2), "what it says of its routes is to be put right"
    assert lab.controller._again(lab.memory, Plan(), Outcome(), decisive=True) == 0.0
    assert routes(lab, 2) == ({}, set())


async def test_in_a_namespace_that_ends_no_route_is_to_blame(lab: Lab) -> None:
    causes = {"causes": [{"reason": "NamespaceTerminating"}]}
    ends = Invalid("it is being terminated", status=403, details=causes)
    assert not learned(lab, Outcome(failed=ROUTE, error=ends))
    assert routes(lab) == ({}, set())


THEIR_OBJECT = f"{GROUPS}/chat-serve-1-0-g"


@pytest.mark.parametrize(
    "error",
    [
        Invalid("spec.schedulingPolicy: Invalid value", status=422),
        Forbidden("exceeded quota: podgroups", status=403),
        FieldDropped("the API server dropped spec.schedulingPolicy of it", "7"),
        NameConflict(THEIR_OBJECT, f"{THEIR_OBJECT} exists and belongs to no controller"),
    ],
)
async def test_a_backends_object_that_is_refused_for_good_ends_its_groups_attempt_and_no_others(
    lab: Lab, error: ApiError
) -> None:
    groups = [services.starting(number, nodes=("", ""), backend="native") for number in (0, 1)]
    seen = services.with_groups(services.service(elsewhere.raw()), "serve", *groups)
    known = {"native": THEIRS}
    begun = replace(seen, backend=THEIRS, backends=known, theirs_known=frozenset({NEED}))
    plan = Plan(actions=creation(services.view(begun)).actions)
    clocks = Clocks(lambda: NOW, lambda: NOW)
    assert learn(lab.sees(begun), lab.memory, plan, Outcome(failed=THEIR_OBJECT, error=error), clocks)
    told = observe(lab.world, lab.sees(begun), Beside(lab.controller._settings, now=NOW))
    assert (set(told.blocked), told.foreign) == ({f"{services.UID}/serve/0"}, frozenset())
    view = failure(services.view(replace(begun, blocked=told.blocked)))
    assert [g.phase for g in view.groups("serve")] == [GroupPhase.BACKOFF, GroupPhase.STARTING]
    assert THEIR_OBJECT in view.events[-1].message
