"""What the launcher reports, over TLS, while a command runs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from drumline.api.report import Report
from drumline.worker.install import install
from e2e.cluster.pki import Pki

from .conftest import ENVIRONMENT, Ingest

MAXTEXT = "completed step: {}, seconds: 0.010, TFLOP/s/device: 1.0, total_weights: 3, loss: 9.5"


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("launcher"))


class Worker:
    """Runs a Python program behind the launcher, in a pod's environment."""

    def __init__(self, launcher: Path, environ: dict[str, str]) -> None:
        self._launcher = launcher
        self.environ = environ
        self.error = ""

    async def run(self, program: str) -> int:
        command = [sys.executable, str(self._launcher), "--", sys.executable, "-c", program]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, env=self.environ, stdout=pipe, stderr=pipe)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
        self.error = errors.decode()
        assert process.returncode is not None
        return process.returncode


@pytest.fixture
def worker(launcher: Path, ingest: Ingest, pki: Pki, token: Path, tmp_path: Path) -> Worker:
    environ = {
        **ENVIRONMENT,
        "PATH": os.environ["PATH"],
        "TMPDIR": str(tmp_path),
        "DRUMLINE_REPORT_URL": ingest.url,
        "DRUMLINE_REPORT_TOKEN_FILE": str(token),
        "DRUMLINE_REPORT_CA_FILE": str(pki.ca.cert),
        "DRUMLINE_TERMINATION_LOG": str(tmp_path / "none"),
    }
    return Worker(launcher, environ)


def _steps(report: Report) -> list[int]:
    return [span.step for span in report.spans if span.kind == "step"]


async def test_progress_is_read_from_the_output(worker: Worker, ingest: Ingest) -> None:
    lines = [MAXTEXT.format(5), MAXTEXT.format(6), "Saved a checkpoint at step 6."]
    assert await worker.run(f"import sys; print({chr(10).join(lines)!r}); sys.exit(7)") == 7
    last = ingest.reports[-1]
    assert (last.source, last.final, last.attempt) == ("launcher", True, 3)
    assert _steps(last) == [5, 6]
    assert [c.step for c in last.commits] == [6]
    assert last.exit.splitlines() == ["exit code 7", *lines]


async def test_the_users_pattern_is_read(worker: Worker, ingest: Ingest) -> None:
    progress = {"source": "launcher", "pattern": r"STEP (?P<step>\d+) (?P<tokens>\d+)"}
    worker.environ["DRUMLINE_PROGRESS"] = json.dumps(progress)
    await worker.run("print('STEP 1 100'); print('STEP 2 100')")
    spans = ingest.reports[-1].spans
    assert [(s.step, s.tokens) for s in spans] == [(1, 100), (2, 100)]


@pytest.mark.parametrize("progress", ['{"pattern":"("}', '{"preset":"fortran"}', '{"pattern":5}', "nonsense"])
async def test_odd_settings_do_not_reach_the_command(worker: Worker, ingest: Ingest, progress: str) -> None:
    worker.environ["DRUMLINE_PROGRESS"] = progress
    assert await worker.run("raise SystemExit(6)") == 6
    assert ingest.reports[-1].exit == "exit code 6"


async def test_a_program_that_reports_by_itself_is_not_reported_twice(worker: Worker, ingest: Ingest) -> None:
    program = f"""
from drumline import worker
worker.report_step(5, tokens=7)
print({MAXTEXT.format(5)!r})
worker.checkpoint_committed(5)
"""
    assert await worker.run(program) == 0
    assert worker.error == ""
    by_source = {report.source.value: report for report in ingest.reports}
    assert [s.tokens for s in by_source["report"].spans] == [7]
    assert [c.step for c in by_source["report"].commits] == [5]
    assert by_source["report"].final
    assert by_source["launcher"].spans == ()
    assert by_source["launcher"].exit.startswith("exit code 0")


async def test_it_says_at_once_that_it_runs(worker: Worker, ingest: Ingest) -> None:
    program = "import time\nwhile not os.path.exists(os.environ['HEARD']): time.sleep(0.01)"
    heard = Path(worker.environ["TMPDIR"]) / "heard"
    worker.environ["HEARD"] = str(heard)
    running = asyncio.create_task(worker.run(f"import os\n{program}"))
    async with asyncio.timeout(20):
        while not ingest.reports:
            await asyncio.sleep(0.01)
    hello = ingest.reports[0]
    heard.touch()
    assert await running == 0
    assert (hello.source, hello.spans, hello.final, hello.old_python) == ("launcher", (), False, "")


@pytest.mark.parametrize(
    "changes", [{"DRUMLINE_WORKER": "1", "DRUMLINE_WORKERS_PER_SLICE": "4"}, {"DRUMLINE_REPORT_URL": ""}]
)
async def test_others_report_nothing(worker: Worker, ingest: Ingest, changes: dict[str, str]) -> None:
    worker.environ.update(changes)
    assert await worker.run(f"print({MAXTEXT.format(5)!r}); raise SystemExit(2)") == 2
    assert worker.error == ""
    assert ingest.reports == []


async def test_steps_that_the_last_rank_prints_are_reported_from_there(
    worker: Worker, ingest: Ingest
) -> None:
    worker.environ.update(DRUMLINE_WORKER="3", DRUMLINE_WORKERS_PER_SLICE="4")
    line = " [2026-11-20 11:02:13.1] iteration {:8d}/ 500 | consumed samples: 1 | lm loss: 1.0E+00 |"
    await worker.run(f"print({(line.format(1) + chr(10) + line.format(2) + chr(10) + line.format(3))!r})")
    last = ingest.reports[-1]
    assert (last.worker, last.final) == (3, True)
    assert _steps(last) == [2, 3]  # the second line told whose they are


async def test_without_an_answer_the_command_ends_as_it_would(worker: Worker) -> None:
    worker.environ["DRUMLINE_REPORT_URL"] = "https://127.0.0.1:1/v1/report"
    assert await worker.run("raise SystemExit(5)") == 5
    assert worker.error.startswith("drumline: no answer from the operator: ConnectionRefusedError")
    assert worker.error.count("\n") == 1


async def test_pushes_for_kubeflow_are_reported_when_asked_for(worker: Worker, ingest: Ingest) -> None:
    program = """
import json, os, urllib.request
token = open(os.environ["KUBEFLOW_TRAINER_SERVER_TOKEN"]).read()
for step in (10, 20, 20):
    metrics = [{"name": "current_step", "value": str(step)}]
    body = json.dumps({"trainerStatus": {"metrics": metrics}}).encode()
    headers = {"Authorization": "Bearer " + token}
    urllib.request.urlopen(urllib.request.Request(os.environ["KUBEFLOW_TRAINER_SERVER_URL"], body, headers)).read()
"""
    assert await worker.run(program) != 0  # not asked for: there is no such variable
    worker.environ["DRUMLINE_KUBEFLOW"] = "1"
    assert await worker.run(program) == 0
    assert [(s.step, s.count) for s in ingest.reports[-1].spans] == [(10, 1), (20, 10)]
