"""The background cluster of ``make cluster-up``: it outlives the command, and ends with its supervisor."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.cluster import build
from e2e.cluster.process import runs

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path, repository: Path) -> Iterator[Run]:
    # A cache of its own, since a cluster may be up for real; the programs are the built ones.
    build.build(build.CONTROL_PLANE)
    (tmp_path / "bin").symlink_to(build.cache_dir() / "bin")
    environment = {**os.environ, "DRUMLINE_CACHE": str(tmp_path), "DRUMLINE_CLUSTER": "embedded"}

    def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "e2e.cluster", *arguments],
            cwd=repository,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    yield command
    command("down")


def _kubeconfig(output: str) -> str:
    match = re.search(r"^export KUBECONFIG=(.+)$", output, re.MULTILINE)
    assert match is not None, output
    return match.group(1)


def test_up_status_down(run: Run) -> None:
    assert run("status").returncode == 1
    first = run("up", "--nodes", "2 hosts of h100")
    assert first.returncode == 0, first.stderr
    assert run("up").stdout == first.stdout
    assert _kubeconfig(run("status").stdout) == _kubeconfig(first.stdout)
    kubectl = [str(build.binary("kubectl")), "--kubeconfig", _kubeconfig(first.stdout)]
    names = subprocess.run(
        [*kubectl, "get", "nodes", "-o", "name"], capture_output=True, text=True, check=True
    )
    assert len(names.stdout.splitlines()) == 2
    assert run("down").stdout == "the cluster is down\n"
    assert run("down").stdout == "no cluster runs\n"
    assert subprocess.run([*kubectl, "version"], capture_output=True, check=False).returncode != 0


def test_a_supervisor_that_is_killed_takes_the_cluster_along(run: Run, tmp_path: Path) -> None:
    assert run("up").returncode == 0
    state = json.loads((tmp_path / "cluster" / "state.json").read_text())
    children = Path(f"/proc/{state['pid']}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text().split()]
    assert len(pids) == 5
    os.kill(state["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(runs(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert run("status").stdout == "no cluster runs\n"
    assert run("up").returncode == 0
