"""A worker's container behind its launcher, and an operator that gives orders."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drumline.worker.install import install

from .conftest import ENVIRONMENT
from .operator_desk import WAIT_SECONDS, Desk, desk

FIRST = {"go": True}


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("launcher"))


@pytest.fixture
def operator() -> Iterator[Desk]:
    with desk() as made:
        yield made


class Pod:
    """A worker's container, whose programs write into a folder."""

    def __init__(self, launcher: Path, folder: Path, port: int) -> None:
        self._launcher = launcher
        self.folder = folder
        token = folder / "token"
        token.write_text("token")
        self.log = folder / "termination-log"
        self.log.touch()
        (folder / "tmp").mkdir()
        self.environ = {
            **ENVIRONMENT,
            "PATH": os.environ["PATH"],
            "TMPDIR": str(folder / "tmp"),
            "DRUMLINE_REPORTER": "none",
            "DRUMLINE_REPORT_URL": f"http://127.0.0.1:{port}/v1/report",
            "DRUMLINE_REPORT_TOKEN_FILE": str(token),
            "DRUMLINE_TERMINATION_LOG": str(self.log),
            "DRUMLINE_BARRIER": "1",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, program: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(self._launcher), "--", sys.executable, "-c", textwrap.dedent(program)]
        pipe = subprocess.PIPE
        made = subprocess.Popen(command, env=self.environ, cwd=self.folder, stdout=pipe, stderr=pipe)
        self.processes.append(made)
        return made

    def wait_for(self, name: str) -> str:
        """What a program wrote into that file."""
        path, deadline = self.folder / name, time.monotonic() + WAIT_SECONDS
        while not path.exists() or not path.read_text():
            assert time.monotonic() < deadline, name
            time.sleep(0.01)
        return path.read_text()


@pytest.fixture
def pod(launcher: Path, operator: Desk, tmp_path: Path) -> Iterator[Pod]:
    made = Pod(launcher, tmp_path, operator.port)
    yield made
    for process in made.processes:
        process.kill()
        process.communicate()


SLEEPER = """
import os, time
epoch = os.environ["DRUMLINE_EPOCH"]
open("running-" + epoch, "w").write(str(os.getpid()))
if epoch != "0":
    raise SystemExit(0)
time.sleep(60)
"""
