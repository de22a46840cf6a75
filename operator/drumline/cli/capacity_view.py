"""From the objects of a cluster to its tree of accelerators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, repeat
from typing import Any, Final

from drumline.api.candidates import with_candidate
from drumline.api.catalog import Catalog
from drumline.api.meta import TRAINING_JOBS
from drumline.api.shape import resolve_shape
from drumline.api.validation import parse_spec
from drumline.cli.manifests import Manifest
from drumline.cli.placements import OURS, REVISIONS, by_owner, placement_of
from drumline.core.gang.capacity_tree import Domain, Hold, forest
from drumline.core.gang.projection import project_node, project_pod
from drumline.core.gang.topology import Topology

WANTED: Final[Mapping[str, str]] = {
    "nodes": "",
    "pods": "",
    TRAINING_JOBS: "",
    REVISIONS: OURS,
}


def capacity_of(
    found: Mapping[str, list[Manifest]], catalog: Catalog, topology: Topology | None = None
) -> tuple[Domain, ...]:
    """The trees of a cluster whose objects these are, by resource (`WANTED`)."""
    return forest(
        [project_node(n) for n in found["nodes"]],
        [project_pod(p) for p in found["pods"]],
        _holds(found[TRAINING_JOBS], found[REVISIONS], catalog),
        catalog,
        topology,
    )


def _holds(jobs: Iterable[Manifest], revisions: Iterable[Manifest], catalog: Catalog) -> Iterator[Hold]:
    """What the placements of jobs reserve; a job that can't be read holds nothing that can be told."""
    known = by_owner(revisions)
    for job in jobs:
        metadata = job["metadata"]
        placement = placement_of(job, known)
        nodes = placement.nodes if placement is not None else ()
        chips = Counter(dict[str, int]())
        for node, count in zip(nodes, _chips(job, catalog), strict=False):
            if node and count:
                chips[node] += count
        if chips:
            yield Hold(metadata["uid"], f"{metadata['namespace']}/{metadata['name']}", chips)


def _chips(job: Manifest, catalog: Catalog) -> Iterator[int]:
    """Accelerators by pod index: workers, helpers, which have none, then spare places without end."""
    spec, errors = parse_spec(job.get("spec"))
    status = job.get("status") or {}
    if spec is None or errors:
        return iter(())
    spec = with_candidate(spec, status.get("candidate") or 0)
    if spec.accelerator.type not in catalog:
        return iter(())
    shape = resolve_shape(spec, catalog)
    slices = status.get("slices") or shape.slices
    helpers = sum(h.replicas for h in spec.helpers)
    chips = shape.chips_per_worker
    return chain(repeat(chips, slices * shape.workers_per_slice), repeat(0, helpers), repeat(chips))


def raw(trees: Iterable[Domain], depth: int | None) -> list[dict[str, Any]]:
    """The trees as data, in names of the wire; `depth` levels below a type, all for None."""
    return [_raw(tree, depth) for tree in trees]


def _raw(domain: Domain, depth: int | None) -> dict[str, Any]:
    chips = domain.chips
    counts = {"used": chips.used, "reserved": chips.reserved, "broken": chips.broken, "free": chips.free}
    found: dict[str, Any] = {
        "level": domain.level or "type",
        "name": domain.name,
        "chips": {"total": chips.total, **counts},
        "nodes": domain.nodes,
        "freeNodes": domain.free_nodes,
    }
    if domain.fragments:
        found["fragmentation"] = [
            {"level": f.level, "freeInWholeDomains": f.whole, "ratio": f.ratio} for f in domain.fragments
        ]
    if domain.holders:
        found["holders"] = list(domain.holders)
    if domain.note:
        found["note"] = domain.note
    if domain.children and depth != 0:
        below = None if depth is None else depth - 1
        found["children"] = [_raw(child, below) for child in domain.children]
    return found
