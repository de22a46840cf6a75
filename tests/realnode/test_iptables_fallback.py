"""Where the kernel refuses nftables mode, iptables mode does the same and leaves as little behind."""

import subprocess
from pathlib import Path

from e2e.cluster.embedded import EmbeddedCluster
from e2e.cluster.realnode import RealNode
from e2e.suites.kubectl import Kubectl
from e2e.suites.pods import python_pod

_REACH_THE_API = """
import socket
with socket.create_connection(("kubernetes.default", 443), timeout=10) as connection:
    print(connection.getpeername()[0])
"""
_LOCALNET = Path("/proc/sys/net/ipv4/conf/all/route_localnet")


def test_cluster_ips_answer_in_iptables_mode_too() -> None:
    localnet = _LOCALNET.read_text()
    with RealNode(proxy_mode="iptables") as node, EmbeddedCluster(node.options()) as cluster:
        node.join(cluster)
        kubectl = Kubectl(cluster.kubeconfig)
        kubectl.apply(python_pod("reaches", _REACH_THE_API))
        kubectl.wait_pod("reaches", "Succeeded")
        assert kubectl.logs("reaches").strip() == cluster.options.kubernetes_service_ip
        assert "KUBE-SERVICES" in _rules()
    assert "KUBE-" not in _rules()
    assert node.journal.network.bridge not in _rules()
    assert _LOCALNET.read_text() == localnet


def _rules() -> str:
    return subprocess.run(["iptables-save"], check=True, capture_output=True, text=True).stdout
