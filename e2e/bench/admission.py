"""``python -m e2e.bench.admission``: what admission with queues costs, without a cluster around it.

Times are processor time, since nothing here waits.

decision: 10,000 nodes of 8 chips, all but a few held, and 1,000 gangs of many sizes queued in 20 queues of one
cohort. Each time one small gang ends, and the round that follows is timed: who of all that wait begins now.

churn: 50,000 gangs in 1,000 queues, all queued at once, go through `admit` and release; when a round has decided,
those that have begun longest ago end, half of all that run. Gangs a second, of the whole run.

Prints one line of JSON for each, and a table. `--scale` divides nodes, gangs and queues.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import deque
from typing import Final

from drumline.core.gang.admission import NO_TARGETS, admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.queues import Queue, QueueQuota, Queues, RunningGang
from drumline.core.gang.types import GangRequest, Node, PodShape

TYPE: Final = "nvidia-h100-80gb"
CHIPS: Final = 8
SIZES: Final = (1, 2, 1, 4, 1, 8, 2, 16, 1, 32)  # workers of gangs, in turn
ROUNDS: Final = 30
_SHAPE: Final = PodShape(requests=(("cpu", 1000), ("nvidia.com/gpu", CHIPS), ("pods", 1)))
_LABEL: Final = "cloud.google.com/gce-topology-block"


def cluster(nodes: int) -> Capacity:
    """Nodes in blocks of 32."""
    state = Capacity()
    for n in range(nodes):
        free = {"cpu": 192_000, "nvidia.com/gpu": CHIPS, "pods": 110}
        state.set_node(Node(f"n{n:05}", labels={_LABEL: f"b{n // 32}"}, allocatable=free))
    return state


def request(number: int, workers: int, queue: str) -> GangRequest:
    """A gang of whole nodes."""
    return GangRequest(
        uid=f"g{number:06}",
        namespace="team",
        name=f"g{number:06}",
        priority=number % 3,
        queued_at=float(number),
        slices=1,
        workers_per_slice=workers,
        worker=_SHAPE,
        accelerator=TYPE,
        chips_per_worker=CHIPS,
        queue=queue,
    )


def queues_of(count: int, chips: int) -> dict[str, Queue]:
    """Queues of one cohort that share so many chips; weights differ."""
    quota = {TYPE: QueueQuota(chips // count)}
    return {f"q{n}": Queue(f"q{n}", "all", float(1 + n % 3), quotas=quota) for n in range(count)}


def runs(gang: GangRequest, now: float) -> RunningGang:
    """The gang, begun now."""
    chips = gang.workers * CHIPS
    return RunningGang(gang.uid, gang.queue, TYPE, chips, gang.priority, admitted_at=now)


def decision(nodes: int, gangs: int, queues: int) -> dict[str, object]:
    """Seconds of the round that follows the end of a gang."""
    state, known = cluster(nodes), queues_of(queues, nodes * CHIPS)
    holders = [request(n, 1, f"q{n % queues}") for n in range(nodes)]
    begun = admit(holders, state, 0.0, 1e9, queues=Queues(known))
    ask = {gang.uid: gang for gang in holders}
    running = {uid: runs(ask[uid], 0.0) for uid, _ in begun.granted}
    sizes = [SIZES[n % len(SIZES)] for n in range(gangs)]
    waiting = {g.uid: g for g in (request(nodes + n, s, f"q{n % queues}") for n, s in enumerate(sizes))}
    taken, granted, kept = [], 0, NO_TARGETS
    for turn in range(ROUNDS):
        gone = next(iter(running))
        del running[gone]
        state.release(gone)
        begin = time.process_time()
        result = admit(waiting.values(), state, float(turn), 1e9, kept=kept, queues=Queues(known, running))
        taken.append(time.process_time() - begin)
        granted, kept = granted + len(result.granted), result.targets
        for uid, _ in result.granted:
            running[uid] = runs(waiting.pop(uid), float(turn))
    return {
        "scenario": "decision",
        "nodes": nodes,
        "queued": gangs,
        "queues": queues,
        "rounds": ROUNDS,
        "granted": granted,
        "median_ms": round(statistics.median(taken) * 1000, 2),
        "max_ms": round(max(taken) * 1000, 2),
    }


def churn(nodes: int, gangs: int, queues: int) -> dict[str, object]:
    """Gangs a second through admission and release."""
    state, known = cluster(nodes), queues_of(queues, nodes * CHIPS)
    sizes = [SIZES[n % 5] for n in range(gangs)]
    waiting = {g.uid: g for g in (request(n, s, f"q{n % queues}") for n, s in enumerate(sizes))}
    running: dict[str, RunningGang] = {}
    order: deque[str] = deque()
    rounds, done, begin = 0, 0, time.process_time()
    while waiting or running:
        result = admit(waiting.values(), state, float(rounds), 1e9, queues=Queues(known, running))
        for uid, _ in result.granted:
            running[uid] = runs(waiting.pop(uid), float(rounds))
            order.append(uid)
        rounds += 1
        for _ in range(max(1, len(order) // 2) if waiting else len(order)):
            uid = order.popleft()
            del running[uid]
            state.release(uid)
            done += 1
    seconds = time.process_time() - begin
    return {
        "scenario": "churn",
        "nodes": nodes,
        "gangs": done,
        "queues": queues,
        "rounds": rounds,
        "seconds": round(seconds, 2),
        "gangs_per_second": round(done / seconds, 1),
    }


def main() -> None:
    """Print JSON and a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=1, help="Divide all sizes by this. Default: 1.")
    scale = parser.parse_args().scale
    rows = [
        decision(10_000 // scale, 1_000 // scale, max(1, 20 // scale)),
        churn(10_000 // scale, 50_000 // scale, max(1, 1_000 // scale)),
    ]
    for row in rows:
        print(json.dumps(row))
    print(f"{'scenario':10} {'nodes':>6} {'queues':>6}  figure")
    for row, figure in zip(rows, ("median_ms", "gangs_per_second"), strict=True):
        print(f"{row['scenario']:10} {row['nodes']:>6} {row['queues']:>6}  {row[figure]} {figure}")


if __name__ == "__main__":
    main()
