"""A real node whose owner is killed without warning leaves nothing on the host."""

import subprocess
import sys
import time
from pathlib import Path

from e2e.cluster import realnode_journal
from e2e.cluster.realnode import RealNode
from e2e.suites.kubectl import Kubectl, until
from e2e.suites.pods import python_pod

_OWNER = """
import sys, time
from e2e.cluster.embedded import EmbeddedCluster
from e2e.cluster.realnode import RealNode
with RealNode() as node, EmbeddedCluster(node.options()) as cluster:
    node.join(cluster)
    print(cluster.kubeconfig, flush=True)
    time.sleep(600)
"""


def test_a_killed_owner_leaves_nothing() -> None:
    owner = subprocess.Popen([sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    kubectl = Kubectl(Path(owner.stdout.readline().strip()))
    # The command line is how the test finds the container's process on the host.
    mark = f"drumline-survivor-{time.monotonic_ns()}"
    kubectl.apply(python_pod("survivor", f"import time; time.sleep(600)  # {mark}"))
    kubectl.wait_pod("survivor", "Running")
    journal = realnode_journal.read()
    assert journal is not None
    assert _processes_with(mark)

    owner.kill()
    owner.wait()
    # The guardian holds the lock until everything is undone, so the next node can start only then.
    with RealNode() as following:
        assert following.journal.network.bridge != journal.network.bridge
        assert not _processes_with(mark)
        assert not Path(f"/sys/class/net/{journal.network.bridge}").exists()
        assert str(journal.directory) not in Path("/proc/self/mountinfo").read_text()
        assert not journal.directory.exists()
        assert not list(Path("/sys/fs/cgroup").glob(f"**/{journal.cgroup}"))
        assert "kube-proxy" not in _nft_tables()
    until(lambda: realnode_journal.read() is None, "the second node's journal to go", 150)


def _processes_with(mark: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_text() if entry.name.isdigit() else ""
        except (FileNotFoundError, ProcessLookupError):
            continue
        if mark in command:
            found.append(entry.name)
    return found


def _nft_tables() -> str:
    return subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True).stdout
