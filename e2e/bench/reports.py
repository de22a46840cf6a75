"""1,000 progress reports a second: what they cost the operator's loop, and whether one job's flood starves others.

``python -m e2e.bench.reports`` on a fresh control plane with 250 running jobs of one pod. Their pods report over
TLS with tokens of their own while TrainingJobs are changed at a steady rate, each change a reconcile. The time of
every reconcile is taken three times as long: without reports, with them, without them again.

Reporters are other machines in life, and the ingest has half the operator's weight by the chart's CPU requests. Here they
share its cores, and come after everybody else in that proportion; on a busy machine they starve. With ``--together``
they compete with the operator for the cores as equals: the difference is what the senders cost, not the reports.

Then one job sends as fast as it is answered, over as many connections as one address may have, from a process of
its own, and reports of others are timed from when they were due. Everything shares the machine's cores.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.bench import timed_operator
from e2e.bench.client import RawClient
from e2e.bench.manifests import training_job
from e2e.bench.measure import usage
from e2e.bench.reports_client import Identity, Reporter, Target, flood_settings, steadily
from e2e.bench.rig import Rig, rig
from e2e.bench.scenarios import JOBS, PODS, make_namespace, running
from e2e.cluster import ports
from e2e.cluster.embedded import ClusterOptions

Row = dict[str, Any]
JOB_COUNT = 250
REPORTS_A_SECOND = 1000
PHASE_SECONDS = 30.0
CHANGES_A_SECOND = 20.0
OTHERS = 50
OTHERS_A_SECOND = 2.0
FLOOD_CONNECTIONS = 64
FLOOD_SECONDS = 20.0
HALF_WEIGHT = 3  # nice value at which the scheduler gives half of what a process at 0 gets
LEAST_WEIGHT = 10  # a tenth
NAMESPACE = "bench-reports"
# a machine that others use too must not end the only replica
PATIENT = ("--lease-duration", "60", "--lease-renew-deadline", "45", "--lease-retry", "2")
OUTPUT = Path("build/bench-reports.json")
OPTIONS = ClusterOptions(scheduler_qps=1000, scheduler_burst=1000, controller_qps=500, controller_burst=500)
SECRET = "/api/v1/namespaces/default/secrets/drumline-ingest"
NAME = "drumline-ingest.default.svc"


@dataclass(slots=True)
class Site:
    """What runs: the operator, the ingest, jobs and their reporters."""

    rig: Rig
    ingest: subprocess.Popen[bytes]
    times: Path
    target: Target
    identities: list[Identity]


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time: reconciles in it, and cores that were busy with each process."""

    reconciles: list[float]
    operator_cores: float
    ingest_cores: float
    senders_cores: float


async def main(*, apart: bool = True) -> Row:
    """Measure; the row. `apart`: senders and ingest come after everybody else."""
    with tempfile.TemporaryDirectory() as folder:
        async with rig(OPTIONS) as made:
            times = Path(folder) / "times"
            times.touch()
            socket = Path(folder) / "reports.sock"
            timed = ("-m", "e2e.bench.timed_operator", str(times))
            await made.start_operator("--report-socket", str(socket), *PATIENT, instead=timed)
            port = ports.reserve().number
            with ingest(made, socket, port, HALF_WEIGHT if apart else 0) as process:
                identities = await _jobs(made.client)
                target = Target(port, NAME, await authority(made.client))
                os.nice(LEAST_WEIGHT if apart else 0)
                return await _measured(Site(made, process, times, target, identities))


