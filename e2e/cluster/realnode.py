"""One real node beside an embedded control plane: containers run, addresses and names resolve.

What runs, all as host processes: containerd, kubelet, kube-proxy, and CoreDNS on the address of a bridge that
pods hang on. The API server is advertised on that address too, so the bridge comes first:

    with RealNode() as node, EmbeddedCluster(node.options()) as cluster:
        node.join(cluster)

It needs root on Linux, and one runs at a time on a machine (a lock makes the next one wait). Nothing of it
outlives the owner: processes are tied to it by the kernel, and a guardian process undoes the rest
(``realnode_cleanup``). Images stay: containerd's store is in the cache, and an image is imported once.
"""

import dataclasses
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from e2e.cluster import build, images, packages, ports, realnode_config, realnode_journal, realnode_network
from e2e.cluster import realnode_cleanup as cleanup
from e2e.cluster.api import ApiError
from e2e.cluster.components import ClusterOptions
from e2e.cluster.embedded import EmbeddedCluster
from e2e.cluster.process import Process, kill_all
from e2e.cluster.realnode_config import Runtime
from e2e.cluster.realnode_journal import Journal
from e2e.cluster.realnode_store import ImageStore

__all__ = ["RealNode", "why_not"]

NODE_NAME = "real-0"
NODE_LABEL = "drumline.dev/node"
_PACKAGES = {"nft": "nftables", "iptables": "iptables", "ip": "iproute2", "mount": "mount"}
_START_SECONDS = 60
_CLEAN_SECONDS = 60
_ROOT = Path(__file__).parents[2]


def why_not() -> str | None:
    """Why no real node can run here, or None where one can."""
    if sys.platform != "linux":
        return f"a real node needs Linux, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "a real node needs root on Linux: run as root, for instance with sudo"
    return None


class RealNode:
    """A node called ``real-0`` that runs containers; ``address`` is the bridge's, reachable by pods.

    ``store`` holds its images. ``processes`` holds the running programs by name (``containerd``, ``kubelet``,
    ``kube-proxy``, ``coredns``); their logs are in the cluster's ``logs`` directory.
    """

    def __init__(self, proxy_mode: str | None = None) -> None:
        """``proxy_mode`` is kube-proxy's, ``nftables`` or ``iptables``; None: what this kernel allows."""
        self._proxy_mode = proxy_mode
        self.processes: dict[str, Process] = {}
        self._ports: list[ports.Port] = []
        self._guardian: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    def __enter__(self) -> Self:
        return self.prepare()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """The bridge's IPv4 address: the API server, CoreDNS and the kubelet serve on it."""
        return self.journal.network.address

    def options(self, options: ClusterOptions | None = None) -> ClusterOptions:
        """Options of a control plane that this node can join: without kwok unless ``options`` say so."""
        base = options or ClusterOptions(with_kwok=False)
        return dataclasses.replace(base, advertise_address=self.address)

    def prepare(self) -> Self:
        """Wait for other real nodes to end, clean up after a killed one, and bring up the bridge.

        Raises ``RuntimeError`` where ``why_not`` has a reason, ``NetworkError`` when the host refuses.
        """
        if reason := why_not():
            raise RuntimeError(reason)
        packages.ensure_programs(_PACKAGES)
        self._lock = realnode_journal.acquire()
        if left := realnode_journal.read():
            cleanup.clean(left)
        self._guardian = _start_guardian(self._lock)
        try:
            self._bring_up_network()
        except BaseException:
            self.stop()
            raise
        return self

    def join(self, cluster: EmbeddedCluster) -> None:
        """Start the node's programs and wait until the node is Ready; raises ``ProcessError``."""
        self._cluster = cluster
        self._logs = cluster.root / "logs"
        self._start_containerd()
        self.store.clear_containers()
        self.store.load(images.base(), images.pause())
        self._start_kubelet()
        self._start_coredns()
        self._start_kube_proxy()
        self.processes["kubelet"].wait_ready(self._is_ready, _START_SECONDS)

    def stop(self) -> None:
        """End the programs and all containers, and undo what was made on the host; may be called again."""
        kill_all(self.processes.values())
        self.processes.clear()
        for port in self._ports:
            port.release()
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.close()
            if self._guardian.wait(_CLEAN_SECONDS) != 0:
                raise RuntimeError("the real node was not cleaned up; its guardian's message is above")
            self._guardian = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _bring_up_network(self) -> None:
        identity = secrets.token_hex(3)
        asked = (self._proxy_mode, "asked for") if self._proxy_mode else None
        mode, why = asked or realnode_network.proxy_mode()
        print(f"kube-proxy mode: {mode} ({why})", file=sys.stderr, flush=True)
        self.journal = Journal(
            directory=Path(tempfile.mkdtemp(prefix="drumline-node-")),
            network=realnode_network.choose(identity),
            cgroup=f"drumline-{identity}",
            proxy_mode=mode,
            forwarded=realnode_network.forwards(),
        )
        self.journal.write()
        realnode_network.bring_up(self.journal.network)
        realnode_network.masquerade(self.journal.network, mode)
        cleanup.make_cgroups(self.journal.cgroup)

    def _start_containerd(self) -> None:
        directory = self.journal.directory
        root = build.cache_dir() / "containerd"
        root.mkdir(parents=True, exist_ok=True)
        runtime = Runtime(
            root=root,
            directory=directory,
            shim=build.binary("containerd-shim-runc-v2"),
            runc=build.binary("runc"),
            cni=_plugins(directory),
            snapshotter=_snapshotter(root),
            pause_image=images.PAUSE,
        )
        runtime.cni_config.mkdir()
        network = realnode_config.cni(directory, self.journal.network)
        (runtime.cni_config / "10-bridge.conflist").write_text(network)
        configuration = directory / "containerd.toml"
        configuration.write_text(realnode_config.containerd(runtime))
        self.store = ImageStore(build.binary("ctr"), runtime.socket, root, runtime.snapshotter)
        self._run("containerd", [f"--config={configuration}"])
        self.processes["containerd"].wait_ready(self.store.serves, _START_SECONDS)

    def _start_kubelet(self) -> None:
        directory, network = self.journal.directory, self.journal.network
        serving = self._cluster.pki.server(f"system:node:{NODE_NAME}", [network.address, NODE_NAME])
        for source, name in (
            (serving.cert, "kubelet-serving.crt"),
            (serving.key, "kubelet-serving.key"),
            (self._cluster.ca, "ca.crt"),
            (Path("/etc/resolv.conf"), "resolv.conf"),
        ):
            shutil.copy(source, directory / name)
        config = realnode_config.kubelet(directory, network, self._reserve(), self.journal.cgroup)
        user = self._cluster.client_kubeconfig("kubelet", f"system:node:{NODE_NAME}", ("system:nodes",))
        self._run(
            "kubelet",
            [
                f"--config={_write(directory / 'kubelet.json', config)}",
                f"--kubeconfig={user}",
                f"--hostname-override={NODE_NAME}",
                f"--node-ip={network.address}",
                f"--root-dir={directory / 'kubelet'}",
                f"--cert-dir={directory / 'kubelet-pki'}",
                f"--node-labels={NODE_LABEL}=real",
            ],
        )

    def _start_coredns(self) -> None:
        directory = self.journal.directory
        _allow_to_read_services(self._cluster)
        user = self._cluster.client_kubeconfig("coredns", "drumline:coredns")
        corefile = directory / "Corefile"
        corefile.write_text(realnode_config.corefile(self.journal.network, user))
        self._run("coredns", [f"-conf={corefile}", "-quiet"])

    def _start_kube_proxy(self) -> None:
        directory = self.journal.directory
        user = self._cluster.client_kubeconfig("kube-proxy", "system:kube-proxy")
        health = self._reserve()
        config = realnode_config.kube_proxy(
            user, self.journal.network, self.journal.proxy_mode, (health, self._reserve())
        )
        file = _write(directory / "kube-proxy.json", config)
        self._run("kube-proxy", [f"--config={file}", f"--hostname-override={NODE_NAME}"])
        self.processes["kube-proxy"].wait_ready(lambda: _answers(health), _START_SECONDS)

    def _is_ready(self) -> bool:
        try:
            node = self._cluster.api.request("GET", f"/api/v1/nodes/{NODE_NAME}")
        except (ApiError, OSError):
            return False
        conditions = {item["type"]: item["status"] for item in node["status"].get("conditions", [])}
        return conditions.get("Ready") == "True"

    def _reserve(self) -> int:
        self._ports.append(ports.reserve())
        return self._ports[-1].number

    def _run(self, name: str, arguments: list[str]) -> None:
        directory = self.journal.directory
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(directory), "TMPDIR": str(directory)}
        argv = [str(build.binary(name)), *arguments]
        process = Process(name, argv, self._logs / f"{name}.log", environment)
        self.processes[name] = process
        process.start()


