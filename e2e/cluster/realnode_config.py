"""The configuration files of a real node's programs, as text."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.realnode_network import Network

CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Runtime:
    """Paths that containerd is told: its directories, its programs, the pause image's name."""

    root: Path
    directory: Path
    shim: Path
    runc: Path
    cni: Path
    snapshotter: str
    pause_image: str

    @property
    def socket(self) -> Path:
        return self.directory / "containerd.sock"

    @property
    def cni_config(self) -> Path:
        return self.directory / "cni"


def containerd(runtime: Runtime) -> str:
    """The TOML of containerd; ``restrict_oom_score_adj`` lets it run where CAP_SYS_RESOURCE is missing."""
    cri = "plugins.'io.containerd.cri.v1.runtime'"
    sections: dict[str, dict[str, Any]] = {
        "grpc": {"address": str(runtime.socket)},
        "plugins.'io.containerd.cri.v1.images'": {"snapshotter": runtime.snapshotter},
        "plugins.'io.containerd.cri.v1.images'.pinned_images": {"sandbox": runtime.pause_image},
        cri: {"restrict_oom_score_adj": True, "netns_mounts_under_state_dir": True},
        f"{cri}.cni": {
            "bin_dirs": [str(runtime.cni)],
            "conf_dir": str(runtime.cni_config),
            "use_internal_loopback": True,
        },
        f"{cri}.containerd": {"default_runtime_name": "runc"},
        f"{cri}.containerd.runtimes.runc": {
            "runtime_type": "io.containerd.runc.v2",
            "runtime_path": str(runtime.shim),
        },
        f"{cri}.containerd.runtimes.runc.options": {
            "BinaryName": str(runtime.runc),
            "Root": str(runtime.directory / "runc"),
        },
        "plugins.'io.containerd.internal.v1.opt'": {"path": str(runtime.directory / "opt")},
    }
    top: dict[str, Any] = {
        "version": 3,
        "root": str(runtime.root),
        "state": str(runtime.directory / "containerd"),
        "disabled_plugins": ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing"],
    }
    return _toml(top) + "".join(f"\n[{name}]\n{_toml(values)}" for name, values in sections.items())


def cni(directory: Path, network: Network) -> str:
    """The CNI configuration: pods hang on our bridge and get their addresses from its subnet."""
    bridge = {
        "type": "bridge",
        "bridge": network.bridge,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": network.subnet, "gateway": network.address}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(directory / "addresses"),
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": network.bridge, "plugins": [bridge, portmap]}, indent=2)


def kubelet(directory: Path, network: Network, port: int, cgroup: str) -> dict[str, Any]:
    """The kubelet's configuration; it serves on the bridge's address and this port."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.address,
        "port": port,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(directory / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(directory / "kubelet-serving.crt"),
        "tlsPrivateKeyFile": str(directory / "kubelet-serving.key"),
        "containerRuntimeEndpoint": f"unix://{directory / 'containerd.sock'}",
        "clusterDNS": [network.address],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(directory / "resolv.conf"),
        "podLogsDir": str(directory / "pod-logs"),
        "staticPodPath": "",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        # Control groups of version 1 still are what some hosts have.
        "failCgroupV1": False,
        "failSwapOn": False,
        # Lowering one's own OOM score needs a capability that containers often lack.
        "oomScoreAdj": 0,
        "maxPods": 110,
        "serializeImagePulls": False,
        # The host's disk is not ours to judge, and the images were put there on purpose.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusReportFrequency": "1m",
        "syncFrequency": "10s",
    }


def kube_proxy(user: Path, network: Network, mode: str, ports: tuple[int, int]) -> dict[str, Any]:
    """kube-proxy's configuration; ``ports`` are where it serves its health and its metrics.

    Two pods on one bridge talk without the host's packet filter seeing the answers, so an answer to a
    translated connection would come from an address the asker never called; hence ``masqueradeAll``.
    """
    sync = {"masqueradeAll": True, "minSyncPeriod": "100ms", "syncPeriod": "30s"}
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode,
        "clientConnection": {"kubeconfig": str(user)},
        "clusterCIDR": network.subnet,
        "healthzBindAddress": f"127.0.0.1:{ports[0]}",
        "metricsBindAddress": f"127.0.0.1:{ports[1]}",
        "nodePortAddresses": ["127.0.0.0/8"],
        mode: {**sync, "localhostNodePorts": False} if mode == "iptables" else sync,
        # The host's connection tracking limits stay as they are.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def corefile(network: Network, kubeconfig: Path) -> str:
    """CoreDNS's configuration; short times, because a rank that has just got an address must be found."""
    return f"""{CLUSTER_DOMAIN}:53 in-addr.arpa:53 ip6.arpa:53 {{
    bind {network.address}
    errors
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
}}
.:53 {{
    bind {network.address}
    errors
    forward . /etc/resolv.conf
    cache 30
}}
"""


def _toml(values: dict[str, Any]) -> str:
    # JSON's strings, numbers, booleans and lists of strings are TOML's too.
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
