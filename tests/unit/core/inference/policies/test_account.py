"""The account goes with every status, speaks of the time before it, and is written for its own sake now and then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.inference_status import GroupPhase
from drumline.api.serving import ServingStatus
from drumline.core.inference.observation import Observation
from drumline.core.inference.policies.account import HELD_SECONDS, WAITING_SECONDS, account
from drumline.core.inference.signals import EngineSample, GroupSignals, Signals
from drumline.core.inference.view import View
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NOW, ago

SINCE = 20.0  # seconds from the last account to now
COUNTED = 1000


def accounted(observation: Observation, now: float = NOW - SINCE) -> Observation:
    """The observation with an account written at `now`."""
    written = account(View(observation, now, observation.status)).status
    return replace(observation, status=written)


def busy(observation: Observation, tokens: float = COUNTED, role: str = "serve") -> Observation:
    """The observation with engines that have had work all the time."""
    samples = tuple(
        EngineSample(NOW - age, waiting=0, running=1, generation_tokens=tokens) for age in (30, 15, 1)
    )
    said = {
        (r.name, g.id): GroupSignals(latest=samples[-1], samples=samples)
        for r in observation.status.roles
        for g in r.groups
        if r.name == role
    }
    return replace(observation, signals=Signals(said))


def grown(before: ServingStatus | None, after: ServingStatus | None, role: str = "serve") -> dict[str, int]:
    """Milliseconds by state that came between two accounts."""

    def times(status: ServingStatus | None) -> dict[str, int]:
        found = [r for r in (status or ServingStatus()).roles if r.role == role]
        return {s.state: s.ms for r in found for s in r.states}

    known = times(before)
    return {state: ms - known.get(state, 0) for state, ms in times(after).items() if ms != known.get(state)}


def settled(view: View) -> dict[str, int]:
    after = account(view).status.serving
    assert after is not None
    assert after.elapsed_ms == sum(s.ms for r in after.roles for s in r.states)
    return grown(view.obs.status.serving, after)


def with_group(view: View, number: int = 0, **changes: object) -> View:
    group = next(g for g in view.groups("serve") if g.id == number)
    return view.put("serve", group.model_copy(update=changes))


def test_time_in_service_is_that_of_the_observed_status() -> None:
    view = services.view(busy(accounted(services.serving())))
    assert settled(view.with_status(phase="Serving")) == {"serving": 2 * 20_000}


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": GroupPhase.BACKOFF, "started_at": None, "ready_at": None, "created": False},
        {"phase": GroupPhase.FAILED, "started_at": None, "ready_at": None, "nodes": ()},
        {"phase": GroupPhase.DRAINING, "draining_since": ago(0), "nodes": ()},
    ],
)
def test_a_group_that_goes_out_of_service_now_was_in_service_until_now(changes: dict[str, object]) -> None:
    view = services.view(busy(accounted(services.serving())))
    assert settled(with_group(view, **changes)) == {"serving": 2 * 20_000}


def test_what_its_engine_counted_since_is_not_lost_with_the_attempt() -> None:
    before = accounted(busy(services.serving(), tokens=400))
    view = with_group(services.view(busy(before)), phase=GroupPhase.BACKOFF, started_at=None, ready_at=None)
    serving = account(view).status.serving
    assert serving is not None
    assert serving.roles[0].generation_tokens == COUNTED


@pytest.mark.parametrize(
    ("paused_until", "expected"),
    [
        (0, {"binding": 2 * 20_000}),
        (5, {"binding": 2 * 15_000, "draining": 2 * 5_000}),  # then it waited for its pods to go
        (60, {"draining": 2 * 20_000}),
    ],
)
def test_between_attempts(paused_until: float, expected: dict[str, int]) -> None:
    pause = {"started_at": None, "ready_at": None, "next_attempt_at": ago(paused_until)}
    over = services.group(phase=GroupPhase.BACKOFF, **pause)
    observation = accounted(services.with_groups(services.service(), "serve", over))
    begun = {"phase": GroupPhase.STARTING, "attempt": 2, "started_at": ago(0), "next_attempt_at": None}
    assert settled(with_group(services.view(observation), **begun)) == expected


def test_pods_of_an_attempt_that_is_over_are_leftovers() -> None:
    over = services.group(phase=GroupPhase.BACKOFF, started_at=None, ready_at=None, next_attempt_at=ago(-60))
    observation = services.with_groups(services.service(), "serve", over)
    pods = [services.deleting(pod) for pod in services.pods_of("serve", over)]
    observation = accounted(services.with_pods(observation, "serve", 0, pods))
    assert settled(services.view(observation).with_status(phase="Pending")) == {"draining": 2 * 20_000}


def test_a_group_that_is_wanted_now_has_no_time_yet_and_one_that_is_gone_drained() -> None:
    observation = accounted(services.with_groups(services.service(), "serve", services.draining()))
    view = services.view(observation).drop("serve", 0)
    view = view.put("serve", services.waiting(1, queued_at=ago(0)))
    assert settled(view) == {"draining": 2 * 20_000}
    after = account(view).status.serving
    assert after is not None
    assert '"serve",1,' in after.resume
    assert '"serve",0,' not in after.resume


def test_without_another_reason_it_is_written_now_and_then() -> None:
    held, waiting = accounted(services.serving()), services.service()
    waiting = accounted(services.with_groups(waiting, "serve", services.waiting()))
    early = account(services.view(held))
    assert early.status is held.status
    assert early.requeue_after == HELD_SECONDS - SINCE
    assert account(services.view(waiting)).requeue_after == WAITING_SECONDS - SINCE
    due = account(services.view(held, NOW - SINCE + HELD_SECONDS))
    assert due.status.serving != held.status.serving
    assert due.requeue_after == HELD_SECONDS


def test_a_service_without_groups_has_no_account_until_it_has_some() -> None:
    empty = services.view(services.service())
    assert account(empty).status.serving is None
    view = services.view(accounted(services.serving()))
    closed = account(view.with_status(roles=()))
    assert grown(view.status.serving, closed.status.serving) == {"draining": 2 * 20_000}
    assert closed.requeue_after is None
    later = replace(view.obs, status=closed.status)
    assert account(services.view(later, NOW + 3600)).status is later.status


def test_accelerators_are_counted_and_paid_for() -> None:
    h100 = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
    raw = services.spec(services.role(accelerator=h100, groupSize=2))
    observation = accounted(services.serving(services.service(raw)))
    view = services.view(busy(observation)).with_status(phase="Serving")
    assert settled(view) == {"serving": 16 * 20_000}
    before, after = observation.status.serving, account(view).status.serving
    price = services.CATALOG["nvidia-h100-80gb"].price
    assert before is not None
    assert after is not None
    assert price is not None
    paid = (after.cost_usd or 0) - (before.cost_usd or 0)
    assert paid == pytest.approx(16 * 20 / 3600 * price.usd_per_chip_hour, abs=1e-5)
