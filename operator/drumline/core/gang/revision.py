"""A placement as ControllerRevisions: immutable, one set an attempt, small.

Layout of ``data``: ``attempt``, ``pods`` (in all), ``renderHash``, ``extra``, and ``nodes``, the node of each
pod in index order, compressed in two steps. Node names of a pool share long prefixes, so each name is written
as the number of characters it shares with the one before and the rest (``[14, "0017"]``, front coding); a run
of pods on one node is one entry with a count. A chunk holds at most `CHUNK` entries and `CHUNK_BYTES`, well below
the 1.5 MB of an etcd value; chunk 0 bears the attempt's name, the others end in ``-c<n>``. Each chunk starts
from an empty name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from drumline.api.meta import APP_MANAGED_BY, LABEL_ATTEMPT, LABEL_JOB
from drumline.core.gang.names import Owner, revision_name
from drumline.core.gang.types import Placement

Manifest = Mapping[str, Any]
CHUNK: Final = 10_000  # runs of pods on one node
CHUNK_BYTES: Final = 700_000  # even if no two names had anything in common
_ENTRY_BYTES: Final = 20  # of an entry beside the name


def encode(
    owner: Owner, attempt: int, placement: Placement, render_hash: str, extra: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], ...]:
    """The ControllerRevision manifests of an attempt's placement, the first one first."""
    runs = [(node, len(list(group))) for node, group in groupby(placement.nodes)]
    chunks = list(_chunks(runs)) or [[]]
    return tuple(
        _manifest(
            owner, attempt, number, _data(attempt, len(placement.nodes), number, chunk, render_hash, extra)
        )
        for number, chunk in enumerate(chunks)
    )


def decode(manifests: Sequence[Manifest]) -> Placement:
    """The placement that `encode` wrote, from its manifests in any order.

    ValueError when they do not make up a whole one: a chunk is missing or was not written by us.
    """
    ordered = sorted(manifests, key=lambda m: int(m["data"].get("chunk", -1)))
    nodes = tuple(name for m in ordered for name in _unfold(m["data"].get("nodes") or ()))
    expected = {int(m["data"].get("pods", -1)) for m in ordered}
    if expected != {len(nodes)}:
        found = ", ".join(str(m["metadata"].get("name")) for m in ordered) or "none"
        raise ValueError(f"revisions {found} hold {len(nodes)} pods; they speak of {sorted(expected)}")
    return Placement(nodes)


def _data(
    attempt: int,
    pods: int,
    chunk: int,
    runs: Sequence[tuple[str, int]],
    render_hash: str,
    extra: Mapping[str, str] | None,
) -> dict[str, Any]:
    return {
        "attempt": attempt,
        "pods": pods,
        "chunk": chunk,
        "renderHash": render_hash,
        "extra": dict(extra or {}),
        "nodes": list(_fold(runs)),
    }


def _chunks(runs: Iterable[tuple[str, int]]) -> Iterable[list[tuple[str, int]]]:
    chunk: list[tuple[str, int]] = []
    size = 0
    for run in runs:
        size += len(run[0]) + _ENTRY_BYTES
        if len(chunk) == CHUNK or (chunk and size > CHUNK_BYTES):
            yield chunk
            chunk, size = [], len(run[0]) + _ENTRY_BYTES
        chunk.append(run)
    if chunk:
        yield chunk


def _fold(runs: Iterable[tuple[str, int]]) -> Iterable[list[int | str]]:
    before = ""
    for name, count in runs:
        shared = _common(before, name)
        yield [shared, name[shared:]] if count == 1 else [shared, name[shared:], count]
        before = name


def _common(left: str, right: str) -> int:
    """Length of the prefix that both have."""
    return next(
        (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right))
    )


def _unfold(entries: Iterable[Sequence[Any]]) -> Iterable[str]:
    before = ""
    for shared, rest, *count in entries:
        before = before[:shared] + rest
        yield from [before] * (count[0] if count else 1)


def _manifest(owner: Owner, attempt: int, number: int, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": revision_name(owner.name, attempt, number),
            "namespace": owner.namespace,
            "labels": {LABEL_JOB: owner.name, LABEL_ATTEMPT: str(attempt), APP_MANAGED_BY: "drumline"},
            "ownerReferences": [owner.owner_reference()],
        },
        "revision": attempt,
        "data": data,
    }
