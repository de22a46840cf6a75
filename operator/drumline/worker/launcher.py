"""Runs a command as it would run without us, and says how it goes.

    python launcher.pyz -- COMMAND [ARGUMENT ...]

The command gets the same arguments, working directory, user, standard input and file descriptors, and the
signals that we get. Its output passes through unchanged (on a terminal it is not touched at all). We end as it
ends: with its exit code, or by its signal; as a container's first process, which no signal can end, with 128
plus the signal's number. As that process we also bury orphans.

Its environment has some variables more: where to leave a mark that it reports by itself, and PYTHONPATH with
the hook for stacks in front and this file, for `import drumline.worker`, at the end. `DRUMLINE_HOOKS=0` leaves
PYTHONPATH alone.

SIGQUIT from within the pod, `kubectl exec POD -- kill -QUIT 1`, is the request for the stacks of all Python
processes, which go to stderr. One from without is the kubelet's, where an image has it as its STOPSIGNAL: it is
passed on as the others are. A sender that our process namespace cannot name has the number 0. What a terminal
sends goes to the command as well.

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
_QUIT: Final = frozenset((signal.SIGQUIT,))
_STOPS: Final = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT))
_BY_PROCESS: Final = 0  # SI_USER; a terminal's comes from the kernel
OUTPUT_SECONDS: Final = 2.0  # for output that descendants still write after the command has ended
READER_SECONDS: Final = 20.0  # for what the command wrote and our reader has not taken
_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126


class Child:
    """The command's process, and the signals on their way to it.

    Signals come through a pipe: a handler in Python would not run while we wait for the command's end.
    """

    def __init__(self) -> None:
        self.pid = 0
        self.sent: list[int] = []
        self.requests: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._signals, self._wake = os.pipe()

    def listen(self) -> None:
        """Take signals from now on; what comes before the command runs goes to it then."""
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (*FORWARDED, signal.SIGQUIT, signal.SIGCHLD):
            signal.signal(number, _nothing)  # not SIG_IGN, which the command would inherit
        signal.pthread_sigmask(signal.SIG_BLOCK, _QUIT)  # for `take_quits`, in threads yet to come too

    def take_quits(self) -> None:
        """Tell requests for stacks from orders to stop, for ever; in a thread."""
        while True:
            info = signal.sigwaitinfo(_QUIT)
            if info.si_code == _BY_PROCESS and info.si_pid == 0:
                os.write(self._wake, bytes([signal.SIGQUIT]))
            else:
                self.requests.put(None)

    def wait(self) -> int:
        """Until it ends; buries whatever else ends meanwhile. Returns waitpid's status."""
        while True:
            for number in os.read(self._signals, 512):
                self._take(number)
            status = self._bury()
            if status is not None:
                return status

    def _take(self, number: int) -> None:
        # the terminal sends its interrupts to the command as well
        if number in (*FORWARDED, signal.SIGQUIT) and not (number == signal.SIGINT and _terminal(0)):
            if number in _STOPS:
                self.sent.append(number)
            with contextlib.suppress(OSError):
                os.kill(self.pid, number)

    def _bury(self) -> int | None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == self.pid:
                self.pid = -1
                return status
            if pid == 0:
                return None


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
    environ.update(_kubeflow(folder, seen, environ))
    pumps, descriptors = _pipes(seen)
    try:
        process = _spawned(command, environ, descriptors)
    except OSError as error:
        sys.stderr.write(f"drumline: {command[0]}: {error.strerror}\n")
        folder.remove()
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
    child.pid = process.pid
    _begin(child, folder, seen, pumps, descriptors)
    ending = endings.of_status(child.wait(), child.sent)
    process.returncode = ending.code  # nobody waits for it a second time
    _finish(ending, seen, pumps)
    folder.remove()
    return _end(ending)


def _kubeflow(folder: Folder, seen: Observer | None, environ: Mapping[str, str]) -> Mapping[str, str]:
    wanted = environ.get("DRUMLINE_KUBEFLOW") == "1" and "KUBEFLOW_TRAINER_SERVER_URL" not in environ
    if not wanted or seen is None or seen.reporter is None or folder.path is None:
        return {}
    try:
        # of no use to most, and an HTTP server takes its time to load
        from drumline.worker.adapter_kubeflow import Endpoint  # noqa: PLC0415

        who = identity(environ)
        return Endpoint(folder.path, seen.step).environment(who.namespace, who.name)
    except Exception as error:  # noqa: BLE001 -- the command runs without it
        say(f"no endpoint for Kubeflow's pushes: {error}")
        return {}


def _spawned(
    command: Sequence[str], environ: Mapping[str, str], descriptors: Mapping[str, int]
) -> subprocess.Popen[bytes]:
    output, errors = descriptors.get("stdout"), descriptors.get("stderr")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _QUIT)  # the command inherits what is blocked
    try:
        return subprocess.Popen(list(command), env=environ, close_fds=False, stdout=output, stderr=errors)
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, _QUIT)


def _begin(
    child: Child, folder: Folder, seen: Observer | None, pumps: Sequence[Pump], descriptors: Mapping[str, int]
) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
    for pump in pumps:
        pump.start()
    if seen is not None:
        seen.start()
    threading.Thread(target=child.take_quits, daemon=True).start()
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
        pump.finish(share, READER_SECONDS)
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
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _QUIT)
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
    """The pipe has it."""


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
