"""Launchers' polls at a real ingest, judged by an operator that mirrors the cluster, with tokens of real pods."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drumline.api.catalog import Catalog
from drumline.api.orders import Orders, ProcessState
from drumline.core.training.observation import Settings
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.crews import Crews
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.kube import connect
from drumline.runtime.workqueue import WorkQueue
from drumline.worker.install import install as install_launcher
from e2e.cluster.provider import Cluster
from tests.integration.admission import install
from tests.integration.ingest import IngestLab, ingest_lab
from tests.integration.polls import AT_ONCE, Gang, Poll, Worker

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

MANY = 1000
WATCHED_SECONDS = 5.0


@pytest.fixture(scope="module", autouse=True)
def _crd(cluster: Cluster) -> None:
    install(cluster)


class Site:
    """The ingest's process; the operator's part is here, and mirrors the cluster."""

    def __init__(self, lab: IngestLab, controller: Controller) -> None:
        self.lab = lab
        self.controller = controller
        self.crews = Crews(controller.world, lambda _key, *, urgent: self.woken.update([urgent]), time.time)  # noqa: TID251
        self.woken: Counter[bool] = Counter()
        self.heard = 0
        lab.bus.attend(self.crews)
        counted = self.crews.hear

        def hear(*arguments: Any) -> Any:
            self.heard += 1
            return counted(*arguments)

        lab.bus._hear = hear

    async def gang(self, name: str, size: int = 2) -> Gang:
        made = Gang(self.lab, self.controller, name)
        await made.make(size)
        return made

    async def has(self, gang: Gang, state: str, count: int, epoch: int = 0) -> None:
        """Until so many processes are known to be in that state."""
        wanted = (ProcessState(state), epoch)
        async with asyncio.timeout(60):
            while [(p.state, p.epoch) for p in self.crews.of(gang.uid, 1).values()].count(wanted) != count:
                await asyncio.sleep(0.01)


@pytest.fixture
async def site(cluster: Cluster, namespace: str, tmp_path: Path) -> AsyncIterator[Site]:
    clocks = Clocks(time.time, time.monotonic)  # noqa: TID251 - a real operator's
    async with (
        await connect(str(cluster.kubeconfig)) as client,
        ingest_lab(cluster, client, namespace, tmp_path) as lab,
    ):
        controller = mirroring(client, clocks)
        await controller.mirror()
        yield Site(lab, controller)
        await controller.stop()


def mirroring(client: Client, clocks: Clocks) -> Controller:
    return Controller(client, WorkQueue(), Catalogue(Catalog.default()), Settings(), clocks)


async def test_a_muster_is_judged_held_and_answered(site: Site) -> None:
    gang = await site.gang("llama")
    first, second = (Poll(gang, worker) for worker in gang.workers)
    await first.ask(worker=1)
    await second.ask(worker=1)
    await site.has(gang, "Running", 2)
    assert sorted(site.crews.of(gang.uid, 1)) == [0, 1], "labels say which is which"
    orders = Orders(epoch=1, go=False, grace_seconds=2.5)
    site.crews.tell(gang.uid, 1, orders)
    for poll in (first, second):
        status, body = await poll.answer()
        assert (status, Orders.model_validate(body)) == (200, orders)
        await poll.ask(state="Held", epoch=1, digest=body["digest"])
    await site.has(gang, "Held", 2, epoch=1)
    await first.ask(state="Ended", epoch=1, exitCode=3, digest=orders.digest)
    assert (await first.answer())[1]["digest"] == orders.digest, "what is said meanwhile ends the wait"
    await site.has(gang, "Ended", 1, epoch=1)
    await gang.write(
        attempts=[{"attempt": 1, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z"}]
    )
    async with asyncio.timeout(90):
        while site.crews.of(gang.uid, 1):
            record = site.controller.world.jobs.store.get(site.lab.namespace, gang.name)
            assert record is not None
            site.crews.follow(record)
            await asyncio.sleep(0.05)
    for poll in (first, second):
        assert await poll.answer() == (409, {"error": "this attempt is over"})
        poll.hang_up()


async def test_who_is_not_the_pod_it_says(site: Site) -> None:
    mine, other = await site.gang("mine"), await site.gang("other", 1)
    thief = Poll(mine, other.workers[0])
    await thief.ask()
    assert (await thief.answer())[0] == 403
    bad = Poll(mine, Worker(0, "x", "x", "not-a-token"))
    await bad.ask()
    assert (await bad.answer())[0] == 401
    assert site.crews.of(mine.uid, 1) == {}
    for poll in (thief, bad):
        poll.hang_up()


async def test_another_leader_learns_all_from_the_next_musters(site: Site) -> None:
    gang = await site.gang("llama")
    polls = [Poll(gang, worker) for worker in gang.workers]
    for poll in polls:
        await poll.ask(state="Held", epoch=2)
    await site.has(gang, "Held", 2, epoch=2)
    site.lab.bus.ignore()
    await site.lab.bus.stop()
    for poll in polls:
        assert (await poll.answer())[0] == 503
    await site.lab.bus.start()
    site.crews = Crews(site.controller.world, lambda _key, *, urgent: None, time.time)  # noqa: TID251
    site.lab.bus.attend(site.crews)
    site.crews.tell(gang.uid, 1, Orders(epoch=2, go=False))
    async with asyncio.timeout(90):
        for poll in polls:
            status = 503
            while status == 503:
                await poll.ask(state="Held", epoch=2)
                status, body = await poll.answer()
                await asyncio.sleep(0.1)
            assert (status, body["epoch"]) == (200, 2)
            poll.hang_up()
    await site.has(gang, "Held", 2, epoch=2)


async def test_an_ingest_that_stops_lets_go_of_who_waits(site: Site) -> None:
    gang = await site.gang("llama", 1)
    poll = Poll(gang, gang.workers[0])
    await poll.ask()
    await site.has(gang, "Running", 1)
    assert site.lab.process is not None
    began = time.monotonic()
    site.lab.process.terminate()
    assert (await poll.answer())[0] == 503
    await site.lab.process.wait()
    assert time.monotonic() - began < 20.0, "a poll is held for longer"


async def test_a_launcher_restarts_its_process_in_place(site: Site, tmp_path: Path) -> None:
    gang = await site.gang("llama", 1)
    site.crews.tell(gang.uid, 1, Orders())
    (tmp_path / "token").write_text(gang.workers[0].token)
    bundle = await site.lab.client.request(
        "GET", resource_path("configmaps", site.lab.namespace, "drumline-ca")
    )
    (tmp_path / "ca.crt").write_text(bundle["data"]["ca.crt"])
    environ = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(tmp_path),
        "DRUMLINE_JOB": gang.name,
        "DRUMLINE_JOB_NAMESPACE": site.lab.namespace,
        "DRUMLINE_JOB_UID": gang.uid,
        "DRUMLINE_ATTEMPT": "1",
        "DRUMLINE_REPORTER": "none",
        # no name leads here: the certificate is the Service's
        "DRUMLINE_REPORT_URL": f"https://{site.lab.host}:{site.lab.port}/v1/report",
        "DRUMLINE_REPORT_TOKEN_FILE": str(tmp_path / "token"),
        "DRUMLINE_REPORT_CA_FILE": str(tmp_path / "ca.crt"),
        "DRUMLINE_TERMINATION_LOG": str(tmp_path / "none"),
        "DRUMLINE_BARRIER": "1",
    }
    program = "import os; e = os.environ.get('DRUMLINE_EPOCH', '0'); print('epoch', e); raise SystemExit(0 if e == '1' else 3)"
    launcher = install_launcher(tmp_path)
    resolve = f"""
