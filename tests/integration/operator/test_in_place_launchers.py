"""Real launchers with the environment of their pods, a real operator and a real ingest: processes restart in place."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from drumline.worker.install import install
from e2e.cluster.provider import Cluster
from tests.integration.operator.conftest import make_lab
from tests.integration.operator.lab import Lab, Manifest
from tests.integration.operator.test_in_place import Site, authority, identity_of, in_place, is_at, site

__all__ = ["site"]
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

WORKERS = 2
# rank 1 fails when it is told to; what runs next runs on, and has a child that does not want to end
PROGRAM = """
import os, pathlib, subprocess, sys, time
epoch, rank = os.environ["DRUMLINE_EPOCH"], os.environ["DRUMLINE_RANK"]
here = pathlib.Path.cwd()
child = subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 0.2; done"])
(here / f"ran-{epoch}-{rank}").write_text(f"{child.pid} {os.environ.get('PET_RDZV_ID')}")
while not (here / f"fail-{epoch}-{rank}").exists():
    time.sleep(0.01)
print("ValueError: nan", flush=True)
sys.exit(3)
"""
# nothing here resolves the Service's name, which the certificate is for
BOOT = """
import runpy, socket, sys
found = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: found("127.0.0.1", *rest, **more)
launcher, program = sys.argv[1:]
sys.argv = ["launcher", "--", sys.executable, "-c", program]
runpy.run_path(launcher, run_name="__main__")
"""


def environment(pod: Manifest, folder: Path) -> dict[str, str]:
    """The variables of the pod's first container, and files where its volumes would be."""
    given = {e["name"]: e["value"] for e in pod["spec"]["containers"][0]["env"] if "value" in e}
    return {
        **given,
        "PATH": os.environ["PATH"],
        "TMPDIR": str(folder),
        "DRUMLINE_REPORT_TOKEN_FILE": str(folder / f"token-{given['DRUMLINE_RANK']}"),
        "DRUMLINE_REPORT_CA_FILE": str(folder / "ca.crt"),
        "DRUMLINE_TERMINATION_LOG": str(folder / "none"),
    }


@asynccontextmanager
async def launched(lab: Lab, folder: Path) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """The launchers of all pods that are there, by rank."""
    (folder / "ca.crt").write_text(await authority(lab))
    launcher = install(folder)
    pods = sorted(await lab.pods(), key=lambda p: int(p["metadata"]["labels"]["drumline.dev/rank"]))
    processes = []
    try:
        for rank, pod in enumerate(pods):
            (folder / f"token-{rank}").write_text((await identity_of(lab, pod, rank)).token)
            command = [sys.executable, "-c", BOOT, str(launcher), PROGRAM]
            with (folder / f"log-{rank}").open("wb") as log:
                processes.append(
                    await asyncio.create_subprocess_exec(
                        *command, env=environment(pod, folder), cwd=folder, stdout=log, stderr=log
                    )
                )
        yield processes
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def ran(folder: Path, epoch: int) -> list[tuple[int, str]]:
    """(its child's pid, torch's rendezvous) of each process of that epoch, once all run."""
    files = [folder / f"ran-{epoch}-{rank}" for rank in range(WORKERS)]
    async with asyncio.timeout(60):
        while not all(file.exists() and file.read_text() for file in files):
            await asyncio.sleep(0.01)
    found = [file.read_text().split() for file in files]
    return [(int(pid), rendezvous) for pid, rendezvous in found]


async def test_a_gang_of_real_launchers(own_cluster: Cluster, site: Site, tmp_path: Path) -> None:
    async with make_lab(own_cluster) as lab:
        await lab.nodes(f"{WORKERS} hosts of h100 in blocks of {WORKERS}")
        job = in_place(lab, "real")
        job["spec"]["workersPerSlice"] = WORKERS
        await lab.apply(job)
        await lab.phase("real", "Running")
        async with launched(lab, tmp_path) as processes:
            first = await ran(tmp_path, 0)
            began = time.monotonic()
            (tmp_path / "fail-0-1").touch()
            second = await ran(tmp_path, 1)
            took = time.monotonic() - began
            found = await lab.until("real", is_at(1), "not whole at epoch 1")
            assert [p.returncode for p in processes] == [None] * WORKERS
            assert not [pid for pid, _ in first if _runs(pid)], "nothing of the epoch before is left"
            assert all(_runs(pid) for pid, _ in second)
        ended = found["status"]["attempts"][0]
        assert (ended["cause"], ended["rank"], ended["exitCode"]) == ("ApplicationExit", 1, 3)
        assert "ValueError: nan" in ended["lastLines"]
        assert {rendezvous for _, rendezvous in second} == {f"{first[0][1]}-1"}
        print(f"\n{WORKERS} real launchers: {took:.2f} s from the failure to the next epoch's processes")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
