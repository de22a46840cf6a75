"""The launcher as a process: nothing about the command changes, and how it ends is known."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from drumline.worker.install import install, main


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("launcher"))


class Run:
    """Commands behind the launcher."""

    def __init__(self, launcher: Path, folder: Path) -> None:
        self._launcher = launcher
        self.log = folder / "termination-log"
        self.log.touch()
        self.environ = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(folder),
            "DRUMLINE_TERMINATION_LOG": str(self.log),
        }

    def start(self, *command: str, **options: object) -> subprocess.Popen[bytes]:
        whole = [sys.executable, str(self._launcher), "--", *command]
        pipe = subprocess.PIPE
        return subprocess.Popen(whole, env=self.environ, stdin=pipe, stdout=pipe, stderr=pipe, **options)  # type: ignore[call-overload]

    def __call__(self, *command: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        process = self.start(*command)
        output, errors = process.communicate(given, timeout=30)
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def python(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return self(sys.executable, "-c", textwrap.dedent(program), *arguments)


@pytest.fixture
def run(launcher: Path, tmp_path: Path) -> Run:
    return Run(launcher, tmp_path)


def test_arguments_input_and_directory_are_the_commands_own(run: Run) -> None:
    program = "import os, sys; print(sys.argv[1:], sys.stdin.read(), os.getcwd())"
    done = run(sys.executable, "-c", program, "--", "a b", "$HOME", "", given=b"input")
    assert done.stdout.decode() == f"['--', 'a b', '$HOME', ''] input {Path.cwd()}\n"


def test_output_passes_byte_for_byte_and_apart(run: Run) -> None:
    done = run.python(
        """
        import os
        os.write(1, bytes(range(256)) * 1000)
        os.write(2, b"\\x1b[31mred\\r\\n\\xff\\xfe no newline")
        """
    )
    assert done.stdout == bytes(range(256)) * 1000
    assert done.stderr == b"\x1b[31mred\r\n\xff\xfe no newline"


def test_output_passes_at_once(run: Run) -> None:
    process = run.start("sh", "-c", "printf now; read line; echo $line")
    assert process.stdout is not None
    assert process.stdin is not None
    assert os.read(process.stdout.fileno(), 100) == b"now"
    process.communicate(b"later\n", timeout=30)
    assert process.returncode == 0


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_the_exit_code_is_the_commands(run: Run, code: int) -> None:
    assert run("sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_ends_the_command_ends_the_launcher(run: Run, number: signal.Signals) -> None:
    assert run("sh", "-c", f"kill -{int(number)} $$").returncode == -number


def test_a_command_that_is_not_there(run: Run) -> None:
    done = run("no-such-program")
    assert done.returncode == 127
    assert done.stderr == b"drumline: no-such-program: No such file or directory\n"


def test_a_command_that_is_no_program(run: Run, tmp_path: Path) -> None:
    assert run(str(tmp_path)).returncode == 126


WAITER = """
import os, signal, sys, time
def caught(number, frame):
    os.write(1, signal.Signals(number).name.encode() + b"\\n")  # print is not reentrant
    if number == signal.SIGTERM:
        sys.exit(3)
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), caught)
os.write(1, b"ready\\n")
while True:
    time.sleep(0.01)  # not pause(), which misses a signal that comes just before
"""
QUITTER = """
import os, signal, time
def quits(number, frame):
    os.write(1, b"quits\\n")
    raise SystemExit(3)
signal.signal(signal.SIGQUIT, quits)
os.write(1, b"ready\\n")
while True:
    time.sleep(0.01)