@contextmanager
def ingest(made: Rig, socket: Path, port: int, weight: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """The ingest's process, with that nice value."""
    arguments = ["--kubeconfig", str(made.cluster.kubeconfig), "--report-socket", str(socket)]
    arguments += ["--ingest-host", "127.0.0.1", "--ingest-port", str(port)]
    with made.log.open("ab") as log:
        command = ["nice", "-n", str(weight), sys.executable, "-m", "drumline", "ingest", *arguments]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


async def _jobs(client: RawClient) -> list[Identity]:
    """Make the jobs, wait for their pods to run, and get each pod a token."""
    await make_namespace(client, NAMESPACE)
    watch = asyncio.create_task(client.watch_pods(NAMESPACE, running(JOB_COUNT), 300.0))
    path = JOBS.format(NAMESPACE)
    await client.each(("POST", path, training_job(f"job-{i}", NAMESPACE, 1)) for i in range(JOB_COUNT))
    await watch
    return await _identities(client)


async def authority(client: RawClient) -> str:
    """The ingest's authority, PEM, once it is there."""
    for _ in range(300):
        found = await client.request("GET", SECRET)
        if "ca.crt" in (found.get("data") or {}):
            return base64.b64decode(found["data"]["ca.crt"]).decode()
        await asyncio.sleep(0.1)
    raise TimeoutError("the ingest has no certificates")


async def _identities(client: RawClient) -> list[Identity]:
    pods = (await client.request("GET", PODS.format(NAMESPACE)))["items"]
    return [
        await identity_of(client, pod, f"127.0.{1 + i // 250}.{1 + i % 250}") for i, pod in enumerate(pods)
    ]


async def identity_of(client: RawClient, pod: Any, address: str) -> Identity:
    """The identity of a pod that a job owns, with a token bound to it."""
    metadata = pod["metadata"]
    owner = metadata["ownerReferences"][0]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    spec = {"audiences": ["drumline"], "expirationSeconds": 3600, "boundObjectRef": bound}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    namespace = metadata["namespace"]
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    token = (await client.request("POST", path, body))["status"]["token"]
    return Identity(namespace, owner["name"], owner["uid"], token, address)


async def _measured(site: Site) -> Row:
    tls = site.target.tls()
    reporters = [Reporter(site.target, tls, who) for who in site.identities]
    await steadily(reporters, 1.0, 5.0, warm=True)
    before = await _phase(site)
    reporting = asyncio.create_task(steadily(reporters, REPORTS_A_SECOND / JOB_COUNT, PHASE_SECONDS + 2))
    began = time.monotonic()
    during = await _phase(site)
    tally = await reporting
    took = time.monotonic() - began
    after = await _phase(site)
    idle = [percentile(phase.reconciles, 99) for phase in (before, after)]
    busy = percentile(during.reconciles, 99)
    operator, ingest, senders = (
        [getattr(p, f"{n}_cores") for p in (before, during, after)] for n in ("operator", "ingest", "senders")
    )
    rate = tally.statuses[200] / took
    row: Row = {
        "scenario": "reports",
        "reports_per_s": round(rate),
        "report_p50_ms": _ms(percentile(tally.seconds, 50)),
        "report_p99_ms": _ms(percentile(tally.seconds, 99)),
        "statuses": {**tally.statuses, "unsent": tally.unsent},
        "reconciles": [len(p.reconciles) for p in (before, during, after)],
        "reconcile_p50_ms": [_ms(percentile(p.reconciles, 50)) for p in (before, during, after)],
        "reconcile_p99_ms": [_ms(idle[0]), _ms(busy), _ms(idle[1])],
        "reconcile_p99_ratio": round(busy / statistics.mean(idle), 2),
        "operator_cores": [round(cores, 2) for cores in operator],
        "ingest_cores": [round(cores, 2) for cores in ingest],
        "operator_cpu_ms_per_report": _cpu_ms(operator, rate),
        "ingest_cpu_ms_per_report": _cpu_ms(ingest, rate),
        "senders_cpu_ms_per_report": _cpu_ms(senders, rate),
        "load_average": round(os.getloadavg()[0], 1),
    }
    return row | await _flooded(site, reporters)


async def _phase(site: Site) -> Phase:
    """Change jobs for a while and see how long reconciles take."""
    pids = (_running(site), site.ingest.pid, os.getpid())
    first = len(timed_operator.read(site.times))
    cpu = [usage(pid).cpu for pid in pids]
    began = time.monotonic()
    for i in range(round(PHASE_SECONDS * CHANGES_A_SECOND)):
        await asyncio.sleep(began + i / CHANGES_A_SECOND - time.monotonic())
        if time.monotonic() > began + PHASE_SECONDS:
            break
        patch = {"metadata": {"annotations": {"bench": f"{began}-{i}"}}}
        path = f"{JOBS.format(NAMESPACE)}/job-{i % JOB_COUNT}"
        await site.rig.client.request("PATCH", path, patch, "application/merge-patch+json")
    took = time.monotonic() - began
    _running(site)
    cores = ((usage(pid).cpu - at) / took for pid, at in zip(pids, cpu, strict=True))
    return Phase(timed_operator.read(site.times, first), *cores)


def _running(site: Site) -> int:
    """The operator's process; RuntimeError when it has ended."""
    if site.rig.operator is None or site.rig.operator.poll() is not None:
        raise RuntimeError(f"the operator ended; see {site.rig.log}")
    return site.rig.operator.pid


def _cpu_ms(phases: Sequence[float], rate: float) -> float:
    """CPU time of a report, from cores busy before, during and after."""
    before, during, after = phases
    if not rate:
        return 0.0
    return round((during - (before + after) / 2) / rate * 1000, 3)


async def _flooded(site: Site, reporters: Sequence[Reporter]) -> Row:
    others = list(reporters[1 : OTHERS + 1])
    quiet = await steadily(others, OTHERS_A_SECOND, FLOOD_SECONDS)
    settings = flood_settings(site.target, site.identities[0], FLOOD_CONNECTIONS, FLOOD_SECONDS + 4)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "e2e.bench.reports_client",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    flooding = asyncio.create_task(process.communicate(settings))
    await asyncio.sleep(2.0)
    during = await steadily(others, OTHERS_A_SECOND, FLOOD_SECONDS)
    sent, _ = await flooding
    statuses = json.loads(sent)
    return {
        "flood_per_s": round(sum(statuses.values()) / (FLOOD_SECONDS + 4)),
        "flood_statuses": statuses,
        "others_p99_ms": [_ms(percentile(quiet.seconds, 99)), _ms(percentile(during.seconds, 99))],
        "others_statuses": {**during.statuses, "unsent": during.unsent},
    }


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that so many percent do not exceed; 0 without samples."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends too
    result = asyncio.run(main(apart="--together" not in sys.argv[1:]))
    print(json.dumps(result, indent=2))
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(result, indent=2) + "\n")
