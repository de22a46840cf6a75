"""``make bench``: seconds from apply to Running, as a ratio to a raw client on the same control plane.

The limit is a raw asynchronous client that creates (and for the restart deletes) the same number of pinned
pods with nothing around them, best of 3. The scheduler's client limit is raised to 1000 requests a second for
every scenario but `1x5000-default`, which runs at Kubernetes' defaults, on 640 hosts.

`inplace-1x1000` has another limit: the same gang's restart with new pods.

Scenarios are named on the command line; without names all run but `rss-20000`, which takes long. `300x2` has a
second limit, the floor: see `floor`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from e2e.bench import scenarios
from e2e.bench.floor import floor
from e2e.bench.in_place import PODS_IN_GANG, SCENARIO, reporting, restart_in_place
from e2e.bench.memory import PATIENT, RSS, measure_memory
from e2e.bench.rig import rig
from e2e.bench.scenarios import Row
from e2e.bench.services import create_service
from e2e.cluster.embedded import ClusterOptions

TUNED = ClusterOptions(scheduler_qps=1000, scheduler_burst=1000, controller_qps=500, controller_burst=500)
DEFAULT = ClusterOptions()
MORE_NODES = "640 hosts of h100 in blocks of 32"  # 5000 GPUs do not fit 256 hosts of 8
MOST_NODES = "2560 hosts of h100 in blocks of 32"  # for 20,000 GPUs
OUTPUT = Path("build/bench.json")
COLUMNS = (
    "scenario",
    "wall_s",
    "ratio_to_limit",
    "ratio_to_floor",
    "operator_cpu_s",
    "operator_rss_bytes",
    "operator_writes_per_pod",
    "all_writes_per_pod",
)
GROUPS = {"1x1000": (1, 1000), "50x20": (50, 20), "300x2": (300, 2)}
FLOORS = ("300x2",)
SERVICE, SERVICE_GROUPS, SERVICE_SIZE = "service-100x8", 100, 8
DEFAULTS = (*GROUPS, "restart-1x1000", SCENARIO, SERVICE, "1x5000-default")


async def tuned(wanted: set[str]) -> list[Row]:
    """Scenarios with the scheduler's limit raised."""
    rows: list[Row] = []
    if not wanted.intersection((*GROUPS, "restart-1x1000")):
        return rows
    async with rig(TUNED) as made:
        limits = {
            n: await scenarios.raw_create(made, n)
            for n in {j * p for k, (j, p) in GROUPS.items() if k in wanted}
        }
        again = await scenarios.raw_restart(made, 1000) if "restart-1x1000" in wanted else 0.0
        floors = {n: await floor(made, *GROUPS[n]) for n in FLOORS if n in wanted}
        await made.start_operator()
        for name, (jobs, pods) in GROUPS.items():
            if name in wanted:
                row = await scenarios.create_jobs(made, name, jobs, pods)
                rows.append(_against(row, limits[jobs * pods], floors.get(name)))
        if "restart-1x1000" in wanted:
            rows.append(_against(await scenarios.restart_job(made, "restart-1x1000", 1000), again))
    return rows


async def services(wanted: set[str]) -> list[Row]:
    """An InferenceService of 100 groups of 8; its limit are as many pods that wait for no gate."""
    if SERVICE not in wanted:
        return []
    async with rig(TUNED) as made:
        limit = await scenarios.raw_create(made, SERVICE_GROUPS * SERVICE_SIZE)
        await made.start_operator()
        row = await create_service(made, SERVICE, SERVICE_GROUPS, SERVICE_SIZE)
    return [_against(row, limit)]


async def in_place(wanted: set[str]) -> list[Row]:
    """A gang of 1,000 whose processes start again in their pods; its limit is its restart with new ones."""
    if SCENARIO not in wanted:
        return []
    async with rig(TUNED) as made, reporting(made) as target:
        limit = await scenarios.restart_job(made, "recreate-1x1000", PODS_IN_GANG)
        row = await restart_in_place(made, target)
    return [_against(row, limit["wall_s"])]


async def at_defaults(wanted: set[str]) -> list[Row]:
    """One gang of 5000 at Kubernetes' default client limits; it must not be queued again."""
    if "1x5000-default" not in wanted:
        return []
    async with rig(DEFAULT, MORE_NODES) as made:
        limit = await scenarios.raw_create(made, 5000)
        await made.start_operator()
        row = await scenarios.create_jobs(made, "1x5000-default", 1, 5000)
    return [_against(row, limit)]


async def memory(wanted: set[str]) -> list[Row]:
    """The whole operator's memory with 20,000 pods of 40 jobs."""
    if RSS not in wanted:
        return []
    async with rig(TUNED, MOST_NODES) as made:
        await made.start_operator(*PATIENT)
        row = await measure_memory(made)
    print(json.dumps(row), flush=True)
    return [row]


def _against(row: Row, limit: float, floor_s: float | None = None) -> Row:
    row = {**row, "limit_s": round(limit, 2), "ratio_to_limit": round(row["wall_s"] / limit, 2)}
    if floor_s is not None:
        row |= {"floor_s": round(floor_s, 2), "ratio_to_floor": round(row["wall_s"] / floor_s, 2)}
    print(json.dumps(row), flush=True)
    return row


def _table(rows: list[Row]) -> str:
    cells = [list(COLUMNS), *([str(row.get(c, "")) for c in COLUMNS] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in cells)


async def main(arguments: list[str]) -> list[Row]:
    """Run the named scenarios, or all."""
    wanted = set(arguments or DEFAULTS)
    if unknown := wanted - {*DEFAULTS, RSS}:
        raise SystemExit(
            f"no such scenario: {', '.join(sorted(unknown))}; known: {', '.join((*DEFAULTS, RSS))}"
        )
    rows = [
        *await tuned(wanted),
        *await in_place(wanted),
        *await services(wanted),
        *await at_defaults(wanted),
        *await memory(wanted),
    ]
    print(_table(rows))
    return rows


if __name__ == "__main__":
    result = asyncio.run(main(sys.argv[1:]))
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(result, indent=2) + "\n")