"""
PASSED_ON = ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGWINCH", "SIGTERM")


def test_signals_are_passed_on(run: Run) -> None:
    process = run.start(sys.executable, "-c", WAITER, *PASSED_ON)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    for name in PASSED_ON:
        process.send_signal(getattr(signal, name))
        assert process.stdout.readline().decode() == f"{name}\n"
    process.communicate(timeout=30)
    assert process.returncode == 3
    assert run.log.read_text().startswith("exit code 3 after SIGINT, SIGHUP, SIGTERM\n")


def test_a_quit_from_within_asks_for_stacks_and_ends_nothing(run: Run) -> None:
    program = (
        "import os, time; own = f'{os.environ[\"DRUMLINE_STACKS\"]}/{os.getpid()}'\n"
        "print('asks', flush=True); os.kill(os.getppid(), 3)\n"
        "while not os.path.getsize(own): time.sleep(0.01)\n"
        "time.sleep(2.0)  # until the launcher has read it\n"
        "exit(5)"
    )
    done = run(sys.executable, "-c", program)
    assert (done.returncode, done.stdout) == (5, b"asks\n")
    assert re.search(rb'File "<string>", line [23] in <module>', done.stderr), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="making a process namespace takes root")
def test_a_quit_from_without_reaches_the_command(run: Run, launcher: Path) -> None:
    """As where an image's STOPSIGNAL is SIGQUIT: the launcher is its namespace's first process."""
    inside = [sys.executable, str(launcher), "--", sys.executable, "-c", QUITTER]
    unshare = ["unshare", "--pid", "--fork", "--kill-child", *inside]
    process = subprocess.Popen(unshare, env=run.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    os.kill(int(children), signal.SIGQUIT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (3, b"quits\n", b"")
    assert run.log.read_text().startswith("exit code 3 after SIGQUIT\n")


@pytest.mark.parametrize("handled", ["SIG_DFL", "SIG_IGN"])
def test_the_command_begins_with_no_signal_blocked(run: Run, handled: str) -> None:
    done = run.python(
        f"import signal; signal.signal(3, signal.{handled}); print(signal.pthread_sigmask(0, ()), flush=True);"
        "signal.raise_signal(3); raise SystemExit(4)"
    )
    assert done.stdout == b"set()\n"
    assert done.returncode == (4 if handled == "SIG_IGN" else -signal.SIGQUIT)


def test_no_signal_is_missed(run: Run) -> None:
    program = "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: exit(9))\nprint(1, flush=True)\n"
    for _ in range(5):
        process = run.start(sys.executable, "-c", program + "while True: time.sleep(0.01)")
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 9


def test_a_signal_that_comes_first_reaches_the_command(run: Run) -> None:
    process = run.start("sleep", "60")
    process.send_signal(signal.SIGCONT)
    while process.poll() is None:  # before our handlers are there it ends the launcher: as well
        process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == -signal.SIGTERM


def test_a_failure_leaves_its_last_lines_for_the_kubelet(run: Run) -> None:
    run.python("for i in range(100): print('line', i)\nraise SystemExit(9)")
    lines = run.log.read_text().splitlines()
    assert lines == ["exit code 9", *(f"line {i}" for i in range(80, 100))]


def test_long_lines_leave_the_last_that_fit(run: Run) -> None:
    run.python("for i in range(30): print(str(i) * 400)\nraise SystemExit(9)")
    text = run.log.read_text()
    assert text.startswith("exit code 9\n")
    assert text.endswith("29" * 400)
    assert 3000 < len(text.encode()) <= 4096


@pytest.mark.parametrize("left", ["my own words", ""])
def test_what_the_program_left_for_the_kubelet_stays(run: Run, left: str) -> None:
    run.python(
        f"import pathlib; pathlib.Path({str(run.log)!r}).write_text({left!r}); raise SystemExit({1 if left else 0})"
    )
    assert run.log.read_text() == left


def test_orphans_that_hold_the_output_do_not_hold_the_launcher(run: Run) -> None:
    process = run.start("sh", "-c", "sleep 60 & echo $!")
    assert process.stdout is not None
    orphan = int(process.stdout.readline())
    assert process.wait(timeout=50) == 0
    os.kill(orphan, signal.SIGKILL)
    process.communicate()


def test_a_reader_that_goes_away_ends_the_command_as_without_us(run: Run) -> None:
    process = run.start("sh", "-c", "while echo y; do :; done; exit 4")
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 10)
    process.stdout.close()
    process.stdout = None
    process.communicate(timeout=30)
    assert process.returncode in (-signal.SIGPIPE, 4)


def test_nothing_is_left_behind(run: Run, tmp_path: Path) -> None:
    run("true")
    run("no-such-program")
    assert [p.name for p in tmp_path.iterdir()] == ["termination-log"]


def test_without_a_place_to_write_the_command_runs_all_the_same(run: Run) -> None:
    run.environ["TMPDIR"] = "/proc"
    program = "import os, tempfile; print('ok', 'PYTHONPATH' in os.environ)"
    # mkdtemp tries other folders after TMPDIR; none of them can be written here
    wrapper = f"import tempfile; tempfile.tempdir = '/proc'; import runpy, sys; sys.argv = {['x', '--', sys.executable, '-c', program]!r}; runpy.run_path({str(run._launcher)!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", wrapper], env=run.environ, capture_output=True, check=False, timeout=30
    )
    assert done.stdout == b"ok False\n"


def test_the_same_sources_give_the_same_launcher(launcher: Path, tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "launcher.pyz").read_bytes() == launcher.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["launcher.pyz"]
    assert main([str(tmp_path / "none")]) == 1
    assert main([]) == 2


def test_the_launcher_has_all_of_the_package(launcher: Path) -> None:
    sources = Path(install.__code__.co_filename).parent
    names = {f"drumline/worker/{path.name}" for path in sources.glob("*.py")}
    assert names | {"__main__.py", "drumline/__init__.py", "drumline_old.py"} == set(
        zipfile.ZipFile(launcher).namelist()
    )


def test_without_a_command_it_says_how(launcher: Path) -> None:
    done = subprocess.run([sys.executable, str(launcher), "--"], capture_output=True, check=False)
    assert (done.returncode, done.stderr[:6]) == (2, b"usage:")
