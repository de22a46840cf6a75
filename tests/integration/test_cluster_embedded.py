"""The embedded cluster: what it promises to tests, to the demo and to whoever's machine it runs on."""

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import build, fakepods, nodes
from e2e.cluster.api import Api, ApiError
from e2e.cluster.embedded import ClusterOptions, EmbeddedCluster
from e2e.cluster.pki import Pki
from e2e.cluster.process import ProcessError, runs
from e2e.cluster.provider import Cluster, KubectlError, of_embedded

_OWNER = """
from e2e.cluster.embedded import ClusterOptions, EmbeddedCluster
import sys
cluster = EmbeddedCluster(ClusterOptions(with_kwok=True)).start()
print(cluster.root, *(process.pid for process in cluster.processes.values()), flush=True)
sys.stdin.read()
"""


def _eventually(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


@pytest.fixture
def embedded(cluster: Cluster) -> EmbeddedCluster:
    if cluster.embedded is None:
        pytest.skip(f"about the embedded cluster, and this one comes from the provider {cluster.provider}")
    return cluster.embedded


@pytest.fixture
def fake_node(cluster: Cluster) -> Iterator[str]:
    (name,) = asyncio.run(nodes.apply(cluster, "one host of cpu", prefix=f"test-{os.getpid()}-"))
    cluster.kubectl("wait", "--for=condition=Ready", f"node/{name}", "--timeout=120s", seconds=150)
    yield name
    cluster.kubectl("delete", "node", name)


def test_every_program_serves(cluster: Cluster, embedded: EmbeddedCluster) -> None:
    assert all(process.alive for process in embedded.processes.values())
    assert set(embedded.processes) == {
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kwok",
    }
    assert f'"gitVersion": "v{build.kubernetes()}.' in cluster.kubectl("get", "--raw", "/version")


def test_a_wrong_authority_is_refused(embedded: EmbeddedCluster, tmp_path: Path) -> None:
    stranger = Pki(tmp_path, datetime.now(UTC))  # noqa: TID251  (a certificate must be valid today)
    with pytest.raises(urllib.error.URLError) as refusal:
        Api(embedded.url, stranger.ca.cert).request("GET", "/version")
    assert isinstance(refusal.value.reason, ssl.SSLCertVerificationError)
    client = stranger.client("intruder", "intruder", ("system:masters",))
    with pytest.raises(ApiError) as denial:
        Api(embedded.url, embedded.ca, client).request("GET", "/api/v1/nodes")
    assert denial.value.code == 401


def test_etcd_wants_a_certificate(embedded: EmbeddedCluster) -> None:
    with pytest.raises(OSError, match=r"(?i)certificate required|reset|broken pipe|alert|EOF"):
        Api(embedded.layout.etcd_url, embedded.ca).request("GET", "/health")


def test_rbac_denies_a_token_without_a_role(
    cluster: Cluster, embedded: EmbeddedCluster, namespace: str
) -> None:
    kubeconfig = embedded.service_account_kubeconfig(namespace, "default")
    as_account = Cluster("embedded", kubeconfig, embedded.url, embedded.ca.read_bytes())
    assert f"system:serviceaccount:{namespace}:default" in as_account.kubectl("auth", "whoami")
    with pytest.raises(KubectlError, match="cannot list resource"):
        as_account.kubectl("get", "pods")
    cluster.kubectl(
        "create",
        "rolebinding",
        "view",
        "--clusterrole=view",
        f"--serviceaccount={namespace}:default",
        "-n",
        namespace,
    )
    # The authoriser learns of the binding from a watch.
    _eventually(lambda: as_account.kubectl("auth", "can-i", "--list").count("pods") > 0)
    assert as_account.get("pods")["items"] == []


def test_a_pod_runs_on_a_fake_node(cluster: Cluster, namespace: str, fake_node: str) -> None:
    container = {"name": "main", "image": "example.invalid/none"}
    spec = {"containers": [container], "nodeSelector": {"kubernetes.io/hostname": fake_node}}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "namespace": namespace}, "spec": spec}
    )
    cluster.kubectl(
        "wait", "--for=condition=Ready", "pod/one", "-n", namespace, "--timeout=120s", seconds=150
    )
    assert cluster.get("pod", "one", "-n", namespace)["spec"]["nodeName"] == fake_node


