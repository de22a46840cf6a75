"""Keep what a job's pods leave behind: rank 0's logs with times, and when containers began and ended.

A restart deletes the pods of an attempt, and their logs with them, so this has to run while the job does:

    python -m e2e.goodput_record JOB FOLDER --kubeconfig FILE [--namespace NS]     # until the job is over

FOLDER then has `<attempt>.log` for each attempt, `containers.json`, and `job.json`, for e2e.goodput_check.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from e2e.demo_timeline import FINAL_PHASES
from e2e.demo_watch import documents
from e2e.suites.kubectl import Kubectl

_DRAIN_SECONDS = 20
_POLL_SECONDS = 1.0
_LABEL = "drumline.dev/"


class Recording:
    """Records a job's pods into a folder from `start` to `close`. The job need not be there yet."""

    def __init__(self, kubectl: Kubectl, job: str, folder: Path) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self._kubectl = kubectl
        self._job = job
        self._folder = folder
        self._watch: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._logs: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Begin to watch."""
        self._folder.mkdir(parents=True, exist_ok=True)
        selector = f"--selector={_LABEL}job={self._job},{_LABEL}role=worker"
        command = [*self._kubectl.command, "get", "pods", selector, "--watch", "--output=json"]
        self._watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Stop, and write down when containers began and ended. Logs are read to their ends first."""
        for follower in self._logs.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                follower.wait(_DRAIN_SECONDS)
            follower.kill()
            follower.wait()
        if self._watch is not None:
            self._watch.kill()
            self._watch.wait()
        if self._reader is not None:
            self._reader.join(_DRAIN_SECONDS)
        found = [self.containers[pod] for pod in sorted(self.containers)]
        (self._folder / "containers.json").write_text(json.dumps(found, indent=2) + "\n")

    def _collect(self) -> None:
        assert self._watch is not None
        assert self._watch.stdout is not None
        for pod in documents(self._watch.stdout):
            entry = container_of(pod)
            if entry is None:
                continue
            # what was seen once stays, even if a later event says less
            known = self.containers.setdefault(entry["pod"], entry)
            known.update({name: value for name, value in entry.items() if value is not None})
            if entry["rank"] == 0 and entry["startedAt"]:
                self._follow(entry["attempt"], entry["pod"])

    def _follow(self, attempt: int, pod: str) -> None:
        if attempt in self._logs:
            return
        command = [*self._kubectl.command, "logs", pod, "--follow", "--timestamps"]
        with (self._folder / f"{attempt}.log").open("wb") as target:
            self._logs[attempt] = subprocess.Popen(command, stdout=target, stderr=subprocess.DEVNULL)


def container_of(pod: dict[str, Any]) -> dict[str, Any] | None:
    """What a pod says of its first container; None before it has one."""
    labels, statuses = pod["metadata"].get("labels", {}), pod.get("status", {}).get("containerStatuses")
    if not statuses:
        return None
    first = pod["spec"]["containers"][0]["name"]
    state: dict[str, Any] = next((s["state"] for s in statuses if s["name"] == first), {})
    now = state.get("terminated") or state.get("running") or {}
    return {
        "pod": pod["metadata"]["name"],
        "attempt": int(labels.get(f"{_LABEL}attempt", 0)),
        "rank": int(labels.get(f"{_LABEL}rank", -1)),
        "startedAt": now.get("startedAt"),
        "finishedAt": now.get("finishedAt"),
        "exitCode": now.get("exitCode"),
    }


@contextlib.contextmanager
def recording(kubectl: Kubectl, job: str, folder: Path) -> Iterator[Recording]:
    """Record a job's pods meanwhile."""
    record = Recording(kubectl, job, folder)
    record.start()
    try:
        yield record
    finally:
        record.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Record until the job is over, then keep the job itself."""
    parser = argparse.ArgumentParser(prog="python -m e2e.goodput_record", description=__doc__.splitlines()[0])
    parser.add_argument("job")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", default="default")
    given = parser.parse_args(arguments)
    kubectl = Kubectl(given.kubeconfig, given.namespace)
    with recording(kubectl, given.job, given.folder):
        while (job := kubectl.get("trainingjob", given.job)).get("status", {}).get(
            "phase"
        ) not in FINAL_PHASES:
            time.sleep(_POLL_SECONDS)
    (given.folder / "job.json").write_text(json.dumps(job, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
