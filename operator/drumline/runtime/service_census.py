"""Counts the chips of InferenceServices, for the metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from drumline.core.inference.render import GroupShape, group_shape
from drumline.runtime.metrics_census import Census
from drumline.runtime.service_records import ServiceRecord
from drumline.runtime.service_world import ServiceWorld


def with_services(census: Census, world: ServiceWorld) -> Census:
    """The census with what services hold and want: bound pods, and the groups that each role should have."""
    held, requested = Counter(census.held), Counter(census.requested)
    for record in world.records.store.values():
        for role in record.status.roles:
            shape = _shape(record, role.name, 0)
            if shape is not None:
                requested[shape.accelerator] += role.desired * shape.chips
        _hold(world, record, held)
    return replace(census, held=held, requested=requested)


def _hold(world: ServiceWorld, record: ServiceRecord, held: Counter[str]) -> None:
    variants = {(r.name, g.id): g.variant for r in record.status.roles for g in r.groups}
    shapes = {key: _shape(record, *key) for key in {(role, v) for (role, _), v in variants.items()}}
    for pod in world.shared.pods.store.by("job", record.meta.uid).values():
        if pod.member is None or not pod.bound or pod.terminal:
            continue
        role = pod.member.role
        shape = shapes.get((role, variants.get((role, pod.member.slice), 0)))
        if shape is not None:
            held[shape.accelerator] += shape.chips_per_worker


def _shape(record: ServiceRecord, role: str, variant: int) -> GroupShape | None:
    """By the spec as it is now; None for what it has no more."""
    if record.spec is None:
        return None
    try:
        return group_shape(record.spec, role, record.catalog, variant)
    except (KeyError, IndexError, ValueError):
        return None