def _start_guardian(lock: int) -> "subprocess.Popen[bytes]":
    # It holds the lock too: the next node must not start before the clean-up is over.
    return subprocess.Popen(
        [sys.executable, "-m", cleanup.__name__],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        pass_fds=(lock,),
        start_new_session=True,
    )


def _plugins(directory: Path) -> Path:
    """One directory with all CNI plugins, wherever the cache has each."""
    target = directory / "cni-plugins"
    target.mkdir()
    for name in ("bridge", "host-local", "portmap"):
        (target / name).symlink_to(build.binary(name))
    return target


def _snapshotter(root: Path) -> str:
    """``overlayfs`` where the cache's file system can carry one, else ``native``, which copies."""
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        paths = {name: Path(scratch, name) for name in ("lower", "upper", "work", "merged")}
        for path in paths.values():
            path.mkdir()
        options = f"lowerdir={paths['lower']},upperdir={paths['upper']},workdir={paths['work']}"
        command = ["mount", "-t", "overlay", "overlay", "-o", options, str(paths["merged"])]
        if subprocess.run(command, check=False, capture_output=True).returncode != 0:
            return "native"
        subprocess.run(["umount", str(paths["merged"])], check=True)
    return "overlayfs"


def _allow_to_read_services(cluster: EmbeddedCluster) -> None:
    """CoreDNS's role: Kubernetes has one for kube-proxy and the kubelet, but none for CoreDNS."""
    group, name = "rbac.authorization.k8s.io", "drumline:coredns"
    rules = [
        {"apiGroups": [""], "resources": ["services", "namespaces", "pods"], "verbs": ["list", "watch"]},
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["list", "watch"],
        },
    ]
    head: dict[str, Any] = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
    cluster.api.create(f"/apis/{group}/v1/clusterroles", {**head, "kind": "ClusterRole", "rules": rules})
    binding = {
        **head,
        "kind": "ClusterRoleBinding",
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
    }
    cluster.api.create(f"/apis/{group}/v1/clusterrolebindings", binding)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _write(path: Path, content: dict[str, Any]) -> Path:
    # JSON is YAML too.
    path.write_text(json.dumps(content, indent=2))
    return path
