"""Watches over every change of a cluster, in order, and says what must never be.

At each change: no node's accelerators are held by more pods than it has; no two attempts of a job have pods that
may run on the same node; attempts, counts and times never go back, none is skipped or forgotten; nothing begins
before its attempt is on record, or after its job has ended; the ledger adds up (`judge_ledger`).
For no longer than a limit: a gang of which only a part has its nodes; a pod that nobody wants any more.
Each group of an InferenceService is a gang too; what else must never be of it says `judge_services`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from e2e.chaos import judge_ledger, judge_services, pods

Document = Mapping[str, Any]
RESOURCES = ("trainingjobs", "inferenceservices", "pods", "nodes")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds for which a gang may have a part of its nodes, and a pod be unwanted."""

    partial: float
    orphan: float


@dataclass
class _Gang:
    """What is remembered of a job."""

    job: Document | None = None
    pods: dict[str, Document] = field(default_factory=dict)  # by uid
    begun: int = 0  # the highest attempt that was on record
    partial_since: float | None = None
    unwanted: dict[str, float] = field(default_factory=dict)  # uid → since
    late: set[str] = field(default_factory=set)  # pods that nobody wanted any more when they were created
    answers_since: float | None = None  # all of its pods


@dataclass
class Judge:
    """Told of every change in the order of versions; `found` lists what was wrong, once each."""

    limits: Limits
    found: list[str] = field(default_factory=list)
    changes: int = 0
    _gangs: dict[str, _Gang] = field(default_factory=dict)  # by uid of the job; by uid, role and group
    _services: dict[str, Document] = field(default_factory=dict)  # by uid
    _nodes: dict[str, Document] = field(default_factory=dict)
    _placed: dict[str, dict[str, Document]] = field(default_factory=dict)  # node → uid → pod
    _said: set[str] = field(default_factory=set)

    def see(self, at: float, resource: str, before: Document | None, after: Document | None) -> None:
        """One change, at so many seconds of a clock that never goes back."""
        self.changes += 1
        document = after or before
        if document is None or resource not in RESOURCES:
            return
        if resource == "nodes":
            self._see_node(document["metadata"]["name"], after)
        elif resource == "trainingjobs":
            self._see_job(at, document["metadata"]["uid"], after)
        elif resource == "inferenceservices":
            self._see_service(at, document["metadata"]["uid"], after)
        elif gang := pods.gang_of(document):
            self._see_pod(at, gang, before, after)

    def end(self, at: float) -> None:
        """Nothing follows: what has lasted too long is said now."""
        for gang in self._gangs.values():
            self._lasted(at, gang)

    def wrong(self, at: float, text: str) -> None:
        """Something that must never be."""
        if text not in self._said:
            self._said.add(text)
            self.found.append(f"at {at:.1f} s: {text}")

    def live_pods(self) -> Iterator[Document]:
        """Pods of gangs that hold something now."""
        for gang in self._gangs.values():
            yield from (p for p in gang.pods.values() if not pods.is_over(p))

    def _see_node(self, name: str, node: Document | None) -> None:
        if node is None:
            self._nodes.pop(name, None)
        else:
            self._nodes[name] = node

    def _see_job(self, at: float, uid: str, job: Document | None) -> None:
        gang = self._gangs.setdefault(uid, _Gang())
        if job is not None:
            before = (gang.job or {}).get("status") or {}
            for text in (*_went_back(before, job), *judge_ledger.faults(before, job)):
                self.wrong(at, f"{job['metadata']['name']}: {text}")
        self._see_gang(at, gang, job)

    def _see_gang(self, at: float, gang: _Gang, job: Document | None) -> None:
        if job is not None:
            gang.begun = max(gang.begun, int((job.get("status") or {}).get("attempt", 0)))
        gang.job = job
        self._judge_gang(at, gang)

    def _see_service(self, at: float, uid: str, service: Document | None) -> None:
        before = self._services.pop(uid, {})
        groups: dict[str, Document] = {}
        if service is not None:
            for text in judge_services.faults(before, service, lambda gang: self._answers(at, gang)):
                self.wrong(at, f"{service['metadata']['name']}: {text}")
            self._services[uid] = service
            groups = judge_services.gangs(service)
        for key in sorted(groups.keys() | (judge_services.gangs(before).keys() if before else ())):
            self._see_gang(at, self._gangs.setdefault(key, _Gang()), groups.get(key))

    def _answers(self, at: float, key: str) -> float:
        """For how many seconds all of a group's pods have been ready, on nodes that are."""
        gang = self._gangs.get(key)
        if gang is None or gang.answers_since is None:
            return 0.0
        places = (self._nodes.get(pods.bound_to(pod)) for pod in gang.pods.values())
        ready = all(node is not None and pods.is_ready_node(node) for node in places)
        return at - gang.answers_since if ready else 0.0

    def _see_pod(self, at: float, key: str, before: Document | None, after: Document | None) -> None:
        gang = self._gangs.setdefault(key, _Gang())
        pod = after or before or {}
        uid = pod["metadata"]["uid"]
        place = pods.place_of(pod)
        self._placed.setdefault(place, {}).pop(uid, None)
        gang.pods.pop(uid, None)
        if after is not None:
            gang.pods[uid] = after
        whole = sum(map(pods.answers, gang.pods.values())) >= _size(gang.job) > 0
        gang.answers_since = (gang.answers_since or at) if whole else None
        if after is not None:
            if before is None:
                self._judge_new(at, gang, after)
            if not pods.is_over(after):
                self._placed[place][uid] = after
                if before is None or pods.bound_to(before) != pods.bound_to(after):
                    self._judge_place(at, place, after)
        self._judge_gang(at, gang)

    def _judge_place(self, at: float, place: str, pod: Document) -> None:
        node = self._nodes.get(place)
        if node is None:
            return
        there = list(self._placed[place].values())
        room = int(node["status"]["allocatable"].get(pods.GPU, 0))
        for holding in ([p for p in there if pods.bound_to(p)], [p for p in there if self._holds(p)]):
            if (held := sum(map(pods.chips_of, holding))) > room:
                names = ", ".join(sorted(p["metadata"]["name"] for p in holding))
                self.wrong(at, f"{held} of {room} accelerators of {place} are held, by {names}")
        mine = [p for p in there if self._holds(p) and pods.gang_of(p) == pods.gang_of(pod)]
        if len({pods.attempt_of(p) for p in mine}) > 1:
            names = ", ".join(sorted(p["metadata"]["name"] for p in mine))
            self.wrong(at, f"two attempts of a job on {place}: {names}")

    def _holds(self, pod: Document) -> bool:
        """A bound pod does; one that may be bound does while somebody wants it.

        A create that the API server carries out long after its sender has given up may come after the job's end:
        that pod is the garbage collector's, and nobody could keep a place for it.
        """
        gang = self._gangs.get(pods.gang_of(pod))
        if gang is not None and pod["metadata"]["uid"] in gang.late:
            return False
        return bool(pods.bound_to(pod)) or (
            gang is not None and _wanted_attempt(gang.job) == pods.attempt_of(pod)
        )

    def _judge_new(self, at: float, gang: _Gang, pod: Document) -> None:
        name, attempt = pod["metadata"]["name"], pods.attempt_of(pod)
        if _wanted_attempt(gang.job) != attempt:
            gang.late.add(pod["metadata"]["uid"])
        if attempt > gang.begun:
            self.wrong(at, f"pod {name} is of an attempt that is not on record")

    def _judge_gang(self, at: float, gang: _Gang) -> None:
        wanted = _wanted_attempt(gang.job)
        bound = 0
        for uid, pod in gang.pods.items():
            if pods.is_over(pod) or pods.is_deleting(pod):
                bound += pods.attempt_of(pod) == wanted and _succeeded(pod)
            elif pods.attempt_of(pod) != wanted:
                gang.unwanted.setdefault(uid, at)
            elif not pods.is_spare(pod):
                bound += bool(pods.bound_to(pod))
        partial = 0 < bound < _size(gang.job) - _recorded(gang.job) and wanted is not None
        if not partial or gang.partial_since is None:
            self._lasted_in_part(at, gang)
            gang.partial_since = at if partial else None
        self._lasted_unwanted(at, gang)

    def _lasted(self, at: float, gang: _Gang) -> None:
        self._lasted_in_part(at, gang)
        self._lasted_unwanted(at, gang, final=True)

    def _lasted_in_part(self, at: float, gang: _Gang) -> None:
        if gang.partial_since is not None and at - gang.partial_since > self.limits.partial:
            name = gang.job["metadata"]["name"] if gang.job is not None else "?"
            self.wrong(at, f"{name}: only a part of the gang had nodes since {gang.partial_since:.1f} s")

    def _lasted_unwanted(self, at: float, gang: _Gang, *, final: bool = False) -> None:
        wanted = _wanted_attempt(gang.job)
        for uid, since in list(gang.unwanted.items()):
            pod = gang.pods.get(uid)
            gone = pod is None or pods.is_over(pod) or pods.is_deleting(pod)
            if at - since > self.limits.orphan and (gone or final):
                self.wrong(
                    at,
                    f"a pod of attempt {pods.attempt_of(pod) if pod else '?'} was unwanted since {since:.1f} s",
                )
            if pod is None or gone or pods.attempt_of(pod) == wanted:
                del gang.unwanted[uid]


