"""``drumline simulate``: play a trace of jobs against a described cluster, with the operator's own admission.

Exit codes: 0 reported, 2 the input is not valid, 3 an invariant did not hold (with --check).
"""

from __future__ import annotations

import csv
import random
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

from drumline.api.catalog import Catalog
from drumline.cli import manifests, simulate_importers, simulate_trace
from drumline.cli.simulate_power import read_power
from drumline.cli.simulate_queues import QueueFile, read_queues
from drumline.cli.simulate_view import raw, text
from drumline.cli.terminal import terminal_of
from drumline.core.gang.projection import project_node
from drumline.core.gang.topology import Topology
from drumline.core.gang.types import Node
from drumline.core.sim.cluster import chips_of, described
from drumline.core.sim.engine import Simulation
from drumline.core.sim.invariants import InvariantError, verify, verify_end
from drumline.core.sim.model import DAY, HOUR, Rules, Sample
from drumline.core.sim.report import Report, report_of
from drumline.core.sim.trace import Row, TraceError, jobs_of

OK: Final = 0
INVALID: Final = 2
BROKEN: Final = 3

HELP: Final = "play a trace of jobs against a described cluster, without a cluster"
_DEFAULTS: Final = Rules()


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("--trace", metavar="FILE", required=True, help="jobs")
    formats = ("drumline", "pai", "helios")
    parser.add_argument("--format", choices=formats, default="drumline", help="of the trace")
    parser.add_argument("--job-table", metavar="FILE", help="pai_job_table.csv of a trace of format pai")
    parser.add_argument("--accelerator", metavar="TYPE", help="of all jobs of a trace of another format")
    parser.add_argument("--limit", type=_count, metavar="N", help="only the first N jobs")
    cluster = parser.add_mutually_exclusive_group(required=True)
    cluster.add_argument("--cluster", metavar="FILE", help="description of the cluster")
    cluster.add_argument("--nodes", metavar="FILE", help="v1.Nodes, as `kubectl get nodes -o yaml`")
    parser.add_argument("--queues", metavar="FILE", help="AcceleratorQueues; without them no quotas")
    parser.add_argument("--power", metavar="FILE", help="power budgets; without them no limit")
    parser.add_argument(
        "--weight", type=_weight, action="append", default=[], metavar="QUEUE=WEIGHT", help="for fairness"
    )
    _add_rules(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the failures (default 0)")
    parser.add_argument("--check", action="store_true", help="assert the policy's invariants at each event")
    parser.add_argument("--timeline", metavar="FILE", help="write the cluster's state over time as CSV")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.set_defaults(action=run)


def _add_rules(parser: ArgumentParser) -> None:
    numbers: tuple[tuple[str, float, str], ...] = (
        ("--head-wait", _DEFAULTS.head_wait, "seconds until room is kept for the head of the line"),
        ("--startup-seconds", 0.0, "from an attempt's begin until it makes progress"),
        ("--checkpoint-interval", 0.0, "seconds of progress between checkpoints; 0: none"),
        ("--mtbf-node-hours", 0.0, "mean time between failures of a node; 0: none fails"),
        ("--repair-minutes", _DEFAULTS.repair / 60, "until a failed node is well again"),
        ("--horizon-days", _DEFAULTS.horizon / DAY, "after the last arrival; what runs then is cut off"),
    )
    for name, default, about in numbers:
        parser.add_argument(
            name, type=_number, default=default, metavar="N", help=f"{about} (default {default:g})"
        )


def run(args: Namespace) -> int:
    """Simulate and print; the exit code."""
    try:
        report = _simulated(args)
    except (manifests.InputError, TraceError) as error:
        return _fail(str(error), INVALID)
    except InvariantError as error:
        return _fail(f"an invariant does not hold {error}", BROKEN)
    if args.output == "json":
        sys.stdout.write(manifests.dump(raw(report), "json"))
    else:
        sys.stdout.write(text(report, terminal_of(sys.stdout)))
    return OK


def _simulated(args: Namespace) -> Report:
    catalog = Catalog.default()
    nodes = _nodes(args, catalog)
    chips = chips_of(nodes, catalog)
    if not chips:
        raise manifests.InputError(f"{args.nodes}: no node has an accelerator of the catalogue")
    queues = read_queues(args.queues) if args.queues else None
    rows = sorted(_rows(args, catalog), key=lambda row: row.submit)[: args.limit]
    _check_levels(rows)
    jobs = jobs_of(rows if queues is None else queues.assigned(rows), catalog)
    if not jobs:
        raise manifests.InputError(f"{args.trace}: no job in it")
    draw = random.Random(args.seed).random  # noqa: S311 - failures of a simulation are no secret
    with _timeline(args.timeline) as watch:
        checks = verify if args.check else None
        rules = replace(_rules(args, queues), power=read_power(args.power, catalog))
        simulation = Simulation(nodes, chips, jobs, rules, draw, watch, checks)
        outcomes = simulation.run()
    if args.check and not simulation.cut_off:
        verify_end(simulation, outcomes)
    return report_of(simulation, outcomes)


def _rules(args: Namespace, queues: QueueFile | None) -> Rules:
    known = {} if queues is None else queues.queues
    return Rules(
        head_wait=args.head_wait,
        startup=args.startup_seconds,
        checkpoint_interval=args.checkpoint_interval,
        node_mtbf=args.mtbf_node_hours * HOUR,
        repair=args.repair_minutes * 60,
        horizon=args.horizon_days * DAY,
        weights={name: q.weight for name, q in known.items()} | dict(args.weight),
        queues=known,
    )


def _nodes(args: Namespace, catalog: Catalog) -> list[Node]:
    if args.nodes:
        return [project_node(manifest) for manifest in manifests.nodes(args.nodes)]
    documents = manifests.read_documents(args.cluster)
    if len(documents) != 1:
        raise manifests.InputError(f"{args.cluster}: given {len(documents)} documents; allowed: one")
    nodes, errors = described(documents[0], catalog)
    if errors:
        raise manifests.InputError(f"{args.cluster}: {'; '.join(map(str, errors))}")
    return nodes


def _rows(args: Namespace, catalog: Catalog) -> list[Row]:
    with simulate_trace.opened(args.trace) as lines:
        if args.format == "drumline":
            return list(simulate_trace.rows(args.trace, lines))
        entry = catalog.get(args.accelerator or "")
        if entry is None or not entry.chips_per_host or entry.is_tpu:
            known = ", ".join(key for key, e in catalog.items() if e.chips_per_host and not e.is_tpu)
            raise manifests.InputError(f"--accelerator: given {args.accelerator!r}; allowed: {known}")
        if args.format == "helios":
            found = simulate_importers.helios(args.trace, lines, entry.key, entry.chips_per_host)
        else:
            table = simulate_trace.opened(args.job_table) if args.job_table else nullcontext()
            with table as job_lines:
                found = simulate_importers.pai(args.trace, lines, entry.key, job_lines)
    if found.skipped:
        sys.stderr.write(f"{args.trace}: {found.skipped} jobs without GPUs or without an end are left out\n")
    return found.rows


def _check_levels(rows: Iterable[Row]) -> None:
    """TraceError for a level that no topology has."""
    known = Topology().level_names()
    odd = next((row for row in rows if row.size.level and row.size.level not in known), None)
    if odd is not None:
        raise TraceError(
            f"{odd.where}: placementLevel: given {odd.size.level!r}; allowed: {', '.join(known)}"
        )


@contextmanager
def _timeline(path: str | None) -> Iterator[Callable[[Sample], None] | None]:
    """Writes what it is called with; None where no file is wanted."""
    if path is None:
        yield None
        return
    names = [f.name for f in fields(Sample)]
    try:
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            yield lambda sample: writer.writerow([getattr(sample, name) for name in names])
    except OSError as error:
        raise manifests.InputError(f"{path}: {error}") from error


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code


def _count(given: str) -> int:
    number = int(given)
    if number < 1:
        raise ArgumentTypeError(f"given {given!r}; allowed: 1 or more")
    return number


def _number(given: str) -> float:
    number = float(given)
    if not 0 <= number <= 1e9:
        raise ArgumentTypeError(f"given {given!r}; allowed: 0 to 1e9")
    return number


def _weight(given: str) -> tuple[str, float]:
    queue, _, number = given.rpartition("=")
    return queue, _number(number)
