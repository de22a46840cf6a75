"""The judge of chaos sees what must never be of an InferenceService, and says nothing of what may."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.chaos import judge_services
from e2e.chaos.judge import Judge, Limits

LIMITS = Limits(partial=10, orphan=10)
AT, LATER = "2027-01-15T08:00:00.000Z", "2027-01-15T08:00:10.000Z"
Status = dict[str, Any]


def group(number: int = 0, phase: str = "Serving", **fields: Any) -> Status:
    placed = {"attempt": 1, "nodes": ["host", "host"], "startedAt": AT}
    return {"id": number, "revision": "r1", "phase": phase, **placed, **fields}


def role(*groups: Status, desired: int = 1, **fields: Any) -> Status:
    return {"name": "serve", "desired": desired, "nextGroup": 9, "groups": list(groups), **fields}


def service(*roles: Status, unavailable: int = 0, **status: Any) -> Status:
    rollout = {"maxUnavailable": unavailable}
    spec = {"roles": [{"name": "serve", "groupSize": 2}], "rollout": rollout}
    body = {"updateRevision": "r1", "currentRevision": "r1", "observedGeneration": 1, **status}
    return {
        "metadata": {"uid": "s", "name": "chat", "generation": 1},
        "spec": spec,
        "status": {"roles": list(roles), **body},
    }


def faults(before: Status, after: Status, answered: float = 60.0) -> str:
    return "\n".join(judge_services.faults(before, after, lambda _gang: answered))


LET_GO = {"drainingSince": LATER, "drainReason": "Rollout"}


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (service(role(group())), service(role(group())), ""),
        (service(revisionCount=2), service(revisionCount=1), "revisionCount went from 2 to 1"),
        (
            service(restarts=[{"cause": "OOM", "count": 2}]),
            service(restarts=[{"cause": "OOM", "count": 1}]),
            "restarts for OOM went from 2 to 1",
        ),
        (service(role(nextGroup=3)), service(role(group(2))), "group serve/2 is there again"),
        (service(role(nextGroup=3)), service(role(group(3))), ""),
        (service(role(group(attempt=2))), service(role(group())), "went from attempt 2 to 1"),
        (service(role(group())), service(role(group(revision="r2"))), "went from revision r1 to r2"),
        (service(role(group(**LET_GO))), service(role(group())), "was to go and stays"),
    ],
)
def test_what_went_back(before: Status, after: Status, text: str) -> None:
    assert text in faults(before, after)
    assert bool(faults(before, after)) is bool(text)


@pytest.mark.parametrize(
    ("after", "answered", "wrong"),
    [
        (service(role(group(0), group(1, **LET_GO), desired=2)), 60, True),
        (service(role(group(0), group(1, **LET_GO), desired=2), unavailable=1), 60, False),
        (service(role(group(0), group(1, **LET_GO), desired=1)), 60, False),
        (service(role(group(0), group(1, **LET_GO), group(2), desired=2)), 60, False),
        (service(role(group(0), group(1, **LET_GO), group(2, "Starting"), desired=2)), 60, True),
        (service(role(group(0), group(1, **{**LET_GO, "drainReason": "Preempted"}), desired=2)), 60, False),
        (service(role(group(0), group(1, **LET_GO), desired=2)), 1, False),
    ],
)
def test_a_group_that_serves_is_let_go_only_while_enough_others_do(
    after: Status, answered: float, wrong: bool
) -> None:
    before = service(role(group(0), group(1), desired=2))
    assert ("at least" in faults(before, after, answered)) is wrong


def account(**changes: Any) -> Status:
    states = [{"state": "queued", "ms": 10}, {"state": "serving", "ms": 30}]
    whole = {"at": LATER, "elapsedMs": 40, "heldMs": 30, "roles": [{"role": "serve", "states": states}]}
    return service(serving={**whole, **changes})


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (account(), account(), ""),
        (account(), account(elapsedMs=41), "states have 40 ms of 41 ms"),
        (account(), account(heldMs=40), "held states have 30 ms of 40 ms"),
        (account(), account(at=AT), "the account went back"),
        (account(), service(), "the account is gone"),
        (
            account(),
            account(roles=[], elapsedMs=0, heldMs=0),
            "the account's serve/queued fell from 10 to 0 ms",
        ),
    ],
)
def test_an_account_that_does_not_add_up(before: Status, after: Status, text: str) -> None:
    assert text in faults(before, after)
    assert bool(faults(before, after)) is bool(text)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (service(role(group())), ""),
        (service(role(group()), observedGeneration=0), "another spec"),
        (service(role(group()), updateRevision="r2"), "its rollout is under way"),
        (service(role(group(0, "Starting"))), "0 groups of 1"),
        (service(role(group(0), group(1))), "not 1"),
        (service(role(group(revision="r0"))), "other revisions"),
    ],
)
def test_what_is_not_as_the_spec_says(found: Status, why: str) -> None:
    assert why in judge_services.unconverged(found, {"serve": 1})
    assert bool(judge_services.unconverged(found, {"serve": 1})) is bool(why)


class Case:
    """A node of four GPUs, and a judge that sees a service's pods on it."""

    def __init__(self) -> None:
        self.judge = Judge(LIMITS)
        ready = [{"type": "Ready", "status": "True"}]
        status = {"allocatable": {"nvidia.com/gpu": "4"}, "conditions": ready}
        self.judge.see(0, "nodes", None, {"metadata": {"name": "host"}, "status": status})
        self.pods: dict[str, Any] = {}

    def pod(self, at: float, worker: int, number: int = 0, attempt: int = 1, chips: int = 1) -> None:
        name = f"chat-serve-{attempt}-{number}-{worker}"
        labels = {"service-uid": "s", "role": "serve", "group": str(number), "attempt": str(attempt)}
        metadata = {
            "name": name,
            "uid": name,
            "labels": {f"drumline.dev/{k}": v for k, v in {**labels, "worker": str(worker)}.items()},
            "ownerReferences": [{"uid": "s", "controller": True}],
        }
        containers = [{"resources": {"limits": {"nvidia.com/gpu": str(chips)}}}]
        spec = {"nodeName": "host", "containers": containers}
        after = {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}
        before, self.pods[name] = self.pods.get(name), after
        self.judge.see(at, "pods", before, after)

    @property
    def found(self) -> str:
        self.judge.end(1000)
        return "\n".join(self.judge.found)


def test_groups_are_gangs() -> None:
    case = Case()
    case.judge.see(1, "inferenceservices", None, service(role(group(0), group(1), desired=2)))
    for number in (0, 1):
        for worker in (0, 1):
            case.pod(2, worker, number)
    assert case.found == ""


def test_a_part_of_a_group() -> None:
    case = Case()
    case.judge.see(1, "inferenceservices", None, service(role(group())))
    case.pod(2, 0)
    assert "only a part of the gang had nodes since 2.0 s" in case.found


def test_pods_of_a_group_that_nobody_has_or_that_is_not_begun() -> None:
    case = Case()
    case.judge.see(1, "inferenceservices", None, service(role(group())))
    case.pod(2, 0, attempt=2)
    assert "of an attempt that is not on record" in case.found
    assert "was unwanted since 2.0 s" in case.found


def test_a_service_and_a_job_hold_the_same() -> None:
    case = Case()
    case.judge.see(1, "inferenceservices", None, service(role(group(0), group(1), desired=2)))
    for worker in (0, 1):
        case.pod(2, worker, chips=2)
    case.pod(3, 0, number=1)
    assert "5 of 4 accelerators of host are held" in case.found
