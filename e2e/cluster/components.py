"""The command lines of a control plane's programs: pure functions of a cluster's layout and options."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from e2e.cluster.pki import KeyPair

LOOPBACK = "127.0.0.1"
ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True)
class ClusterOptions:
    """What may differ between embedded clusters.

    ``*_qps`` and ``*_burst`` are client-side limits in requests a second; the values here are Kubernetes'
    own defaults. Extra flags are appended, so they win over ours. ``advertise_address`` is the address that
    pods reach the API server at; it must exist on an interface, and it makes the server listen on all of them.
    """

    with_kwok: bool = True
    scheduler_qps: float = 50
    scheduler_burst: int = 100
    controller_qps: float = 20
    controller_burst: int = 30
    apiserver_flags: tuple[str, ...] = ()
    controller_flags: tuple[str, ...] = ()
    scheduler_flags: tuple[str, ...] = ()
    feature_gates: Mapping[str, bool] = field(default_factory=dict)
    advertise_address: str | None = None
    service_cidr: str = "10.96.0.0/16"
    kubernetes_service_ip: str = "10.96.0.1"

    @property
    def bind_address(self) -> str:
        """Where the API server listens: loopback alone unless pods must reach it."""
        return LOOPBACK if self.advertise_address is None else "0.0.0.0"


# by minor version of Kubernetes, what its own gangs need: gates, and the API's versions, the newest first
_GANG_GATES: Final = {
    "1.36": ("GenericWorkload", "GangScheduling", "TopologyAwareWorkloadScheduling"),
    "1.37": ("GenericWorkload", "TopologyAwareWorkloadScheduling"),
}
GANG_VERSIONS: Final = {"1.36": ("v1alpha2",), "1.37": ("v1beta1", "v1alpha3")}


def native_gangs(kubernetes: str) -> ClusterOptions:
    """A cluster of that minor version with Kubernetes' own gangs, which none has by default."""
    served = ",".join(f"scheduling.k8s.io/{version}=true" for version in GANG_VERSIONS[kubernetes])
    return ClusterOptions(
        feature_gates=dict.fromkeys(_GANG_GATES[kubernetes], True),
        apiserver_flags=(f"--runtime-config={served}",),
    )


@dataclass(frozen=True)
class Layout:
    """Files and ports of one cluster."""

    root: Path
    ports: Mapping[str, int]
    ca: KeyPair
    server: KeyPair
    etcd_client: KeyPair
    kubelet_client: KeyPair
    service_accounts: KeyPair

    def kubeconfig(self, user: str) -> Path:
        """Where this user's kubeconfig is."""
        return self.root / "kubeconfig" / user

    @property
    def etcd_url(self) -> str:
        return f"https://{LOOPBACK}:{self.ports['etcd']}"

    @property
    def api_url(self) -> str:
        return f"https://{LOOPBACK}:{self.ports['kube-apiserver']}"


def etcd(layout: Layout) -> list[str]:
    """A single member that forgets to sync its disk: a test's cluster does not survive a power cut anyway."""
    peer = f"https://{LOOPBACK}:{layout.ports['etcd-peer']}"
    return [
        f"--data-dir={layout.root / 'etcd'}",
        "--name=default",
        f"--listen-client-urls={layout.etcd_url}",
        f"--advertise-client-urls={layout.etcd_url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        *_etcd_tls(layout, ""),
        *_etcd_tls(layout, "peer-"),
        "--unsafe-no-fsync",
        "--snapshot-count=100000",
        "--quota-backend-bytes=4294967296",
        "--logger=zap",
        "--log-level=warn",
    ]


def _etcd_tls(layout: Layout, prefix: str) -> list[str]:
    return [
        f"--{prefix}cert-file={layout.server.cert}",
        f"--{prefix}key-file={layout.server.key}",
        f"--{prefix}trusted-ca-file={layout.ca.cert}",
        f"--{prefix}client-cert-auth",
    ]


def apiserver(layout: Layout, options: ClusterOptions) -> list[str]:
    """The API server, authorising by RBAC, trusting this cluster's authority alone."""
    return [
        f"--secure-port={layout.ports['kube-apiserver']}",
        f"--bind-address={options.bind_address}",
        *_advertised(options),
        f"--etcd-servers={layout.etcd_url}",
        f"--etcd-cafile={layout.ca.cert}",
        f"--etcd-certfile={layout.etcd_client.cert}",
        f"--etcd-keyfile={layout.etcd_client.key}",
        f"--tls-cert-file={layout.server.cert}",
        f"--tls-private-key-file={layout.server.key}",
        f"--client-ca-file={layout.ca.cert}",
        f"--kubelet-certificate-authority={layout.ca.cert}",
        f"--kubelet-client-certificate={layout.kubelet_client.cert}",
        f"--kubelet-client-key={layout.kubelet_client.key}",
        "--kubelet-preferred-address-types=InternalIP,Hostname",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={layout.service_accounts.cert}",
        f"--service-account-signing-key-file={layout.service_accounts.key}",
        f"--service-cluster-ip-range={options.service_cidr}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--profiling=false",
        *_gates(options),
        *options.apiserver_flags,
    ]


def _advertised(options: ClusterOptions) -> list[str]:
    if options.advertise_address is None:
        # The endpoints of the Service `kubernetes` may not be loopback, and no fake pod asks for them.
        return ["--endpoint-reconciler-type=none"]
    return [f"--advertise-address={options.advertise_address}"]


def controller_manager(layout: Layout, options: ClusterOptions) -> list[str]:
    """All default controllers, each under its own service account."""
    return [
        *_serving(layout, "kube-controller-manager"),
        f"--kubeconfig={layout.kubeconfig('kube-controller-manager')}",
        f"--kube-api-qps={options.controller_qps:g}",
        f"--kube-api-burst={options.controller_burst}",
        f"--root-ca-file={layout.ca.cert}",
        f"--cluster-signing-cert-file={layout.ca.cert}",
        f"--cluster-signing-key-file={layout.ca.key}",
        f"--service-account-private-key-file={layout.service_accounts.key}",
        f"--service-cluster-ip-range={options.service_cidr}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--profiling=false",
        *_gates(options),
        *options.controller_flags,
    ]


def scheduler(layout: Layout, options: ClusterOptions) -> list[str]:
    """The scheduler, with the configuration that ``scheduler_configuration`` returns."""
    return [
        *_serving(layout, "kube-scheduler"),
        f"--config={layout.root / 'kube-scheduler.json'}",
        *_gates(options),
        *options.scheduler_flags,
    ]


def scheduler_configuration(layout: Layout, options: ClusterOptions) -> str:
    """Client limits are settings of the file: the scheduler ignores the flags when it is given a file."""
    configuration = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "enableProfiling": False,
        "clientConnection": {
            "kubeconfig": str(layout.kubeconfig("kube-scheduler")),
            "qps": options.scheduler_qps,
            "burst": options.scheduler_burst,
        },
    }
    return json.dumps(configuration, indent=2)


def _serving(layout: Layout, name: str) -> list[str]:
    kubeconfig = layout.kubeconfig(name)
    return [
        f"--bind-address={LOOPBACK}",
        f"--secure-port={layout.ports[name]}",
        f"--tls-cert-file={layout.server.cert}",
        f"--tls-private-key-file={layout.server.key}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--client-ca-file={layout.ca.cert}",
    ]


def _gates(options: ClusterOptions) -> list[str]:
    gates = [f"{name}={str(on).lower()}" for name, on in sorted(options.feature_gates.items())]
    return [f"--feature-gates={','.join(gates)}"] if gates else []
