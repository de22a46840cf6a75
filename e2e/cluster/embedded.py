"""A whole control plane in a temporary directory: etcd, API server, controller manager, scheduler, kwok.

It starts in seconds; several run at once. TLS is verified everywhere against an authority of its own. Nothing
outlives the owner: processes are tied to it by the kernel (``process.py``), and a directory that a killed
owner left behind is removed by whoever starts the next cluster, told by a lock that only the living hold.
"""

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from e2e.cluster import build, components, kubeconfig, kwok, ports
from e2e.cluster.api import Api
from e2e.cluster.components import LOOPBACK, ClusterOptions, Layout
from e2e.cluster.pki import KeyPair, Pki
from e2e.cluster.process import Process, kill_all

__all__ = ["ClusterOptions", "EmbeddedCluster"]

_PREFIX = "drumline-cluster-"
_LISTENERS = ("etcd", "etcd-peer", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_USERS = {
    "admin": ("drumline:admin", ("system:masters",)),
    "kube-controller-manager": ("system:kube-controller-manager", ()),
    "kube-scheduler": ("system:kube-scheduler", ()),
    "kwok": (kwok.USER, ()),
}
_START_SECONDS = 90
_MAX_OPEN_FILES = 65_536


class EmbeddedCluster:
    """A control plane that lives until ``stop`` or the end of this process, whichever comes first.

    ``kubeconfig`` is the administrator's. ``processes`` holds the running programs by name (``etcd``,
    ``kube-apiserver``, ``kube-controller-manager``, ``kube-scheduler``, ``kwok``): each can be killed, paused,
    resumed and started again. Use it as a context manager, or call ``start`` and ``stop``.
    """

    def __init__(self, options: ClusterOptions | None = None) -> None:
        self.options = options or ClusterOptions()
        self.processes: dict[str, Process] = {}
        self._ports: dict[str, ports.Port] = {}
        self._lock: IO[str] | None = None
        self._stopped = True

    def start(self) -> Self:
        """Start everything and wait until a pod could be created; raises ``ProcessError``, ``BuildError``.

        After a failure nothing is left running.
        """
        self._stopped = False
        atexit.register(self.stop)
        try:
            self._prepare()
            self._start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End every process and remove the data; may be called again."""
        if self._stopped:
            return
        self._stopped = True
        atexit.unregister(self.stop)
        kill_all(self.processes.values())
        for port in self._ports.values():
            port.release()
        if self._lock is not None:
            shutil.rmtree(self.root, ignore_errors=True)
            self._lock.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where this machine reaches the API server."""
        return self.layout.api_url

    @property
    def advertised_url(self) -> str:
        """Where pods and kubelets reach the API server."""
        address = self.options.advertise_address or LOOPBACK
        return f"https://{address}:{self.layout.ports['kube-apiserver']}"

    @property
    def ca(self) -> Path:
        """The PEM certificate of the authority that signs everything here."""
        return self.layout.ca.cert

    @property
    def kubeconfig(self) -> Path:
        return self.layout.kubeconfig("admin")

    def client_kubeconfig(self, name: str, common_name: str, groups: tuple[str, ...] = ()) -> Path:
        """Write a kubeconfig for a user with a client certificate (a kubelet, kube-proxy, a person)."""
        user = kubeconfig.certificate_user(self.pki.client(name, common_name, groups))
        return kubeconfig.write(self.layout.kubeconfig(name), self.advertised_url, self.ca, user)

    def service_account_kubeconfig(self, namespace: str, name: str, seconds: int = 3600) -> Path:
        """Write a kubeconfig for an existing service account, with a token that is valid for ``seconds``.

        Raises ``ApiError`` when there is no such account.
        """
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.api.request("POST", path, {"spec": {"expirationSeconds": seconds}})
        user = kubeconfig.token_user(answer["status"]["token"])
        file = self.layout.kubeconfig(f"serviceaccount-{namespace}-{name}")
        return kubeconfig.write(file, self.url, self.ca, user, namespace)

    def kill(self, component: str) -> None:
        """End one program without warning; ``self.processes[component].start()`` brings it back."""
        self.processes[component].kill()

    def pause(self, component: str) -> None:
        """Stop one program in its tracks until ``resume``."""
        self.processes[component].pause()

    def resume(self, component: str) -> None:
        self.processes[component].resume()

    def bring_back(self, component: str) -> None:
        """Start the API server or etcd again on its port; returns when the API server is ready.

        kwok is told to do again what it could not write while they were away: a kubelet does so by itself.
        """
        _until(lambda: ports.is_free(self.layout.ports[component]), f"the port of {component} to be free")
        self.processes[component].start()
        self.processes[component].wait_ready(self.api.healthy, _START_SECONDS)
        if "kwok" in self.processes:
            _until(lambda: kwok.remind(self.api), "pods to be changed")

    def restart_apiserver(self, grace_seconds: float = 1) -> None:
        """Stop the API server and start it on the same port; returns when it is ready again."""
        self.processes["kube-apiserver"].stop(grace_seconds)
        self.bring_back("kube-apiserver")

    def _prepare(self) -> None:
        _remove_leftovers()
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = _hold(self.root)
        self._ports = {name: ports.reserve() for name in _LISTENERS}
        # The one place where a cluster reads the calendar: certificates begin to be valid now.
        self.pki = Pki(self.root / "pki", datetime.now(UTC))  # noqa: TID251  (an edge of the program)
        self.layout = self._lay_out()
        admin = self._write_kubeconfigs()
        self.api = Api(self.url, self.ca, admin)
        (self.root / "kube-scheduler.json").write_text(
            components.scheduler_configuration(self.layout, self.options)
        )

    def _lay_out(self) -> Layout:
        hosts = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        hosts += ["kubernetes.default.svc.cluster.local", LOOPBACK, self.options.kubernetes_service_ip]
        hosts += [self.options.advertise_address] if self.options.advertise_address else []
        return Layout(
            root=self.root,
            ports={name: port.number for name, port in self._ports.items()},
            ca=self.pki.ca,
            server=self.pki.server("server", hosts),
            etcd_client=self.pki.client("etcd-client", "kube-apiserver"),
            kubelet_client=self.pki.client("kubelet-client", "kube-apiserver", ("system:masters",)),
            service_accounts=self.pki.signing_key("service-accounts"),
        )

    def _write_kubeconfigs(self) -> KeyPair:
        (self.root / "kubeconfig").mkdir()
        pairs = {name: self.pki.client(name, user, groups) for name, (user, groups) in _USERS.items()}
        for name, pair in pairs.items():
            user = kubeconfig.certificate_user(pair)
            kubeconfig.write(self.layout.kubeconfig(name), self.url, self.ca, user)
        return pairs["admin"]

    def _start_all(self) -> None:
        layout, options = self.layout, self.options
        etcd = Api(layout.etcd_url, self.ca, layout.etcd_client)
        self._run("etcd", components.etcd(layout))
        server = self._run("kube-apiserver", components.apiserver(layout, options))
        self.processes["etcd"].wait_ready(lambda: etcd.healthy("/health"), _START_SECONDS)
        server.wait_ready(self.api.healthy, _START_SECONDS)
        self._run("kube-controller-manager", components.controller_manager(layout, options))
        self._run("kube-scheduler", components.scheduler(layout, options))
        if options.with_kwok:
            kwok.grant(self.api)
            (self.root / "kwok.yaml").write_text(kwok.configuration())
            self._run("kwok", kwok.arguments(layout))
        self._wait_serving("kube-controller-manager", "/healthz")
        self._wait_serving("kube-scheduler", "/readyz")
        # A pod is refused until its service account is there, which the controller manager makes.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.processes["kube-controller-manager"].wait_ready(
            lambda: self.api.healthy(account), _START_SECONDS
        )

    def _wait_serving(self, name: str, path: str) -> None:
        api = Api(f"https://{LOOPBACK}:{self.layout.ports[name]}", self.ca, self.api.client)
        self.processes[name].wait_ready(lambda: api.healthy(path), _START_SECONDS)

    def _run(self, name: str, arguments: list[str]) -> Process:
        # kwok and kubectl read files in the home directory; these must not be the user's.
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.root), "TMPDIR": str(self.root)}
        argv = [str(build.binary(name)), *arguments]
        process = Process(name, argv, self.root / "logs" / f"{name}.log", environment)
        self.processes[name] = process
        process.start()
        return process


def _hold(root: Path) -> IO[str]:
    lock = (root / "owner.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _remove_leftovers() -> None:
    for root in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (root / "owner.lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(root, ignore_errors=True)


def _until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.05)