def test_two_clusters_at_once_know_nothing_of_each_other(cluster: Cluster, embedded: EmbeddedCluster) -> None:
    with EmbeddedCluster(ClusterOptions(with_kwok=False, scheduler_qps=1000, scheduler_burst=1000)) as second:
        assert second.url != cluster.url
        assert "kwok" not in second.processes
        second.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": "only-here"}})
        with pytest.raises(ApiError) as refusal:
            embedded.api.request("GET", "/api/v1/namespaces/only-here")
        assert refusal.value.code == 404
        root = second.root
        assert root.exists()
    assert not root.exists()
    assert not any(process.alive for process in second.processes.values())


def test_the_api_server_can_be_paused_killed_and_restarted() -> None:
    with EmbeddedCluster(ClusterOptions(with_kwok=False)) as own:
        own.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": "kept"}})
        before = own.processes["kube-apiserver"].pid
        own.restart_apiserver()
        assert own.processes["kube-apiserver"].pid != before
        assert own.api.request("GET", "/api/v1/namespaces/kept")["status"]["phase"] == "Active"
        own.pause("kube-apiserver")
        assert not own.api.healthy()
        own.resume("kube-apiserver")
        _eventually(own.api.healthy)
        own.kill("kube-scheduler")
        assert not own.processes["kube-scheduler"].alive


def test_what_fake_pods_could_not_do_while_etcd_was_away_they_do_afterwards() -> None:
    with EmbeddedCluster() as own:
        (node,) = asyncio.run(nodes.apply(of_embedded(own), "one host of cpu", prefix="away-"))
        pods = "/api/v1/namespaces/default/pods"
        own.api.request("POST", pods, _ending_pod(node, seconds=2))
        _eventually(lambda: own.api.request("GET", f"{pods}/ends")["status"]["phase"] == "Running")
        own.pause("etcd")
        time.sleep(3)  # what is sent by now gets no answer, and waits for none once etcd is dead
        own.kill("etcd")
        _eventually(lambda: "failed to apply stage" in own.processes["kwok"].tail())
        own.bring_back("etcd")
        _eventually(lambda: own.api.request("GET", f"{pods}/ends")["status"]["phase"] == "Succeeded")


def _ending_pod(node: str, seconds: int) -> dict[str, Any]:
    container = {"name": "main", "image": "example.invalid/none"}
    return {
        "metadata": {"name": "ends", "annotations": {f"{fakepods.PREFIX}run-seconds": str(seconds)}},
        "spec": {"nodeName": node, "restartPolicy": "Never", "containers": [container]},
    }


def test_a_program_that_dies_says_why() -> None:
    own = EmbeddedCluster(ClusterOptions(with_kwok=False, apiserver_flags=("--no-such-flag",)))
    with pytest.raises(ProcessError, match=r"(?s)kube-apiserver ended \(exit code .*no-such-flag"):
        own.start()
    assert not own.root.exists()
    assert not any(process.alive for process in own.processes.values())


def test_nothing_survives_an_owner_that_is_killed(repository: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER],
        cwd=repository,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    root, *pids = owner.stdout.readline().split()
    assert len(pids) == 5
    assert all(runs(int(pid)) for pid in pids)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    _eventually(lambda: not any(runs(int(pid)) for pid in pids))
    # The data of a killed owner goes when the next cluster starts, in whichever process of the tests.
    with EmbeddedCluster(ClusterOptions(with_kwok=False)):
        assert not Path(root).exists()
