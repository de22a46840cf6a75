"""The builder: what decides a program's place, what is skipped, and what happens when it goes wrong.

A shell script on ``PATH`` plays the Go toolchain: it logs its arguments and writes what ``-o`` names.
"""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster import build
from e2e.cluster.build import CONTROL_PLANE, REAL_NODE, BuildError, Tool

_GO = """#!/bin/sh
echo "$CGO_ENABLED $GOFLAGS $*" >> "$FAKE_LOG"
while [ "$1" != "-o" ]; do shift; done
[ -n "$FAKE_FAIL" ] && { echo "cannot find module" >&2; exit 1; }
sleep "${FAKE_SECONDS:-0}"
echo "built $3" > "$2"
"""
_TWICE = """
import sys
from e2e.cluster import build
print(build.binary("etcd").read_text().strip())
"""
ETCD, RUNC = CONTROL_PLANE[0], next(tool for tool in REAL_NODE if tool.cgo)


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = tmp_path / "programs"
    programs.mkdir()
    _script(programs / "go", _GO)
    _script(programs / "gcc", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("DRUMLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "go.log"))
    monkeypatch.delenv("DRUMLINE_KUBERNETES", raising=False)
    return tmp_path / "go.log"


def _calls(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def _copy_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    modules = tmp_path / "modules"
    for name in ("etcd", "kubernetes"):
        (modules / name).mkdir(parents=True)
        (modules / name / "go.mod").write_text(f"module {name}\nrequire k8s.io/kubernetes v1.36.3\n")
        (modules / name / "go.sum").write_text("")
    monkeypatch.setattr(build, "_MODULES", modules)
    return modules


@pytest.mark.parametrize("file", ["go.mod", "go.sum"])
def test_a_changed_pin_changes_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    modules = _copy_modules(tmp_path, monkeypatch)
    before = build.path_of(ETCD)
    assert build.path_of(ETCD) == before
    pin = modules / "etcd" / file
    pin.write_text(pin.read_text() + "// another version\n")
    assert build.path_of(ETCD) != before
    assert build.path_of(ETCD).name == "etcd"


def test_flags_are_part_of_the_place() -> None:
    keys = {build.key(Tool("etcd", "etcd", "p", tags, cgo)) for tags in ("", "x") for cgo in (False, True)}
    assert len(keys) == 4


def test_the_cache_is_outside_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRUMLINE_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    assert build.cache_dir() == Path("/home/ada/.cache/drumline")


def test_what_is_missing_is_built_and_nothing_else(log: Path) -> None:
    path = build.binary("etcd")
    assert path.read_text() == "built go.etcd.io/etcd/server/v3\n"
    assert build.binary("etcd") == path
    build.build(CONTROL_PLANE[:2])
    assert len(_calls(log)) == 2
    assert _calls(log)[0].startswith("0 -trimpath -buildvcs=false -mod=readonly build -ldflags")
    assert "gitVersion=v1.36." in _calls(log)[1]


def test_another_kubernetes_has_places_of_its_own_and_shares_the_rest(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = {tool.name: build.path_of(tool) for tool in build.GROUPS["all"]}
    monkeypatch.setenv("DRUMLINE_KUBERNETES", "1.36")
    assert {tool.name: build.path_of(tool) for tool in build.GROUPS["all"]} == usual
    monkeypatch.setenv("DRUMLINE_KUBERNETES", "1.37")
    other = {tool.name: build.path_of(tool) for tool in build.GROUPS["all"]}
    own = {tool.name for tool in build.GROUPS["all"] if tool.module == "kubernetes"}
    assert {name for name, path in other.items() if path != usual[name]} == own
    build.binary("kubectl")
    assert "gitVersion=v1.37." in _calls(log)[0]


def test_a_kubernetes_that_is_not_pinned_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRUMLINE_KUBERNETES", "1.20")
    with pytest.raises(BuildError, match=r"^DRUMLINE_KUBERNETES=1\.20 is none of 1\.36, 1\.37$"):
        build.path_of(CONTROL_PLANE[1])


def test_only_runc_is_linked_with_c(log: Path) -> None:
    build.build([ETCD, RUNC])
    assert [call.split()[0] for call in _calls(log)] == ["0", "1"]


def test_a_failed_build_leaves_nothing_and_shows_why(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "1")
    with pytest.raises(BuildError, match=r"(?s)etcd: .*exit code 1.*cannot find module"):
        build.binary("etcd")
    assert list(build.path_of(ETCD).parent.iterdir()) == []
    monkeypatch.delenv("FAKE_FAIL")
    assert build.binary("etcd").exists()


def test_an_interrupted_run_goes_on_where_it_stopped(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build.build(CONTROL_PLANE[:1])
    leftover = build.path_of(CONTROL_PLANE[1]).with_name(".kube-apiserver.1")
    leftover.parent.mkdir(parents=True)
    leftover.write_text("half a program")
    capsys.readouterr()
    build.build(CONTROL_PLANE[:3])
    said = capsys.readouterr().err
    assert "[1/2] kube-apiserver" in said
    assert "[2/2] kube-scheduler" in said
    assert "etcd" not in said


def test_two_runs_at_once_build_a_program_once(log: Path, repository: Path) -> None:
    environment = {**os.environ, "FAKE_SECONDS": "0.3"}
    command = [sys.executable, "-c", _TWICE]
    runs = [
        subprocess.Popen(command, cwd=repository, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [run.communicate()[0].strip() for run in runs] == ["built go.etcd.io/etcd/server/v3"] * 2
    assert len(_calls(log)) == 1


def test_a_run_waits_for_the_lock_of_another(log: Path, repository: Path, tmp_path: Path) -> None:
    lock = tmp_path / "cache" / "locks" / f"etcd-{build.key(ETCD)}"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run = subprocess.Popen(
            [sys.executable, "-c", _TWICE],
            cwd=repository,
            env=dict(os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert run.stderr is not None
        assert run.stderr.readline() == "etcd: another run builds it; waiting\n"
        assert _calls(log) == []
    run.communicate()
    assert len(_calls(log)) == 1


def test_without_go_the_message_says_where_to_get_it(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(
        BuildError, match=r"Go toolchain, 1\.26 or newer, .* etcd: install it from https://go\.dev/dl"
    ):
        build.binary("etcd")


def test_without_gcc_only_what_needs_it_is_refused(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = os.environ["PATH"].split(":")[0]
    (Path(programs) / "gcc").unlink()
    (Path(programs) / "sleep").symlink_to("/bin/sleep")
    monkeypatch.setenv("PATH", programs)
    assert build.binary("etcd").exists()
    with pytest.raises(BuildError, match=r"C compiler is needed to build runc: install gcc"):
        build.binary("runc")


def test_the_command_line_reports_the_error(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build.main(["control-plane"]) == 0
    assert f"all {len(CONTROL_PLANE)} programs are in" in capsys.readouterr().err
    monkeypatch.setenv("FAKE_FAIL", "1")
    assert build.main(["all"]) == 1
    assert "error: kubelet:" in capsys.readouterr().err
