"""What must never be of an InferenceService: its groups are gangs, and its status says more of them.

Numbers of groups, attempts and counts never go back; a group that answers is let go, for another revision or because
there are to be fewer, only while as many as the rollout has to keep serve beside it; the account adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

Document = Mapping[str, Any]
Answering = Callable[
    [str], float
]  # gang → seconds for which all of its pods have been ready, 0 = they are not

LIVE = ("Starting", "Serving", "Draining")
BOUNDED = ("ScaledDown", "Rollout", "RolledBack")  # reasons to let go that have to wait for others to serve
SETTLED = 20.0  # seconds after which every operator has heard that a group is ready
NOT_HELD = "queued"


def gangs(service: Document) -> dict[str, Document]:
    """Its groups as the judge knows jobs, by gang."""
    metadata = service["metadata"]
    sizes = {role["name"]: int(role.get("groupSize", 1)) for role in service["spec"]["roles"]}
    return {
        gang_of(metadata["uid"], role, group): _as_job(service, role, group, sizes.get(role, 1))
        for role, group in _groups(service)
    }


def gang_of(uid: str, role: str, group: Document) -> str:
    """What a group is known by."""
    return f"{uid}/{role}/{group['id']}"


def _as_job(service: Document, role: str, group: Document, size: int) -> Document:
    attempt = group.get("attempt", 0)
    nodes = group.get("nodes") or ()
    live = bool(nodes and group.get("startedAt") and group.get("phase") in LIVE)
    entry = {"attempt": attempt} if live else {"attempt": attempt, "finishedAt": "yes"}
    return {
        "metadata": {"name": f"{service['metadata']['name']}-{role}-{group['id']}"},
        "spec": {"workersPerSlice": len(nodes) or size},
        "status": {"attempt": attempt, "attempts": [entry] if attempt else []},
    }


def faults(before: Document, service: Document, answering: Answering) -> Iterator[str]:
    """What is wrong with a status; `before` is the service as it was."""
    old, new = before.get("status") or {}, service.get("status") or {}
    yield from _went_back(old, new)
    for role in new.get("roles") or ():
        known: Document = next((r for r in old.get("roles") or () if r["name"] == role["name"]), {})
        yield from _misnumbered(known, role)
        yield from _let_go(service, known, role, answering)
    yield from _unbalanced(old.get("serving") or {}, new.get("serving") or {})


def _went_back(old: Document, new: Document) -> Iterator[str]:
    if new.get("revisionCount", 0) < old.get("revisionCount", 0):
        yield f"revisionCount went from {old['revisionCount']} to {new.get('revisionCount', 0)}"
    counts = {r["cause"]: r["count"] for r in new.get("restarts") or ()}
    for row in old.get("restarts") or ():
        if counts.get(row["cause"], 0) < row["count"]:
            yield f"restarts for {row['cause']} went from {row['count']} to {counts.get(row['cause'], 0)}"


def _misnumbered(known: Document, role: Document) -> Iterator[str]:
    before = {g["id"]: g for g in known.get("groups") or ()}
    following = known.get("nextGroup", 0)
    for group in role.get("groups") or ():
        was = before.get(group["id"])
        what = f"group {role['name']}/{group['id']}"
        if was is None and group["id"] < following:
            yield f"{what} is there again"
        if was is None:
            continue
        if group.get("attempt", 0) not in (was.get("attempt", 0), was.get("attempt", 0) + 1):
            yield f"{what} went from attempt {was.get('attempt', 0)} to {group.get('attempt', 0)}"
        if group["revision"] != was["revision"]:
            yield f"{what} went from revision {was['revision']} to {group['revision']}"
        if was.get("drainingSince") and not group.get("drainingSince"):
            yield f"{what} was to go and stays"


def _let_go(service: Document, known: Document, role: Document, answering: Answering) -> Iterator[str]:
    """Groups that answered and were taken out of service, though too few others serve."""
    before = {g["id"]: g for g in known.get("groups") or ()}
    uid, groups = service["metadata"]["uid"], role.get("groups") or ()
    gone = [
        g
        for g in groups
        if g.get("drainingSince")
        and g.get("drainReason") in BOUNDED
        and _serves(before.get(g["id"], {}))
        and answering(gang_of(uid, role["name"], g)) > SETTLED
    ]
    left = sum(map(_serves, groups))
    bound = role.get("desired", 0) - service["spec"].get("rollout", {}).get("maxUnavailable", 0)
    if gone and left < bound:
        names = ", ".join(f"{role['name']}/{g['id']} ({g['drainReason']})" for g in gone)
        yield f"{left} of {role.get('desired', 0)} groups are left to serve, at least {bound} have to: {names} were let go"


def _serves(group: Document) -> bool:
    return group.get("phase") == "Serving" and not group.get("drainingSince")


def _unbalanced(old: Document, new: Document) -> Iterator[str]:
    if old and not new:
        yield "the account is gone"
        return
    rows = [(role["role"], row) for role in new.get("roles") or () for row in role.get("states") or ()]
    whole = sum(row["ms"] for _, row in rows)
    held = sum(row["ms"] for _, row in rows if row["state"] != NOT_HELD)
    if whole != new.get("elapsedMs", 0):
        yield f"the account's states have {whole} ms of {new.get('elapsedMs', 0)} ms"
    if held != new.get("heldMs", 0):
        yield f"the account's held states have {held} ms of {new.get('heldMs', 0)} ms"
    if old.get("at") and _seconds(new["at"]) < _seconds(old["at"]):
        yield f"the account went back from {old['at']} to {new['at']}"
    there = {(role, row["state"]): row["ms"] for role, row in rows}
    for role in old.get("roles") or ():
        for row in role.get("states") or ():
            if there.get((role["role"], row["state"]), 0) < row["ms"]:
                yield f"the account's {role['role']}/{row['state']} fell from {row['ms']} to {there.get((role['role'], row['state']), 0)} ms"


def unconverged(service: Document, replicas: Mapping[str, int]) -> str:
    """Why a service is not as its spec says; "" when it is. `replicas`: groups that each role is to have."""
    status, roles = service.get("status") or {}, {}
    if status.get("observedGeneration") != service["metadata"]["generation"]:
        return "its status speaks of another spec"
    if not status.get("updateRevision") or status.get("currentRevision") != status["updateRevision"]:
        return "its rollout is under way"
    for role in status.get("roles") or ():
        roles[role["name"]] = role
    for name, wanted in replicas.items():
        groups = roles.get(name, {}).get("groups") or ()
        if len(groups) != wanted or not all(map(_serves, groups)):
            return f"role {name} has {sum(map(_serves, groups))} groups of {len(groups)} in service, not {wanted}"
        if {g["revision"] for g in groups} - {status["updateRevision"]}:
            return f"role {name} has groups of other revisions"
    return ""


def _groups(service: Document) -> Iterator[tuple[str, Document]]:
    for role in (service.get("status") or {}).get("roles") or ():
        for group in role.get("groups") or ():
            yield role["name"], group


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
