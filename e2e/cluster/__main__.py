"""A cluster to play with: ``python -m e2e.cluster up|down|status``.

``up`` starts a supervisor in the background that owns the cluster: whatever ends the supervisor ends the
cluster with it. The supervisor holds a lock while it lives, so a state file that a crash left behind is
never taken for a running cluster.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from e2e.cluster import build, nodes, provider
from e2e.cluster.build import cache_dir
from e2e.cluster.components import ClusterOptions
from e2e.cluster.embedded import EmbeddedCluster
from e2e.cluster.provider import Cluster
from e2e.cluster.realnode import RealNode, why_not

_POLL_SECONDS = 0.2
_DOWN_SECONDS = 60
_REPOSITORY = Path(__file__).parents[2]


def _directory() -> Path:
    path = cache_dir() / "cluster"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _state_file() -> Path:
    return _directory() / "state.json"


def _take_lock() -> IO[str] | None:
    """The lock of the running supervisor, or None while one runs."""
    lock = (_directory() / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _running() -> dict[str, Any] | None:
    lock = _take_lock()
    if lock is not None:
        lock.close()
        return None
    with contextlib.suppress(FileNotFoundError):
        state: dict[str, Any] = json.loads(_state_file().read_text())
        return state
    return {}


def up(arguments: argparse.Namespace) -> int:
    """Start a cluster unless one runs; print how to use it."""
    state = _running()
    if state is None:
        build.build(build.GROUPS["real-node" if arguments.real_node else "control-plane"])
        state = _launch(arguments)
    if not state.get("kubeconfig"):
        print(f"the cluster did not start: see {_directory() / 'log'}", file=sys.stderr)
        return 1
    print(f"# {state['provider']} cluster at {state['url']}; kubectl: {state['kubectl']}")
    print(f"export KUBECONFIG={state['kubeconfig']}")
    return 0


def _launch(arguments: argparse.Namespace) -> dict[str, Any]:
    _state_file().unlink(missing_ok=True)
    command = [sys.executable, "-m", "e2e.cluster", "supervise", *_options(arguments)]
    with (_directory() / "log").open("wb") as log:
        supervisor = subprocess.Popen(
            command,
            cwd=_REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while supervisor.poll() is None and not _state_file().exists():
        time.sleep(_POLL_SECONDS)
    return _running() or {}


def _options(arguments: argparse.Namespace) -> Iterator[str]:
    if arguments.real_node:
        yield "--real-node"
    for description in arguments.nodes:
        yield from ("--nodes", description)


def supervise(arguments: argparse.Namespace) -> int:
    """Own a cluster until a signal comes or one of its programs dies."""
    lock = _take_lock()
    if lock is None:
        print("another supervisor runs", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with lock, _cluster(arguments.real_node) as cluster:
        if arguments.nodes:
            asyncio.run(nodes.apply(cluster, *arguments.nodes))
        try:
            _publish(cluster)
            while True:
                time.sleep(1)
                _check(cluster)
        finally:
            _state_file().unlink(missing_ok=True)


@contextlib.contextmanager
def _cluster(real_node: bool) -> Iterator[Cluster]:
    if real_node:
        with RealNode() as node, EmbeddedCluster(node.options(ClusterOptions())) as embedded:
            node.join(embedded)
            yield provider.of_embedded(embedded)
        return
    cluster = provider.start()
    try:
        yield cluster
    finally:
        cluster.stop()


def _publish(cluster: Cluster) -> None:
    """Write the state under its final name only when it is whole: ``up`` waits for that name."""
    kubeconfig = _directory() / "kubeconfig"
    shutil.copy(cluster.kubeconfig, kubeconfig)
    state = {
        "pid": os.getpid(),
        "provider": cluster.provider,
        "url": cluster.url,
        "kubeconfig": str(kubeconfig),
        "kubectl": str(build.binary("kubectl")),
    }
    partial = _state_file().with_suffix(".partial")
    partial.write_text(json.dumps(state))
    partial.replace(_state_file())


def _check(cluster: Cluster) -> None:
    if cluster.embedded is not None:
        for process in cluster.embedded.processes.values():
            process.check()


def down(_: argparse.Namespace) -> int:
    """End the running cluster; none running is fine."""
    state = _running()
    if not state:
        print("no cluster runs")
        return 0
    os.kill(state["pid"], signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_SECONDS
    while _running() is not None:
        if time.monotonic() > deadline:
            print(f"the supervisor, process {state['pid']}, does not end", file=sys.stderr)
            return 1
        time.sleep(_POLL_SECONDS)
    print("the cluster is down")
    return 0


def status(_: argparse.Namespace) -> int:
    """Say whether a cluster runs; exit status 1 when none does."""
    state = _running()
    if not state:
        print("no cluster runs" if state is None else "a cluster is starting")
        return 1
    print(f"{state['provider']} cluster at {state['url']}, supervised by process {state['pid']}")
    print(f"export KUBECONFIG={state['kubeconfig']}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster")
    commands = parser.add_subparsers(required=True)
    for name, action in (("up", up), ("supervise", supervise), ("down", down), ("status", status)):
        command = commands.add_parser(name, description=action.__doc__)
        command.set_defaults(action=action)
        if name in {"up", "supervise"}:
            command.add_argument(
                "--real-node", action="store_true", help="one node that runs containers (root)"
            )
            command.add_argument(
                "--nodes",
                action="append",
                default=[],
                metavar="TEXT",
                help="fake nodes: 'two v5p 4x4x4 slices'",
            )
    parsed = parser.parse_args(arguments)
    reason = why_not() if getattr(parsed, "real_node", False) else None
    if reason is not None:
        parser.error(reason)
    code: int = parsed.action(parsed)
    return code


if __name__ == "__main__":
    sys.exit(main())
