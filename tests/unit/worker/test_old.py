"""A Python that is too old says so before the command takes its place, and never holds the command up for long."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiohttp import web

from drumline.worker.install import install
from e2e.cluster.pki import Pki

from .conftest import ENVIRONMENT, Ingest

OLD = ("python2.7", "python3.6", "python3.8")
MOST_SECONDS = 45.0  # the limit of old.py, and what a busy machine needs to start two programs


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("launcher"))


@pytest.fixture
def environ(ingest: Ingest, pki: Pki, token: Path) -> dict[str, str]:
    return {
        **ENVIRONMENT,
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "DRUMLINE_REPORT_URL": ingest.url,
        "DRUMLINE_REPORT_TOKEN_FILE": str(token),
        "DRUMLINE_REPORT_CA_FILE": str(pki.ca.cert),
    }


def found(name: str) -> str:
    """An old Python that works; what a version manager leaves on PATH may not."""
    path = shutil.which(name)
    if path is None or subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"no {name} on this machine")
    return path


async def ran(*command: str, environ: dict[str, str]) -> tuple[str, str]:
    """What a command that succeeds prints."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=pipe, stderr=pipe)
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, errors.decode()
    return output.decode(), errors.decode()


async def told(launcher: Path, environ: dict[str, str]) -> str:
    """What this Python prints when it takes itself for an old one."""
    words = f"import sys; sys.path.insert(0, {str(launcher)!r}); import drumline_old; print('goes on')"
    return (await ran(sys.executable, "-c", words, environ=environ))[0]


async def test_the_operator_learns_of_the_version(
    launcher: Path, environ: dict[str, str], ingest: Ingest
) -> None:
    assert await told(launcher, environ) == "goes on\n"
    (report,) = ingest.reports
    assert report.old_python == ".".join(map(str, sys.version_info[:3]))
    assert (report.source, report.job.uid, report.attempt) == ("launcher", "0a1b", 3)
    assert (report.spans, report.commits, report.final) == ((), (), False)


async def test_it_asks_again_where_a_replica_does_not_lead(
    launcher: Path, environ: dict[str, str], ingest: Ingest
) -> None:
    ingest.answers = [web.Response(status=503), web.Response(status=503)]
    await told(launcher, environ)
    assert len(ingest.reports) == 3


@pytest.mark.parametrize("status", [400, 409])
async def test_another_no_is_taken(
    launcher: Path, environ: dict[str, str], ingest: Ingest, status: int
) -> None:
    ingest.answers = [web.Response(status=status)]
    await told(launcher, environ)
    assert len(ingest.reports) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"DRUMLINE_REPORTER": "none"},
        {"DRUMLINE_SLICE": "1"},
        {"DRUMLINE_WORKER": "1"},
        {"DRUMLINE_HELPER": "eval"},
        {"DRUMLINE_REPORT_URL": ""},
        {"DRUMLINE_REPORT_TOKEN_FILE": "/nowhere"},
        {"DRUMLINE_ATTEMPT": "none"},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_others_say_nothing(
    launcher: Path, environ: dict[str, str], ingest: Ingest, changes: dict[str, str]
) -> None:
    assert await told(launcher, {**environ, **changes}) == "goes on\n"
    assert ingest.reports == []


async def test_an_operator_that_never_answers_holds_nobody_up(
    launcher: Path, environ: dict[str, str], ingest: Ingest
) -> None:
    began = time.monotonic()
    assert await told(
        launcher, {**environ, "DRUMLINE_REPORT_URL": ingest.url.replace("/v1/report", "/never")}
    )
    assert time.monotonic() - began < MOST_SECONDS


@pytest.mark.parametrize("name", OLD)
async def test_a_python_that_is_old_indeed(
    launcher: Path, environ: dict[str, str], ingest: Ingest, name: str
) -> None:
    there = found(name)
    # names of hosts are all that Python 2 looks for in a certificate
    environ["DRUMLINE_REPORT_URL"] = ingest.url.replace("127.0.0.1", "localhost")
    command = ["sh", "-c", "echo trains $0; exit 0", "--lr"]
    assert await ran(there, str(launcher), "--", *command, environ=environ) == ("trains --lr\n", "")
    (report,) = ingest.reports
    assert report.old_python.startswith(name.removeprefix("python") + ".")
