"""How the domains of a cluster stand that have a power budget: what each may draw, and what is given away there.

Worked out as the operator does: nodes, pods, allocated claims, and the placements of jobs and groups of services.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from drumline.api.meta import INFERENCE_SERVICES, TRAINING_JOBS
from drumline.cli import cluster
from drumline.cli.devices import equip, with_devices
from drumline.cli.gangs import group_gang, groups_of, job_view
from drumline.cli.manifests import Manifest
from drumline.cli.placements import REVISIONS, by_owner, placement_of
from drumline.cli.settings import Settings
from drumline.cli.terminal import Terminal, apportion, table
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.power import Supply
from drumline.core.gang.projection import project_node, project_pod
from drumline.core.gang.types import Placement
from drumline.core.training.policies.admission import request_of
from drumline.runtime.records import JobReader
from drumline.runtime.service_records import ServiceReader

Found = Mapping[str, list[Manifest]]

BAR: Final = 24  # columns


def with_services(access: cluster.Access, found: Found) -> Found:
    """What was found (by resource), and what else may hold accelerators, as far as this user may list it."""
    try:
        services = cluster.list_each(access, {INFERENCE_SERVICES: ""})
    except cluster.ClusterError:
        services = {}  # their pods are counted all the same
    return with_devices(access, {**found, **services})


def supplies_of(found: Found, settings: Settings) -> tuple[Supply, ...]:
    """Each domain with a budget, by what was found (by resource); none where there are no budgets."""
    return standing_of(found, settings)[0]


def standing_of(found: Found, settings: Settings) -> tuple[tuple[Supply, ...], tuple[str, ...]]:
    """Each domain with a budget, by what was found (by resource), and what is odd about the budgets."""
    capacity = Capacity(settings.topology, settings.power)
    for node in found["nodes"]:
        capacity.set_node(project_node(node))
    pods = [project_pod(pod) for pod in found["pods"]]
    for pod in pods:
        capacity.set_pod(pod)
    equip(capacity, found, pods)
    _hold_jobs(capacity, found, settings)
    _hold_groups(capacity, found, settings)
    return capacity.supplies(), tuple(c.fault for c in capacity.coverage() if c.fault)


def _hold_jobs(capacity: Capacity, found: Found, settings: Settings) -> None:
    revisions, jobs = by_owner(found[REVISIONS]), JobReader(settings.catalog)
    for document in found[TRAINING_JOBS]:
        placement, record = placement_of(document, revisions), jobs.read(document)
        if placement is not None and record.spec is not None:
            capacity.reserve(request_of(job_view(record, {}, 0.0, placement)), placement)


def _hold_groups(capacity: Capacity, found: Found, settings: Settings) -> None:
    services = ServiceReader(settings.catalog)
    for document in found.get(INFERENCE_SERVICES, ()):
        record = services.read(document)
        for role, group in groups_of(record):
            request = group_gang(record, role, group, {}, "") if group.nodes else None
            if request is not None:
                capacity.reserve(request, Placement(tuple(group.nodes)))


def told(
    supplies: Sequence[Supply], settings: Settings, terminal: Terminal, faults: Sequence[str] = ()
) -> str:
    """The domains as a table, and what is odd; nothing where there are no budgets and that is certain."""
    if settings.doubt:
        return f"\npower budgets are not known: {settings.doubt}\n"
    odd = "".join(f"\n{fault}\n" for fault in faults)
    if not supplies:
        return odd
    header = ["POWER OF", "BUDGET", "USED", "FREE", ""]
    rows = [
        [f"{s.level} {s.domain}", *(f"{w:.0f} W" for w in _watts(s)), _bar(s, terminal)] for s in supplies
    ]
    return "\n".join(("", *table(header, rows, right=(1, 2, 3)), "")) + odd


def raw(supplies: Iterable[Supply]) -> list[dict[str, Any]]:
    """The domains as data, in names of the wire."""
    names = "budgetWatts", "usedWatts", "freeWatts"
    return [
        {"level": s.level, "domain": s.domain, **dict(zip(names, _watts(s), strict=True))} for s in supplies
    ]


def _watts(supply: Supply) -> Iterator[float]:
    """Budget, used, free; a domain that draws more than its budget has nothing free."""
    yield from (supply.budget, supply.drawn, max(0.0, supply.budget - supply.drawn))


def _bar(supply: Supply, terminal: Terminal) -> str:
    used, free = ("█", "·") if terminal.unicode else ("#", ".")
    _, drawn, left = map(round, _watts(supply))
    widths = apportion((drawn, left), BAR)
    return used * widths[0] + free * widths[1]