def _wanted_attempt(job: Document | None) -> int | None:
    """The attempt whose pods are to be there; None for none."""
    status = (job or {}).get("status") or {}
    attempts = status.get("attempts") or ()
    if job is None or is_finished(job) or not attempts or attempts[-1].get("finishedAt"):
        return None
    return int(status["attempt"])


def is_finished(job: Document) -> bool:
    """Whether it is Complete or Failed."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


def _succeeded(pod: Document) -> bool:
    return bool(pod["status"].get("phase") == "Succeeded")


def _size(job: Document | None) -> int:
    """Workers of the gang, which is as large as its attempt began."""
    if job is None:
        return 0
    slices = (job.get("status") or {}).get("slices") or job["spec"].get("slices", 1)
    return int(slices) * int(job["spec"]["workersPerSlice"])


def _recorded(job: Document | None) -> int:
    """Workers that ended well and may be gone."""
    workers = ((job or {}).get("status") or {}).get("workers") or {}
    return int(workers.get("succeeded", 0))


def _went_back(before: Document, job: Document) -> Iterator[str]:
    """What of a status is less than it was, or forgotten."""
    status = job.get("status") or {}
    for name in ("attempt", "restartCount"):
        if status.get(name, 0) < before.get(name, 0):
            yield f"{name} went from {before[name]} to {status.get(name, 0)}"
    counts = {r["cause"]: r["count"] for r in status.get("restarts") or ()}
    for row in before.get("restarts") or ():
        if counts.get(row["cause"], 0) < row["count"]:
            yield f"restarts for {row['cause']} went from {row['count']} to {counts.get(row['cause'], 0)}"
    if is_finished({"status": before}) and not is_finished(job):
        yield "it had ended and goes on"
    yield from _forgotten(before, status)


def _forgotten(before: Document, status: Document) -> Iterator[str]:
    attempts = status.get("attempts") or ()
    numbers = [a["attempt"] for a in attempts]
    if numbers != sorted(numbers) or set(numbers) != set(
        range(min(numbers, default=1), max(numbers, default=0) + 1)
    ):
        yield f"attempts {numbers} are not in a row"
    if max(numbers, default=0) != status.get("attempt", 0):
        yield f"attempt {status.get('attempt')} is on record, the last of {numbers} is not it"
    yield from _epochs_out_of_order(attempts, status)
    ended = {
        (a["attempt"], a.get("epoch", 0)): a for a in before.get("attempts") or () if a.get("finishedAt")
    }
    for entry in attempts:
        known = ended.get((entry["attempt"], entry.get("epoch", 0)))
        if known is not None and known.get("cause") != entry.get("cause"):
            yield f"attempt {entry['attempt']} ended for {known.get('cause')}, and now for {entry.get('cause')}"


def _epochs_out_of_order(attempts: Sequence[Document], status: Document) -> Iterator[str]:
    """Epochs of an attempt follow each other, and an entry of one that is over has ended."""
    epochs = [(a["attempt"], a.get("epoch", 0)) for a in attempts]
    following = all(
        later in ((number, epoch + 1), (number + 1, 0)) for (number, epoch), later in pairwise(epochs)
    )
    if not following or (epochs and epochs[-1][1] != status.get("epoch", 0)):
        yield f"epochs {epochs} are not in a row up to {status.get('epoch', 0)}"
    if any(not a.get("finishedAt") for a in attempts[:-1]):
        yield f"of attempts and epochs {epochs} an earlier one has not ended"
