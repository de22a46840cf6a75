"""Stacks of a running program, on request, without its doing anything for it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drumline.worker import stacks
from drumline.worker.install import install

SLEEPER = """
import os, sys, time
def a_place_of_its_own():
    print(os.getpid(), flush=True)
    time.sleep(60)
{before}
a_place_of_its_own()
"""


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("launcher"))


class Program:
    """A program behind the launcher."""

    def __init__(self, launcher: Path, folder: Path, *command: str, **environ: str) -> None:
        whole = [sys.executable, str(launcher), "--", *command]
        environ = {"PATH": os.environ["PATH"], "TMPDIR": str(folder), **environ}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(whole, env=environ, stdout=pipe, stderr=pipe)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def stacks(self, *needed: str) -> str:
        """Ask, and read stderr until all of that has come."""
        self.process.send_signal(signal.SIGQUIT)
        assert self.process.stderr is not None
        text = ""
        deadline = time.monotonic() + 20
        while not all(word in text for word in needed):
            assert select.select([self.process.stderr], [], [], deadline - time.monotonic())[0], text
            text += os.read(self.process.stderr.fileno(), 65536).decode()
        return text

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


def test_a_programs_stacks(launcher: Path, tmp_path: Path) -> None:
    program = Program(launcher, tmp_path, sys.executable, "-c", SLEEPER.format(before=""))
    pid = program.line()
    text = program.stacks("a_place_of_its_own", "<module>")
    assert text.startswith(f"drumline: stacks of process {pid}:\n")
    assert program.process.poll() is None
    program.end()


def test_descendants_answer_too_and_other_programs_survive(launcher: Path, tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(
        SLEEPER.format(before="if os.fork() == 0:\n    a_place_of_its_own()\nos.fork() or 1 / 1")
    )
    shell = f'sleep 60 & echo $!; "{sys.executable}" "{script}"; exit 3'
    program = Program(launcher, tmp_path, "sh", "-c", shell)
    sleeper = int(program.line())
    pids = {program.line() for _ in range(3)}
    text = program.stacks("process ", "a_place_of_its_own")
    assert sum(f"process {pid}:" in text for pid in pids) == 1  # forked children share their parent's file
    os.kill(sleeper, 0)
    for pid in (*pids, sleeper):
        os.kill(int(pid), signal.SIGTERM)
    program.process.communicate(timeout=20)
    assert program.process.returncode == 3


def test_where_there_is_no_python_it_says_so(launcher: Path, tmp_path: Path) -> None:
    program = Program(launcher, tmp_path, "sh", "-c", "echo ready; exec sleep 60")
    program.line()
    assert program.stacks("\n") == "drumline: no Python process answers with its stacks\n"
    program.end()


def test_the_programs_own_sitecustomize_is_run_as_ever(launcher: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import builtins; builtins.own = __file__")
    code = "import sitecustomize; print(own == sitecustomize.__file__, any('hooks' in p for p in sys.path), flush=True)"
    command = SLEEPER.format(before=code)
    program = Program(launcher, tmp_path, sys.executable, "-c", command, PYTHONPATH=str(own))
    assert program.line() == "True False"
    program.line()
    assert "a_place_of_its_own" in program.stacks("<module>")
    program.end()


@pytest.mark.parametrize(
    ("own", "said"),
    [("import no_such_module", "No module named 'no_such_module'"), ("1 / 0", "division by zero")],
)
def test_what_is_wrong_with_the_programs_own_is_said(
    launcher: Path, tmp_path: Path, own: str, said: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(own)
    program = Program(launcher, tmp_path, sys.executable, "-c", "print('runs')", PYTHONPATH=str(tmp_path))
    output, errors = program.process.communicate(timeout=20)
    assert output == b"runs\n"
    assert said in errors.decode()


def test_hooks_can_be_turned_off(launcher: Path, tmp_path: Path) -> None:
    code = "import os; print(os.environ.get('PYTHONPATH'))"
    program = Program(launcher, tmp_path, sys.executable, "-c", code, DRUMLINE_HOOKS="0")
    assert program.process.communicate(timeout=20)[0] == b"None\n"


def test_a_process_that_does_not_handle_the_signal_is_not_sent_it() -> None:
    assert not stacks.handles(os.getpid())
    previous = signal.signal(stacks.SIGNAL, lambda *_: None)
    assert stacks.handles(os.getpid())
    signal.signal(stacks.SIGNAL, previous)
    assert not stacks.handles(2**22 + 1)


@pytest.mark.parametrize(("most", "lengths"), [(None, [5000, 100]), (2000, [980, 100]), (10, [0])])
def test_each_process_has_its_share_of_what_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int | None, lengths: list[int]
) -> None:
    texts = {1: "a" * 4999 + "z", 2: "b" * 100}
    for pid in texts:
        (tmp_path / str(pid)).write_text("")

    def answer(_seconds: float) -> None:
        for pid, text in texts.items():
            (tmp_path / str(pid)).write_text(text)

    monkeypatch.setattr(stacks, "_descendants", lambda _root, _parents: [1, 2])
    monkeypatch.setattr(stacks, "handles", lambda _pid: True)
    monkeypatch.setattr(stacks.os, "kill", lambda _pid, _number: None)
    found = stacks.collect(tmp_path, 1, answer, most)
    assert most is None or len(found) <= most
    parts = [part.partition("\n")[2] for part in found.split("process ")[1:]]
    assert [len(part.strip()) for part in parts] == lengths
    assert not lengths[0] or parts[0].strip().endswith("z"), "the end is where the main thread is"