import runpy, socket, sys
found = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: found("127.0.0.1", *rest, **more)
sys.argv = ["launcher", "--", sys.executable, "-c", {program!r}]
runpy.run_path({str(launcher)!r}, run_name="__main__")
"""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", resolve, env=environ, stdout=pipe, stderr=pipe
    )
    try:
        await site.has(gang, "Ended", 1)
        ended = site.crews.of(gang.uid, 1)[0]
        assert (ended.exit_code, ended.text) == (3, "exit code 3\nepoch 0")
        site.crews.tell(gang.uid, 1, Orders(epoch=1, go=False))
        await site.has(gang, "Held", 1, epoch=1)
        site.crews.tell(gang.uid, 1, Orders(epoch=1))
        output, errors = await asyncio.wait_for(process.communicate(), 90)
        assert (process.returncode, output) == (0, b"epoch 0\nepoch 1\n"), errors
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def test_a_thousand_held_polls_cost_the_operator_nothing(site: Site) -> None:
    gang = await site.gang("wide", MANY)
    assert site.lab.process is not None
    pid = site.lab.process.pid
    idle = _memory(pid)
    polls = [Poll(gang, worker) for worker in gang.workers]
    for start in range(0, MANY, AT_ONCE):
        await asyncio.gather(*(poll.ask() for poll in polls[start : start + AT_ONCE]))
    await site.has(gang, "Running", MANY)
    heard, cpu, began = site.heard, _cpu(pid), time.monotonic()
    memory = _memory(pid)
    await asyncio.sleep(WATCHED_SECONDS)
    spent = (_cpu(pid) - cpu) / (time.monotonic() - began)
    assert site.heard == heard == MANY, "what is held says nothing"
    began = time.monotonic()
    site.crews.tell(gang.uid, 1, Orders(epoch=1, go=False))
    await asyncio.gather(*(poll.told(1) for poll in polls))
    took = time.monotonic() - began
    digest = Orders(epoch=1, go=False).digest
    cpu = _cpu(pid)
    await asyncio.gather(*(poll.ask(digest=digest) for poll in polls))
    site.crews.tell(gang.uid, 1, Orders(epoch=2))
    await asyncio.gather(*(poll.told(2) for poll in polls))
    asked = (_cpu(pid) - cpu) / MANY
    assert site.heard == MANY, "the same again is not worth hearing"
    print(
        f"\n{MANY} held polls: {(memory - idle) / MANY / 1024:.0f} KiB each, {spent * 100:.1f} % of a core while held, "
        f"{took:.2f} s to answer all, {asked * 1e3:.2f} ms of processor for a poll"
    )
    assert (memory - idle) / MANY < 256 * 1024
    assert spent < 0.2
    for poll in polls:
        poll.hang_up()
    assert site.lab.process.returncode is None


def _memory(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) * 1024


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
