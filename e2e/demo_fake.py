"""The demo without root: the same story on fake nodes, with an operator beside the cluster, training nothing."""

import asyncio
import os
import sys
import time
from typing import Any

import yaml

from e2e.cluster import build, nodes, provider
from e2e.cluster.embedded import EmbeddedCluster
from e2e.cluster.operator import install_api, operator_command
from e2e.cluster.process import Process
from e2e.demo_site import EXAMPLES, REPOSITORY, Say, wait_for_interrupt
from e2e.demo_timeline import Mark, table
from e2e.demo_watch import JobWatch
from e2e.suites.kubectl import Kubectl, until

_JOB = "gpu-h100"
_HOSTS = "4 hosts of h100"
_RUN_SECONDS = 15
_KILL_AFTER_SECONDS = 5
_SECONDS = 180


def main(reason: str, *, keep: bool) -> int:
    """Play the story on fake nodes; the exit status is 1 when the job did not complete."""
    print(f"No real node: {reason}.")
    print("So the nodes and workers below are fake: scheduling and restarts are real, nothing is trained.\n")
    say = Say()
    build.build(build.CONTROL_PLANE)
    with EmbeddedCluster() as cluster:
        say(f"control plane at {cluster.url}")
        asyncio.run(nodes.apply(provider.of_embedded(cluster), _HOSTS))
        asyncio.run(install_api(cluster))
        operator = _operator(cluster)
        operator.start()
        say(f"{_HOSTS}; the operator runs beside the cluster")
        try:
            good = _play(Kubectl(cluster.kubeconfig), say)
            if keep:
                wait_for_interrupt(cluster.kubeconfig)
        finally:
            operator.stop()
    return 0 if good else 1


def _play(kubectl: Kubectl, say: Say) -> bool:
    watch = JobWatch(kubectl, _JOB, lambda mark: say(_headline(mark)))
    say(f"kubectl apply -f examples/{_JOB}.yaml, with workers that play {_RUN_SECONDS} s of training")
    kubectl.apply(_job())
    try:
        until(lambda: watch.phase == "Running", "the gang to run", _SECONDS)
        time.sleep(_KILL_AFTER_SECONDS)
        victim = f"{_JOB}-{watch.attempt}-0-1"
        say(f"deleting worker {victim}")
        kubectl.delete("pod", victim)
        until(lambda: watch.over, "the job to end", _SECONDS)
    finally:
        watch.close()
    print(f"\nWhere the time went:\n{table(watch.marks)}")
    return watch.phase == "Succeeded" and watch.attempt > 1


def _operator(cluster: EmbeddedCluster) -> Process:
    arguments, _ = operator_command(cluster.kubeconfig)
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(cluster.root)}
    log = cluster.root / "logs" / "operator.log"
    return Process("operator", [sys.executable, *arguments], log, environment, cwd=REPOSITORY)


def _job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{_JOB}.yaml").read_text())
    job["spec"]["template"]["metadata"] = {
        "annotations": {"fake.drumline.dev/run-seconds": str(_RUN_SECONDS)}
    }
    return job


def _headline(mark: Mark) -> str:
    return f"  {mark.phase}, attempt {mark.attempt}" if mark.attempt else f"  {mark.phase}"
