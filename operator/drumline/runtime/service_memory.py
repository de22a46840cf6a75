"""What the outcome of a plan means for the next observation of a service.

A name that is taken is looked at again every few seconds, so that whoever gives it up ends the conflict. A pod that
was refused for good, or whose name is taken, concerns one group, as does what its backend needs beside its pods: its
next attempt has other names. A route that can't be written, for whatever reason, holds up nothing else: it is left
out, and tried again ever later, a minute apart at most; what it leads to is left in place meanwhile. What was written
counts once the mirror shows it: until then the service is not looked at, for some seconds at most.
"""

from __future__ import annotations

from typing import Final

from drumline.api.meta import ANNOTATION_DIGEST, INFERENCE_ROLES, LABEL_WORKER
from drumline.core.gang.names import controller_uid, member_of
from drumline.core.gang.plan import Plan
from drumline.core.inference import names
from drumline.runtime.controller import Clocks
from drumline.runtime.errors import ApiError, NameConflict, NotFound, TerminalError
from drumline.runtime.executor import Outcome
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.outcomes import applied, created_pod, deleted_uid, in_a_row, is_final
from drumline.runtime.records import OwnedRecord, read_slice
from drumline.runtime.service_records import ServiceRecord
from drumline.runtime.service_world import CHILDREN, GATEWAY, Awaited, Refused, ServiceMemory, ServiceWorld

AWAIT_SECONDS: Final = 5.0
RECHECK_SECONDS: Final = 10.0
REFUSED_SECONDS: Final = 60.0
BRIEFLY_SECONDS: Final = 2.0  # after the first failure that may have been the moment's
_AWAITED: Final = frozenset({*CHILDREN, INFERENCE_ROLES, "controllerrevisions"})


def awaits(world: ServiceWorld, record: ServiceRecord, memory: ServiceMemory, monotonic: float) -> bool:
    """Whether the mirror lacks something that was written for this service."""
    left = {w: a for w, a in memory.awaited.items() if a.until > monotonic}
    memory.awaited = {w: a for w, a in left.items() if not _shown(world, record.meta.namespace, w, a)}
    return bool(memory.awaited)


def _shown(world: ServiceWorld, namespace: str, what: str, awaited: Awaited) -> bool:
    resource, _, name = what.partition("/")
    found = world.find(resource, namespace, name)
    if awaited.gone:
        return found is None or found.uid != awaited.gone
    if found is None or awaited.digest is None:
        return found is not None
    return isinstance(found, OwnedRecord) and found.digest == awaited.digest


async def recheck(client: Client, record: ServiceRecord, memory: ServiceMemory, now: float) -> None:
    """Forget names that were somebody else's and are not any more."""
    for what, looked_at in list(memory.foreign.items()):
        if now - looked_at < RECHECK_SECONDS:
            continue
        resource, _, name = what.partition("/")
        try:
            found = await client.request("GET", resource_path(resource, record.meta.namespace, name))
        except NotFound:
            del memory.foreign[what]
            continue
        memory.foreign[what] = now
        if controller_uid(found["metadata"]) == record.meta.uid:
            del memory.foreign[what]


def learn(record: ServiceRecord, memory: ServiceMemory, plan: Plan, outcome: Outcome, clocks: Clocks) -> bool:
    """Remember what came of a plan; true if its failure changes what is decided next."""
    error, until = outcome.error, clocks.monotonic() + AWAIT_SECONDS
    memory.conflicts = in_a_row(error, memory.conflicts)
    for what in outcome.created:
        _await(memory, what, Awaited(until))
    for what in outcome.deleted:
        _await(memory, what, Awaited(until, gone=deleted_uid(plan, what)))
    for what in outcome.applied:
        _published(record, memory, plan, what, clocks)
    refused = created_pod(plan, outcome.failed) if error is not None else None
    if isinstance(error, NameConflict) and refused is None:
        memory.foreign[error.object_name] = clocks.now()
        return True
    if error is None:
        return _taken_back(memory, clocks.now())
    if outcome.failed.partition("/")[0] in GATEWAY and not error.namespace_ends:
        _refuse(memory, outcome.failed, error, clocks.now())
        return True
    final = isinstance(error, NameConflict) or is_final(error, memory.conflicts)
    if refused is None or not final:
        return False
    labels = {
        LABEL_WORKER: "0",
        **refused["metadata"]["labels"],
    }  # an object for the whole group names no worker
    member = member_of(labels, record.meta.uid)
    if member is not None:
        memory.blocked[member.gang] = (member.attempt, f"{outcome.failed}: {error.message}")
    return member is not None


def _refuse(memory: ServiceMemory, route: str, error: ApiError, now: float) -> None:
    """Leave a route out for a while: at once for long if the answer is final."""
    known = memory.refused.get(route)
    pause = min(REFUSED_SECONDS, known.pause * 2) if known is not None else BRIEFLY_SECONDS
    pause = REFUSED_SECONDS if isinstance(error, TerminalError) else pause
    memory.refused[route] = Refused(error.message, pause, now + pause)


def _taken_back(memory: ServiceMemory, now: float) -> bool:
    """After a plan that succeeded: a route whose time had come is written now, or needed no more."""
    left = {route: no for route, no in memory.refused.items() if not no.due(now)}
    found = len(left) < len(memory.refused)
    memory.refused = left
    return found


def _await(memory: ServiceMemory, what: str, awaited: Awaited) -> None:
    if what.partition("/")[0] in _AWAITED:
        memory.awaited[what] = awaited


def _published(record: ServiceRecord, memory: ServiceMemory, plan: Plan, what: str, clocks: Clocks) -> None:
    """What was applied. Names that were published count at once, so that publishing waits for no echo."""
    resource, _, name = what.partition("/")
    if resource in ("endpointslices", "endpoints"):
        memory.last_published_at = clocks.now()
    if resource == "endpointslices":
        memory.published[name] = read_slice(applied(plan, resource, name)).published
    elif resource == "services" and name == names.peers(record.meta.name):
        memory.peers = True
    elif resource in CHILDREN:
        annotations = applied(plan, resource, name)["metadata"].get("annotations") or {}
        until = clocks.monotonic() + AWAIT_SECONDS
        _await(memory, what, Awaited(until, digest=annotations.get(ANNOTATION_DIGEST)))
