"""Small clusters and jobs for simulations, told in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drumline.api.catalog import Catalog
from drumline.core.gang.types import Node
from drumline.core.sim.cluster import chips_of, described
from drumline.core.sim.engine import Simulation
from drumline.core.sim.invariants import verify
from drumline.core.sim.model import Draw, Outcome, Rules
from drumline.core.sim.trace import Row, Size, jobs_of

H100 = "nvidia-h100-80gb"
V5P = "tpu-v5p"
CATALOG = Catalog.default()


def hosts(count: int, **more: Any) -> list[Node]:
    """Hosts of eight GPUs."""
    return cluster({"count": count, "accelerator": H100, **more})


def cluster(*groups: dict[str, Any]) -> list[Node]:
    nodes, errors = described({"nodes": list(groups)}, CATALOG)
    assert not errors
    return nodes


def job(submit: float, duration: float, workers: int = 1, chips: int = 8, **more: Any) -> Row:
    """A job of `workers` workers with `chips` GPUs each."""
    fields = {k: more.pop(k) for k in ("queue", "priority", "failures", "name") if k in more}
    size = Size(H100, workers_per_slice=workers, chips_per_worker=chips, **more)
    return Row("trace:1", fields.pop("name", ""), submit, duration, size, **fields)


def tpu_job(submit: float, duration: float, topology: str = "2x2x2", slices: int = 1) -> Row:
    return Row("trace:1", "", submit, duration, Size(V5P, slices, topology=topology))


def simulated(
    nodes: list[Node], rows: Sequence[Row], draw: Draw | None = None, **rules: Any
) -> tuple[Simulation, list[Outcome]]:
    """A simulation that is over, its invariants verified at every event."""
    jobs = jobs_of(rows, CATALOG)
    simulation = Simulation(nodes, chips_of(nodes, CATALOG), jobs, Rules(**rules), draw, verify=verify)
    return simulation, simulation.run()


def draws(*numbers: float) -> Draw:
    """These numbers; then 1 - 2^-53, so that nothing more happens for long."""
    rest = iter(numbers)
    return lambda: next(rest, 1 - 2**-53)
