"""Which nodes failed so that nobody should use them: by the first failures of attempts of different gangs.

A node is bad if within the last `seconds` it was the first to fail of an attempt with a device at fault, or of attempts
of JOBS different gangs, for causes that may be the node's (`SUSPECT`). It is bad until `seconds` after the last such
failure.

The taint is ours where the node has the annotation with its end. Who takes the taint off by hand leaves the annotation:
then it is not put on again for failures that were known when it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drumline.api.meta import ANNOTATION_BAD_NODE_UNTIL, TAINT_BAD_NODE
from drumline.api.reasons import Cause
from drumline.core.gang.clock import rfc3339, unix

JOBS: Final = 2
EFFECT: Final = "NoSchedule"
# What may be the node's fault, and has not taken it away by itself.
SUSPECT: Final = frozenset(
    {Cause.APPLICATION_EXIT, Cause.HANG, Cause.DEVICE_FAULT, Cause.PLACEMENT_RACE, Cause.UNKNOWN}
)

Raw = Mapping[str, Any]
Operation = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """A node was the first to fail of an attempt of this gang, at that time (Unix seconds)."""

    gang: str
    node: str
    cause: str
    at: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a node is bad, and until when (Unix seconds)."""

    cause: str
    until: float
    gangs: int  # that failed there


def verdicts(failures: Iterable[Failure], now: float, seconds: float) -> dict[str, Verdict]:
    """The bad nodes by name."""
    by_node: dict[str, list[Failure]] = {}
    for failure in failures:
        if failure.cause in SUSPECT and now - failure.at < seconds:
            by_node.setdefault(failure.node, []).append(failure)
    found = {}
    for node, of_node in by_node.items():
        faults = [f for f in of_node if f.cause == Cause.DEVICE_FAULT]
        gangs = len({f.gang for f in of_node})
        if faults or gangs >= JOBS:
            last = max(faults or of_node, key=lambda f: f.at)
            found[node] = Verdict(last.cause, max(f.at for f in of_node) + seconds, gangs)
    return found


def end_of(node: Raw) -> float | None:
    """Until when our taint was to be on this raw node; None without our annotation."""
    text = (node["metadata"].get("annotations") or {}).get(ANNOTATION_BAD_NODE_UNTIL)
    return None if text is None else unix(text)


def to_taint(node: Raw, verdict: Verdict) -> tuple[Operation, ...]:
    """The patch that puts our taint on a raw node, or makes it last longer; () when nothing is to be changed."""
    end, taints = end_of(node), _taints(node)
    foreign = end is None and any(t["key"] == TAINT_BAD_NODE for t in taints)
    if foreign or (end is not None and end >= int(verdict.until)):
        return ()
    ours = {"key": TAINT_BAD_NODE, "value": verdict.cause, "effect": EFFECT}
    kept = [t for t in taints if t["key"] != TAINT_BAD_NODE]
    return _patch(node, [*kept, ours], rfc3339(verdict.until))


def to_free(node: Raw, now: float) -> tuple[Operation, ...]:
    """The patch that takes our taint and annotation off a raw node; () if it is not ours, or its time is not over."""
    end = end_of(node)
    if end is None or end > now:
        return ()
    return _patch(node, [t for t in _taints(node) if t["key"] != TAINT_BAD_NODE], None)


def _taints(node: Raw) -> list[Raw]:
    return list((node.get("spec") or {}).get("taints") or ())


def _patch(node: Raw, taints: list[Raw], until: str | None) -> tuple[Operation, ...]:
    """Nothing is lost that others write meanwhile: the patch rests on the version that was read."""
    metadata = node["metadata"]
    operations: list[Operation] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}
    ]
    if taints != _taints(node):
        operations.append({"op": "add", "path": "/spec/taints", "value": taints})
    path = "/metadata/annotations"
    if not metadata.get("annotations"):
        operations.append({"op": "add", "path": path, "value": {}})
    key = f"{path}/{ANNOTATION_BAD_NODE_UNTIL.replace('/', '~1')}"
    gone: Operation = {"op": "remove", "path": key}
    return (*operations, gone if until is None else {"op": "add", "path": key, "value": until})
