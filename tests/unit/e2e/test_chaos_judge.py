"""The judge of chaos sees what must never be, and says nothing of what may."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.chaos import judge_ledger
from e2e.chaos.judge import Judge, Limits

LIMITS = Limits(partial=10, orphan=10)
CREATED, LATER = "2027-01-15T08:00:00.000Z", "2027-01-15T08:00:10.000Z"


class Case:
    """A node of two GPUs, a job of two workers, and a judge of them."""

    def __init__(self) -> None:
        self.judge = Judge(LIMITS)
        status = {"allocatable": {"nvidia.com/gpu": "2"}, "conditions": []}
        self.judge.see(0, "nodes", None, {"metadata": {"name": "host"}, "status": status})
        self.pods: dict[str, Any] = {}

    def job(self, at: float, uid: str = "a", **status: Any) -> None:
        spec = {"workersPerSlice": 2}
        self.judge.see(
            at, "trainingjobs", None, {"metadata": {"uid": uid, "name": uid}, "spec": spec, "status": status}
        )

    def pod(self, at: float, name: str, owner: str = "a", attempt: int = 1, **how: Any) -> None:
        """A pod of one GPU comes or changes."""
        metadata = {
            "name": name,
            "uid": name,
            "labels": {"drumline.dev/attempt": str(attempt), "drumline.dev/role": how.pop("role", "worker")},
            "ownerReferences": [{"uid": owner, "controller": True}],
        }
        if how.pop("deleting", False):
            metadata["deletionTimestamp"] = LATER
        chips = {"limits": {"nvidia.com/gpu": how.pop("chips", "1")}}
        field = {"key": "metadata.name", "operator": "In", "values": [how.pop("pinned", "host")]}
        required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
        containers = [{"resources": chips}]
        spec = {"nodeName": how.pop("node", "host"), "containers": containers, "affinity": affinity}
        after = {"metadata": metadata, "spec": spec, "status": {"phase": how.pop("phase", "Running")}}
        before, self.pods[name] = self.pods.get(name), after
        self.judge.see(at, "pods", before, after)

    @property
    def found(self) -> str:
        self.judge.end(1000)
        return "\n".join(self.judge.found)


def running(attempt: int = 1) -> dict[str, Any]:
    entries = [{"attempt": n, "finishedAt": LATER} for n in range(1, attempt)]
    return {"attempt": attempt, "attempts": [*entries, {"attempt": attempt}]}


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_gang_with_all_of_its_pods_is_well(case: Case) -> None:
    case.job(1, **running())
    case.pod(2, "p0")
    case.pod(3, "p1")
    assert case.found == ""


def test_accelerators_that_are_held_twice(case: Case) -> None:
    case.job(1, **running())
    case.job(1, "b", **running())
    case.pod(2, "p0", chips="2")
    case.pod(2, "q0", "b")
    assert "3 of 2 accelerators of host are held, by p0, q0" in case.found


def test_a_pod_that_came_when_its_job_had_ended_holds_nothing_unless_it_is_bound(case: Case) -> None:
    case.job(1, **running())
    case.job(1, "b", attempt=1, attempts=[{"attempt": 1, "finishedAt": LATER}])
    case.pod(2, "q0", "b", node="", pinned="host")
    case.pod(3, "p0", chips="2", node="", pinned="host")
    case.pod(4, "q0", "b", deleting=True)
    assert case.found == ""
    case.pod(5, "p0", chips="2")
    assert "3 of 2 accelerators of host are held, by p0, q0" in case.found


def test_a_pod_that_ended_holds_nothing(case: Case) -> None:
    case.job(1, **running())
    case.pod(2, "p0", chips="2")
    case.pod(3, "p0", chips="2", phase="Succeeded")
    case.pod(4, "p1")
    assert case.found == ""


def test_two_attempts_on_a_node(case: Case) -> None:
    case.job(1, **running())
    case.pod(2, "p0")
    case.job(3, **running(2))
    case.pod(4, "r0", attempt=2)
    assert "two attempts of a job on host: p0, r0" in case.found


def test_a_pod_of_an_attempt_that_is_not_on_record(case: Case) -> None:
    case.job(1, **running())
    case.pod(2, "p0", attempt=2)
    assert "p0 is of an attempt that is not on record" in case.found


@pytest.mark.parametrize(("at", "wrong"), [(11.9, False), (12.1, True)])
def test_a_part_of_a_gang_that_keeps_its_nodes(case: Case, at: float, wrong: bool) -> None:
    case.job(1, **running())
    case.pod(2, "p0")
    case.pod(at, "p1")
    assert ("only a part of the gang had nodes since 2.0 s" in case.found) is wrong


@pytest.mark.parametrize(("at", "wrong"), [(11.9, False), (13.1, True)])
def test_a_pod_that_nobody_wants(case: Case, at: float, wrong: bool) -> None:
    case.job(1, **running())
    case.pod(2, "p0")
    case.pod(2, "p1")
    ended = [{"attempt": 1, "finishedAt": LATER, "cause": "Unknown"}]
    case.job(3, attempt=1, attempts=ended)
    case.pod(3, "p0", deleting=True)
    case.pod(at, "p1", deleting=True)
    assert ("a pod of attempt 1 was unwanted since 3.0 s" in case.found) is wrong


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (running(2), running(1), "attempt went from 2 to 1"),
        ({"restartCount": 2}, {"restartCount": 1}, "restartCount went from 2 to 1"),
        ({"restarts": [{"cause": "Evicted", "count": 1}]}, {}, "restarts for Evicted went from 1 to 0"),
        (
            {},
            {"attempt": 3, "attempts": [{"attempt": 1}, {"attempt": 3}]},
            "attempts [1, 3] are not in a row",
        ),
        (
            {},
            {"attempt": 2, "attempts": [{"attempt": 1}]},
            "attempt 2 is on record, the last of [1] is not it",
        ),
        ({"goodput": {"at": LATER}}, {}, "the ledger is gone"),
        (
            {"attempt": 1, "attempts": [{"attempt": 1, "finishedAt": LATER, "cause": "Evicted"}]},
            {"attempt": 1, "attempts": [{"attempt": 1, "finishedAt": LATER, "cause": "Unknown"}]},
            "attempt 1 ended for Evicted, and now for Unknown",
        ),
        (
            {},
            {"attempt": 1, "epoch": 2, "attempts": [{"attempt": 1}, {"attempt": 1, "epoch": 2}]},
            "epochs [(1, 0), (1, 2)] are not in a row",
        ),
        (
            {},
            {"attempt": 1, "epoch": 1, "attempts": [{"attempt": 1}, {"attempt": 1, "epoch": 1}]},
            "an earlier one has not ended",
        ),
        (
            {"conditions": [{"type": "Failed", "status": "True"}]},
            {"conditions": [{"type": "Failed", "status": "False"}]},
            "it had ended and goes on",
        ),
    ],
)
def test_what_went_back_or_was_forgotten(case: Case, before: Any, after: Any, text: str) -> None:
    case.judge._gangs.clear()
    case.judge.see(1, "trainingjobs", None, _job({}))
    case.judge._gangs["a"].job = _job(before)
    case.judge.see(2, "trainingjobs", _job(before), _job(after))
    assert text in case.found


def _job(status: Any) -> dict[str, Any]:
    return {"metadata": {"uid": "a", "name": "a"}, "spec": {"workersPerSlice": 2}, "status": status}


def goodput(**changes: Any) -> dict[str, Any]:
    """Two lanes of four chips for ten seconds, a quarter of it in the queue."""
    states = [{"state": "queued", "ms": 20_000}, {"state": "idle_tail", "ms": 55_000}]
    whole = {"at": LATER, "startedAt": CREATED, "lanes": 2, "chipsPerLane": 4, "elapsedMs": 80_000}
    return {**whole, "heldMs": 60_000, "provisionalMs": 5_000, "states": states, **changes}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, ""),
        ({"elapsedMs": 80_001}, "the ledger has 80001 ms in 80000 ms"),
        ({"provisionalMs": 4_999}, "its states have 79999 ms of 80000 ms"),
        ({"heldMs": 60_001}, "its held states have 60000 ms of 60001 ms"),
    ],
)
def test_a_ledger_that_does_not_add_up(changes: Any, text: str) -> None:
    assert text in "\n".join(judge_ledger.faults({}, _job({"goodput": goodput(**changes)})))
    assert bool(text) is bool(list(judge_ledger.faults({}, _job({"goodput": goodput(**changes)}))))


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ({}, ""),
        ({"at": "2027-01-15T08:00:11.000Z"}, "the ledger went back"),
        ({"states": [{"state": "queued", "ms": 20_001}]}, "the ledger's queued fell from 20001 to 20000 ms"),
        ({"heldMs": 60_001}, "the ledger's heldMs fell from 60001 to 60000"),
    ],
)
def test_a_ledger_that_falls(before: Any, text: str) -> None:
    found = list(judge_ledger.faults({"goodput": goodput(**before)}, _job({"goodput": goodput()})))
    assert [text in f for f in found] == ([True] if text else [])


def test_a_gang_is_as_large_as_its_attempt_and_spares_are_none_of_it(case: Case) -> None:
    spec = {"workersPerSlice": 1, "slices": 3, "elastic": {"minSlices": 1}}
    job = {"metadata": {"uid": "a", "name": "a"}, "spec": spec, "status": {**running(), "slices": 1}}
    case.judge.see(0, "trainingjobs", None, job)
    case.pod(1, "a-1-0-0")
    case.pod(1, "a-1-spare-0", role="spare")
    assert not case.found
    job = {**job, "status": {**running(), "slices": 2}}
    case.judge.see(1001, "trainingjobs", None, job)
    case.judge.end(1100)
    assert "only a part of the gang had nodes" in case.found
