"""A job that is refused its accelerator for long asks for the next one, while it holds nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drumline.api.candidates import with_candidate
from drumline.api.reasons import ConditionType, Reason
from drumline.api.shape import resolve_shape
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.types import Refusal
from drumline.core.training.decide import decide
from drumline.core.training.fallback import NO_ROOM
from drumline.core.training.members import roster
from drumline.core.training.observation import Granted, Observation
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

H100, H200 = "nvidia-h100-80gb", "nvidia-h200-141gb"
NO = Refusal(Reason.INSUFFICIENT_ACCELERATORS, "needs 4 nodes")
SECONDS = 600


def job(**accelerator: Any) -> Observation:
    chosen = {"type": H100, "candidates": [{"type": H200, "nodeSelector": {"spot": "true"}}], **accelerator}
    return jobs.settled(jobs.job(jobs.spec(accelerator=chosen)))


def asking(obs: Observation, answer: Refusal | Granted | None = NO) -> Observation:
    """The observation as it is once its status was read again, with what admission says."""
    assert obs.spec is not None
    spec = with_candidate(obs.spec, obs.status.candidate or 0)
    shape = resolve_shape(spec, obs.catalog)
    members = roster(obs.job.name, spec, shape.workers_per_slice)
    return replace(obs, spec=spec, shape=shape, roster=members, admission=answer)


def refused(obs: Observation, at: float, answer: Refusal = NO) -> Observation:
    """The observation after a refusal was written at `at`."""
    return jobs.settled(asking(obs, answer), at)


def test_the_next_accelerator_is_tried_after_a_while() -> None:
    obs = refused(job(), NOW)
    assert obs.status.refused_since == rfc3339_millis(NOW)
    early = decide(asking(obs), NOW + SECONDS - 1)
    assert early.waiting is not None
    assert early.requeue_after == pytest.approx(1.0)
    plan = decide(asking(obs), NOW + SECONDS)
    assert plan.waiting is None  # what admission was asked of the first one is void
    status = jobs.written(plan)
    assert status is not None
    assert (status["candidate"], status.get("refusedSince"), status["queuedAt"]) == (
        1,
        None,
        obs.status.queued_at,
    )
    assert jobs.reason(status, ConditionType.QUOTA_RESERVED) == ("False", "AcceleratorFallback")
    assert [e.reason for e in plan.events] == ["AcceleratorFallback"]
    assert "asking for nvidia-h200-141gb with spot=true" in plan.events[0].message


def test_it_asks_for_the_next_one_and_then_for_the_first_again() -> None:
    second = jobs.settled(asking(refused(job(), NOW)), NOW + SECONDS)
    plan = decide(asking(second, None), NOW + SECONDS)
    assert plan.waiting is not None
    assert plan.waiting.accelerator == H200
    assert plan.waiting.queued_at == NOW - 5
    again = refused(second, NOW + 700)
    assert "(nvidia-h200-141gb, 2 of 2 accelerators)" in again.status.conditions[0].message
    first = jobs.settled(asking(again), NOW + 700 + SECONDS)
    assert first.status.candidate == 0


def test_it_begins_on_the_candidate_and_restarts_there() -> None:
    second = asking(jobs.settled(asking(refused(job(), NOW)), NOW + SECONDS), None)
    asked = refused(second, NOW + 700)
    plan = decide(replace(asked, admission=Granted(jobs.placement(asked))), NOW + 800)
    selectors = [create.manifest["spec"]["nodeSelector"] for create in plan.actions[-1]]
    assert len(selectors) == 4
    assert all(s["spot"] == "true" for s in selectors)
    begun = jobs.begun(asked, NOW + 800)
    assert (begun.status.candidate, begun.status.refused_since) == (1, None)
    placed = next(c for c in begun.status.conditions if c.type == "QuotaReserved")
    assert placed.message.endswith("(nvidia-h200-141gb, 2 of 2 accelerators)")
    lost = replace(jobs.with_pod(begun, 0, lambda p: jobs.failed(jobs.up(p))), admission=NO)
    after = jobs.settled(lost, NOW + 5000)
    waiting = jobs.settled(replace(after, pods={}, admission=NO, unhealthy=frozenset({"node-0"})), NOW + 5060)
    assert waiting.status.placement is not None  # its other nodes are its own
    assert (waiting.status.candidate, waiting.status.refused_since) == (1, None)


def test_it_stays_while_a_pod_of_it_is_still_there() -> None:
    obs = refused(job(), NOW)
    old = {p.name: p for p in jobs.pods(jobs.begun())}
    plan = decide(asking(replace(obs, pods=old)), NOW + 2 * SECONDS)
    assert (jobs.written(plan) or {}).get("candidate") is None
    assert plan.waiting is not None


def test_a_job_without_candidates_waits_on() -> None:
    obs = jobs.settled(asking(jobs.job(jobs.spec(accelerator={"type": H100}))), NOW)
    assert obs.status.refused_since is None
    assert decide(asking(obs), NOW + 10 * SECONDS).waiting is not None


@pytest.mark.parametrize("reason", sorted(NO_ROOM))
def test_every_want_of_room_counts(reason: Reason) -> None:
    obs = refused(job(fallbackSeconds=5), NOW, Refusal(reason, "no"))
    status = jobs.written(decide(asking(obs, Refusal(reason, "no")), NOW + 5))
    assert status is not None
    assert status["candidate"] == 1


def test_what_another_accelerator_does_not_mend_stops_the_clock() -> None:
    obs = refused(refused(job(), NOW), NOW + 1, Refusal(Reason.POD_FORBIDDEN, "no"))
    assert obs.status.refused_since is None


def test_the_clock_stops_with_a_suspension() -> None:
    obs = refused(job(), NOW)
    assert obs.spec is not None
    held = jobs.settled(replace(obs, spec=obs.spec.model_copy(update={"suspend": True})), NOW + 1)
    assert held.status.refused_since is None
