"""The operator's replicas: real processes, each behind a proxy of its own and with a clock of its own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.chaos.proxy import FaultProxy
from e2e.chaos.skewed import skew
from e2e.chaos.weather import Weather
from e2e.cluster import kubeconfig
from e2e.cluster.embedded import EmbeddedCluster
from e2e.cluster.operator import ROOT, operator_command
from e2e.cluster.process import spawn

# Short, so that a seed sees several leaders, and long enough for a machine that is busy.
LEASE = ("--lease-duration", "6", "--lease-renew-deadline", "4", "--lease-retry", "0.5")
OTHER = ("--shutdown-grace", "1", "--exclude", "60")
LAUNCHERS = ("--report-url", "https://reports.default.svc/v1/report", "--launcher-image", "drumline:chaos")
_TRACE = 4000  # characters kept of one
_RIGHTS = {
    "metadata": {"name": "chaos"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": "default"}],
}


@dataclass
class Replica:
    """One operator process."""

    process: subprocess.Popen[bytes]
    metrics_url: str
    proxy: FaultProxy
    clock: Path
    log: Path

    @property
    def alive(self) -> bool:
        """Whether it runs, be it paused."""
        return self.process.poll() is None

    def leads(self) -> bool:
        """Whether it says that it holds the lease."""
        try:
            with urllib.request.urlopen(self.metrics_url, timeout=1) as answer:
                return "drumline_leader 1.0" in answer.read().decode()
        except (urllib.error.URLError, OSError):
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal if it runs."""
        if self.alive:
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.signal(signal.SIGKILL)
        self.process.wait()


class Crew:
    """Two replicas; `tend` replaces those that have ended, as a Deployment does. Proxies stay with their places.

    So do the sockets on which they hear of processes, for those who ask on them.
    """

    def __init__(
        self, proxies: list[FaultProxy], configs: list[Path], folder: Path, flags: tuple[str, ...]
    ) -> None:
        self.sockets = [folder / f"reports-{place}.sock" for place in range(len(proxies))]
        self._proxies, self._configs, self._folder, self._flags = proxies, configs, folder, flags
        self._started = 0
        self.ended: list[Replica] = []
        self.replicas = [self._start(place) for place in range(len(proxies))]

    def leader(self) -> Replica | None:
        """The replica that holds the lease; None while none does, or it is paused."""
        return next((r for r in self.replicas if r.alive and r.leads()), None)

    def tend(self) -> None:
        """Start another in the place of each that has ended."""
        for place, replica in enumerate(self.replicas):
            if not replica.alive:
                self.ended.append(replica)
                self.replicas[place] = self._start(place)

    def stop(self) -> None:
        """End all of them at once."""
        for replica in self.replicas:
            replica.kill()

    def logs(self) -> str:
        """All that they have logged."""
        return "\n".join(r.log.read_text(errors="replace") for r in [*self.ended, *self.replicas])

    def tracebacks(self) -> list[str]:
        """Each error of their own that they have logged, oldest first for each replica, with what it was about."""
        found = []
        for replica in [*self.ended, *self.replicas]:
            before, *traces = replica.log.read_text(errors="replace").split("Traceback")
            for trace in traces:
                found.append(before[-300:] + trace[:_TRACE])
                before = trace
        return found

    def _start(self, place: int) -> Replica:
        self._started += 1
        log, clock = (self._folder / f"operator-{self._started}.{kind}" for kind in ("log", "clock"))
        skew(clock, 0.0)
        flags = (*self._flags, "--report-socket", str(self.sockets[place]), *LAUNCHERS)
        command, url = operator_command(self._configs[place], *flags)
        argv = [sys.executable, "-m", "e2e.chaos.skewed", str(clock), *command[2:]]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"}
        return Replica(spawn(argv, log, environment, ROOT), url, self._proxies[place], clock, log)


@asynccontextmanager
async def crew(
    cluster: EmbeddedCluster,
    folder: Path,
    weather: Weather,
    chance: random.Random,
    flags: tuple[str, ...] = (*LEASE, *OTHER),
) -> AsyncIterator[Crew]:
    """Two replicas, for as long as it is entered."""
    cluster.api.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", _RIGHTS)
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    answer = cluster.api.request("POST", path, {"spec": {"expirationSeconds": 36000}})
    user = kubeconfig.token_user(answer["status"]["token"])
    async with AsyncExitStack() as stack:
        proxies = [FaultProxy(cluster, weather=weather, chance=chance) for _ in range(2)]
        configs = []
        for number, proxy in enumerate(proxies):
            await stack.enter_async_context(proxy)
            file = folder / f"kubeconfig-{number}"
            configs.append(kubeconfig.write(file, proxy.url, cluster.ca, user))
        running = Crew(proxies, configs, folder, flags)
        stack.callback(running.stop)
        yield running
