"""The configuration files of a real node say what was found to be needed."""

import json
import tomllib
from pathlib import Path

import pytest

from e2e.cluster import realnode_config
from e2e.cluster.realnode_config import Runtime
from e2e.cluster.realnode_network import Network, masquerade_rule

NETWORK = Network("drum-abc", "10.213.4.0/24", "10.213.4.1")
DIRECTORY = Path("/run/node")


def test_containerd_is_told_where_everything_is() -> None:
    runtime = Runtime(
        root=Path("/cache/containerd"),
        directory=DIRECTORY,
        shim=Path("/cache/shim"),
        runc=Path("/cache/runc"),
        cni=DIRECTORY / "cni-plugins",
        snapshotter="overlayfs",
        pause_image="drumline/pause:1",
    )
    parsed = tomllib.loads(realnode_config.containerd(runtime))
    cri = parsed["plugins"]["io.containerd.cri.v1.runtime"]
    assert parsed["grpc"]["address"] == "/run/node/containerd.sock"
    assert cri["restrict_oom_score_adj"] is True
    # Else namespaces of a killed node would stay mounted outside its directory.
    assert cri["netns_mounts_under_state_dir"] is True
    assert cri["containerd"]["runtimes"]["runc"]["options"]["BinaryName"] == "/cache/runc"
    assert cri["cni"]["conf_dir"] == "/run/node/cni"


def test_pods_hang_on_our_bridge() -> None:
    bridge, _ = json.loads(realnode_config.cni(DIRECTORY, NETWORK))["plugins"]
    assert bridge["bridge"] == "drum-abc"
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.213.4.0/24", "gateway": "10.213.4.1"}]]


def test_the_kubelet_serves_and_resolves_on_the_bridge() -> None:
    config = realnode_config.kubelet(DIRECTORY, NETWORK, 12345, "drumline-abc")
    assert (config["address"], config["port"]) == ("10.213.4.1", 12345)
    assert config["clusterDNS"] == ["10.213.4.1"]
    assert config["failCgroupV1"] is False
    assert config["cgroupRoot"] == "/drumline-abc"


@pytest.mark.parametrize("mode", ["nftables", "iptables"])
def test_kube_proxy_translates_answers_between_pods_of_one_bridge(mode: str) -> None:
    config = realnode_config.kube_proxy(DIRECTORY / "user", NETWORK, mode, (1, 2))
    assert config["mode"] == mode
    assert config[mode]["masqueradeAll"] is True
    # Its default would set a sysctl that nobody resets.
    assert config[mode].get("localhostNodePorts", False) is False
    assert config["conntrack"]["maxPerCore"] == 0


def test_coredns_binds_the_bridges_address_only() -> None:
    text = realnode_config.corefile(NETWORK, Path("/run/node/user"))
    assert text.count("bind 10.213.4.1") == text.count("bind") == 2


def test_the_fallbacks_rule_is_found_again_by_its_comment() -> None:
    assert "drum-abc" in masquerade_rule(NETWORK)
