"""The stage runner: time limits, what is skipped, the table, and the exit status."""

import sys
from pathlib import Path

import pytest

from e2e import stages
from e2e.stages import Stage, run, run_all, table

ROOT = Path(__file__).parents[3]
_STUBBORN = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"


@pytest.fixture(autouse=True)
def _no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests run as a stage themselves, and its record is not theirs."""
    monkeypatch.delenv("DRUMLINE_STAGES", raising=False)


def _python(name: str, code: str, limit: float = 30, **more: str) -> Stage:
    return Stage(name, (sys.executable, "-c", code), limit, **more)


def test_outcomes() -> None:
    assert run(_python("good", "pass")).outcome == "ok"
    assert run(_python("bad", "raise SystemExit(3)")).outcome == "failed: exit code 3"


@pytest.mark.parametrize("code", ["import time; time.sleep(60)", _STUBBORN])
def test_a_stage_is_stopped_at_its_limit(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_GRACE_SECONDS", 0.2)
    result = run(_python("slow", code, limit=0.3))
    assert result.outcome == "stopped: over its limit of 0.3 s"
    assert result.seconds < 50
    assert not result.good


def test_what_needs_a_failed_stage_is_skipped_and_the_rest_runs() -> None:
    results = run_all(
        [
            _python("build", "raise SystemExit(1)"),
            _python("unit", "pass"),
            _python("cluster", "raise AssertionError", needs="build"),
        ]
    )
    assert [result.outcome for result in results] == ["failed: exit code 1", "ok", "skipped: build failed"]
    assert [result.good for result in results] == [False, True, False]


def test_a_stage_that_cannot_run_here_names_the_reason_and_fails_nothing() -> None:
    (result,) = run_all([_python("real", "raise AssertionError", unless="needs root on Linux")])
    assert result.outcome == "skipped: needs root on Linux"
    assert result.good


def test_results_of_several_runs_make_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "stages"
    monkeypatch.setenv("DRUMLINE_STAGES", str(record))
    monkeypatch.setitem(stages.LISTS, "verify", lambda: [_python("first", "pass")])
    monkeypatch.setitem(stages.LISTS, "test", lambda: [_python("second", "raise SystemExit(1)")])
    assert stages.main(["verify"]) == 0
    assert stages.main(["test"]) == 1
    capsys.readouterr()
    assert stages.main(["table", str(record)]) == 1
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split()[0] for line in lines] == ["stage", "first", "second", "all"]
    assert lines[2].endswith("failed: exit code 1")


def test_no_stage_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert stages.main(["table", str(tmp_path / "empty")]) == 1
    assert stages.main(["unknown"]) == 2


def test_the_table_adds_up() -> None:
    results = [stages.Result("a", "ok", 1.25, 5), stages.Result("b", "ok", 2.5, 5)]
    assert table(results).splitlines()[-1].split() == ["all", "3.8"]


def test_what_needs_a_control_plane_alone_is_built_and_run() -> None:
    build, *rest = stages.on_control_plane()
    assert build.command[-2:] == ("e2e.cluster.build", "control-plane")
    assert [stage.name for stage in rest] == [
        stage.name
        for stage in stages.tests()
        if stage.name == "control plane" or stage.name.endswith(" on it")
    ]


def test_the_files_that_stages_name_exist() -> None:
    words = [word.removeprefix("--ignore=") for stage in stages.tests() for word in stage.command]
    files = [word for word in words if word.endswith(".py") and "/" in word]
    assert files
    assert [name for name in files if not (ROOT / name).exists()] == []
