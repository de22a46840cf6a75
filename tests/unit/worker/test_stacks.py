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
        deadline = time.monotonic() + 60
        while not all(word in text for word in needed):
            left = max(0.0, deadline - time.monotonic())
            assert select.select([self.process.stderr], [], [], left)[0], f"nothing more than: {text}"
            more = os.read(self.process.stderr.fileno(), 65536).decode()
            assert more, f"it ended, and had said: {text}"
            text += more
        return text

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)


def test_a_programs_stacks(launcher: Path, tmp_path: Path) -> None:
    program = Program(launcher, tmp_path, sys.executable, "-c", SLEEPER.format(before=""))
    pid = program.line()
    text = program.stacks("a_place_of_its_own", "<module>")
    assert text.startswith(f"drumline: stacks of process {pid}:\n")
    assert program.process.poll() is None
    program.end()


LATE = """
import sys, time
from drumline.worker import epoch, launcher
spawned = epoch._spawned
def slowly(*arguments):
    process = spawned(*arguments)
    time.sleep(1)
    return process
epoch._spawned = slowly
sys.exit(launcher.main(sys.argv[1:], ""))
"""


def test_a_program_that_runs_before_its_launcher_knows_is_asked_all_the_same(tmp_path: Path) -> None:
    program = Program.__new__(Program)
    environ = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", LATE, sys.executable, "-c", SLEEPER.format(before="")]
    pipe = subprocess.PIPE
    program.process = subprocess.Popen(command, env=environ, stdout=pipe, stderr=pipe)
    pid = program.line()
    assert f"stacks of process {pid}:" in program.stacks("a_place_of_its_own", "<module>")
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
    program.process.communicate(timeout=60)
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
    output, errors = program.process.communicate(timeout=60)
    assert output == b"runs\n"
    assert said in errors.decode()


def test_hooks_can_be_turned_off(launcher: Path, tmp_path: Path) -> None:
    code = "import os; print(os.environ.get('PYTHONPATH'))"
    program = Program(launcher, tmp_path, sys.executable, "-c", code, DRUMLINE_HOOKS="0")
    assert program.process.communicate(timeout=60)[0] == b"None\n"


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
    monkeypatch.setattr(os, "kill", lambda _pid, _number: None)
    found = stacks.collect(tmp_path, 1, answer, most)
    assert most is None or len(found) <= most
    parts = [part.partition("\n")[2] for part in found.split("process ")[1:]]
    assert [len(part.strip()) for part in parts] == lengths
    assert not lengths[0] or parts[0].strip().endswith("z"), "the end is where the main thread is"


class Family:
    """Processes that were asked, of which each writes at a look of its own; `looks` are how many there were."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, parents: dict[int, int]) -> None:
        self.folder, self.looks, self.plan = folder, 0, dict[int, list[tuple[int, str]]]()
        self.alive = set(parents)
        patch.setattr(stacks, "_parents", lambda: parents)
        patch.setattr(stacks, "handles", lambda pid: pid in self.alive)
        patch.setattr(os, "kill", lambda _pid, _number: None)

    def writes(self, pid: int, *at: tuple[int, str]) -> None:
        """What this process's file gets, and at which look."""
        (self.folder / str(pid)).write_text("before\n")
        self.plan[pid] = list(at)

    def collect(self, root: int) -> str:
        return stacks.collect(self.folder, root, self._sleep)

    def _sleep(self, _seconds: float) -> None:
        self.looks += 1
        for pid, at in self.plan.items():
            with (self.folder / str(pid)).open("a") as file:
                file.writelines(text for look, text in at if look == self.looks)


LAST_LOOK = int(stacks.LIMIT_SECONDS / stacks.SETTLE_SECONDS)


def test_who_gets_a_processor_late_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = Family(tmp_path, monkeypatch, {1: 0, 2: 1})
    family.writes(1, (1, "first\n"))
    family.writes(2, (20, "late\n"), (22, "later\n"))
    assert family.collect(1) == "process 1:\nfirst\n\nprocess 2:\nlate\nlater\n"
    assert family.looks < LAST_LOOK


def test_who_never_answers_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = Family(tmp_path, monkeypatch, {1: 0, 2: 1})
    family.writes(1, (1, "first\n"))
    family.writes(2)
    assert family.collect(1) == "process 1:\nfirst\n"
    assert family.looks == LAST_LOOK


def test_who_has_ended_or_has_no_file_of_its_own_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = Family(tmp_path, monkeypatch, {1: 0, 2: 1, 3: 1})
    family.writes(1, (1, "first\n"))
    family.writes(2)
    monkeypatch.setattr(os, "kill", lambda _pid, _number: family.alive.discard(2))
    assert family.collect(1) == "process 1:\nfirst\n"
    assert family.looks < 5
