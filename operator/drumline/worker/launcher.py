"""Runs a command as it would run without us, and says how it goes.

    python launcher.pyz -- COMMAND [ARGUMENT ...]

The command gets the same arguments, working directory, user, standard input and file descriptors, and the
signals that we get. Its output passes through unchanged (on a terminal it is not touched at all). We end as it
ends: with its exit code, or by its signal; as a container's first process, which no signal can end, with 128
plus the signal's number. As that process we also bury orphans.

Its environment has some variables more: where to leave a mark that it reports by itself, and PYTHONPATH with
the hook for stacks in front and this file, for `import drumline.worker`, at the end. `DRUMLINE_HOOKS=0` leaves
PYTHONPATH alone.

SIGQUIT is not passed on: it is the request for the stacks of all Python processes, which go to stderr.

Whatever fails in here, the command runs on.
"""

from __future__ import annotations

import contextlib
import os
import pkgutil
import queue
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from drumline.worker import ending as endings
from drumline.worker import marker, stacks
from drumline.worker.ending import Ending
from drumline.worker.guard import say
from drumline.worker.identity import identity
from drumline.worker.observer import Observer, observer
from drumline.worker.output import Pump

FORWARDED: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
    signal.SIGWINCH,
)
OUTPUT_SECONDS: Final = 2.0  # for output that descendants still write after the command has ended
_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126


class Child:
    """The command's process, and the signals on their way to it."""

    def __init__(self) -> None:
        self.pid = 0
        self.sent: list[int] = []
        self._waiting: list[int] = []
        self.requests: queue.SimpleQueue[None] = queue.SimpleQueue()

    def listen(self) -> None:
        """Take signals from now on."""
        for number in FORWARDED:
            signal.signal(number, self._forward)
        if _terminal(0):
            signal.signal(signal.SIGINT, _nothing)  # the terminal sends it to the command as well
        signal.signal(signal.SIGQUIT, self._request)

    def born(self, pid: int) -> None:
        """It runs: what came before goes to it now."""
        self.pid = pid
        waiting, self._waiting = self._waiting, []
        for number in waiting:
            self._send(number)

    def wait(self) -> int:
        """Until it ends; buries whatever else ends meanwhile. Returns waitpid's status."""
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == self.pid:
                self.pid = -1
                return status

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        if self.pid == 0:
            self._waiting.append(number)
        elif self.pid > 0:
            self._send(number)

    def _send(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.sent.append(number)
        with contextlib.suppress(OSError):
            os.kill(self.pid, number)

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        self.requests.put(None)


class Folder:
    """A place of our own for the hook, the stacks and the mark; none where nothing can be written."""

    def __init__(self) -> None:
        self.path: Path | None = None
        with contextlib.suppress(OSError):
            self.path = Path(tempfile.mkdtemp(prefix="drumline-"))

    def environment(self, environ: Mapping[str, str], archive: str) -> dict[str, str]:
        """The command's environment."""
        child = dict(environ)
        if self.path is None:
            return child
        child[marker.VARIABLE] = str(self.path / "reports")
        hook = pkgutil.get_data("drumline.worker", "hook.py")
        if hook is None or environ.get("DRUMLINE_HOOKS") == "0":
            return child
        with contextlib.suppress(OSError):
            hooks, folder = self.path / "hooks", self.path / "stacks"
            hooks.mkdir()
            folder.mkdir()
            (hooks / "sitecustomize.py").write_bytes(hook)
            path = os.pathsep.join([child.get("PYTHONPATH", ""), archive])
            child.update(stacks.environment(hooks, folder, path))
        return child

    @property
    def stacks(self) -> Path | None:
        """Where processes write theirs."""
        return self.path / "stacks" if self.path is not None else None

    def remove(self) -> None:
        """Away with it."""
        if self.path is not None:
            shutil.rmtree(self.path, ignore_errors=True)


def main(command: Sequence[str], archive: str) -> int:
    """Run it; returns the exit code, if this process is still there to have one."""
    child = Child()
    child.listen()
    folder = Folder()
    environ = folder.environment(os.environ, os.path.abspath(archive))  # noqa: PTH100 -- links stay as they are
    seen = _safely(lambda: observer(identity(environ), environ))
    pumps, descriptors = _pipes(seen)
    try:
        process = _spawned(command, environ, descriptors)
    except OSError as error:
        sys.stderr.write(f"drumline: {command[0]}: {error.strerror}\n")
        folder.remove()
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
    child.born(process.pid)
    _begin(child, folder, seen, pumps, descriptors)
    ending = endings.of_status(child.wait(), child.sent)
    process.returncode = ending.code  # nobody waits for it a second time
    _finish(ending, seen, pumps)
    folder.remove()
    return _end(ending)


def _spawned(
    command: Sequence[str], environ: Mapping[str, str], descriptors: Mapping[str, int]
) -> subprocess.Popen[bytes]:
    output, errors = descriptors.get("stdout"), descriptors.get("stderr")
    return subprocess.Popen(list(command), env=environ, close_fds=False, stdout=output, stderr=errors)


def _begin(
    child: Child, folder: Folder, seen: Observer | None, pumps: Sequence[Pump], descriptors: Mapping[str, int]
) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
    for pump in pumps:
        pump.start()
    if seen is not None:
        seen.start()
    threading.Thread(target=_answer_requests, args=(child, folder), daemon=True).start()


def _pipes(seen: Observer | None) -> tuple[list[Pump], dict[str, int]]:
    pumps: list[Pump] = []
    descriptors: dict[str, int] = {}
    if seen is None:
        return pumps, descriptors
    for name, target in (("stdout", 1), ("stderr", 2)):
        if not _terminal(target):
            source, descriptors[name] = os.pipe()
            pumps.append(Pump(source, target, seen.line))
    return pumps, descriptors


def _finish(ending: Ending, seen: Observer | None, pumps: Sequence[Pump]) -> None:
    share = OUTPUT_SECONDS / max(len(pumps), 1)
    for pump in pumps:
        pump.join(share)
    lines = list(seen.last) if seen is not None else []
    text = endings.message(ending, lines)
    if ending.failed:
        endings.write(text, os.environ.get("DRUMLINE_TERMINATION_LOG", endings.TERMINATION_LOG))
    if seen is not None:
        seen.finish()
        if seen.reporter is not None:
            seen.reporter.close(text)


def _end(ending: Ending) -> int:
    if ending.signal and os.getpid() != 1:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command's core is enough
            if ending.signal != signal.SIGKILL:
                signal.signal(ending.signal, signal.SIG_DFL)
            _flush()
            os.kill(os.getpid(), ending.signal)
    return ending.code


def _answer_requests(child: Child, folder: Folder) -> None:
    while True:
        child.requests.get()
        if folder.stacks is None or child.pid <= 0:
            continue
        with contextlib.suppress(Exception):
            text = stacks.collect(folder.stacks, child.pid)
            say(f"stacks of {text}" if text else "no Python process answers with its stacks")


def _nothing(_number: int, _frame: FrameType | None) -> None:
    # not SIG_IGN, which the command would inherit
    return None


def _terminal(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        return os.isatty(descriptor)
    return False


def _safely(make: Callable[[], Observer | None]) -> Observer | None:
    try:
        return make()
    except Exception as error:  # noqa: BLE001 -- the command runs without it
        say(f"progress is not reported: {type(error).__name__}: {error}")
        return None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
