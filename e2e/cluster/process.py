"""Child processes that log to files, can be probed, and never outlive their owner.

Every child is started through ``bound.py`` by one thread that lives as long as this process: the kernel ties
a child to the *thread* that forked it, and a test's worker thread may end long before its process does.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

_BOUND = Path(__file__).with_name("bound.py")
_POLL_SECONDS = 0.05
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class ProcessError(RuntimeError):
    """A child died or did not become ready; the message ends with its last log lines."""


@dataclass
class Process:
    """One child process.

    ``argv[0]`` is an absolute path. ``log`` receives stdout and stderr and is appended to on a restart.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    _popen: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start the program; raises ``RuntimeError`` where the kernel cannot tie it to its owner."""
        if self.alive:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._popen = spawn(self.argv, self.log, self.env, self.cwd)

    @property
    def pid(self) -> int:
        """The program's process id; raises ``ProcessError`` before the first start."""
        if self._popen is None:
            raise ProcessError(f"{self.name} was never started")
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the program still runs."""
        if self._popen is not None:
            self._popen.send_signal(number)

    def pause(self) -> None:
        """Stop the program in its tracks (SIGSTOP) until ``resume``."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused program go on."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the program without warning and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if self._popen is not None:
            self._popen.wait()

    def stop(self, grace_seconds: float = 5) -> None:
        """Ask the program to end, and end it without warning after ``grace_seconds``."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            if self._popen is not None:
                self._popen.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def tail(self, lines: int = 20) -> str:
        """The last lines of the log."""
        if not self.log.exists():
            return "(no log)"
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 16_384))
            text = log.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def check(self) -> None:
        """Raise ``ProcessError`` with the end of the log if the program is not running."""
        if not self.alive:
            code = self._popen.returncode if self._popen is not None else None
            raise ProcessError(f"{self.name} ended (exit code {code}); the end of {self.log}:\n{self.tail()}")

    def wait_ready(self, probe: Callable[[], bool], seconds: float = 60) -> None:
        """Poll ``probe`` until it is true; raises ``ProcessError`` when the program ends or time is up."""
        deadline = time.monotonic() + seconds
        while not probe():
            self.check()
            if time.monotonic() > deadline:
                message = f"{self.name} was not ready after {seconds:g} s; the end of {self.log}:\n"
                raise ProcessError(message + self.tail())
            time.sleep(_POLL_SECONDS)


def spawn(
    argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start ``argv`` in its own session, bound to this process's life, with its output appended to ``log``.

    ``env`` is the whole environment. Raises ``RuntimeError`` on systems other than Linux.
    """
    if sys.platform != "linux":
        raise RuntimeError("the embedded cluster needs Linux; elsewhere install Docker and kind")
    command = [sys.executable, "-I", "-S", str(_BOUND), str(os.getpid()), *argv]
    with log.open("ab") as output:
        return _spawner.submit(
            subprocess.Popen,
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env or {}),
            cwd=cwd,
            start_new_session=True,
        ).result()


def kill_all(processes: Iterable[Process]) -> None:
    """End all of them at once, without warning, and wait until they are gone."""
    doomed = list(processes)
    for process in doomed:
        process.signal(signal.SIGKILL)
    for process in doomed:
        process.kill()


def runs(pid: int) -> bool:
    """Whether a process exists and is not merely waiting for its parent to notice its end (Linux)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # The name before the state may hold anything, even parentheses.
    return stat.rsplit(")", 1)[1].split()[0] != "Z"
