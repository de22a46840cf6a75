"""Matching with a limit of time, for patterns that somebody else wrote.

Python's `re` cannot be stopped from within its process: a pattern such as ``(a+)+$`` holds it for ages. So a
pattern is matched in a small process of its own, started when the first line comes. A timer of the kernel's
ends that process when a line has cost it `LIMIT_SECONDS` of processor time: on a machine that is busy with
training, a second of the wall clock says nothing of a pattern. After `STRIKES` such lines the pattern is
switched off, and that is said once. The process ends by itself when its input ends.

A call waits for the answer, at the very most `WAIT_SECONDS`. An event loop calls it from a thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from drumline.worker.patterns import AUTO, LineReader

LIMIT_SECONDS: Final = 0.2
WAIT_SECONDS: Final = 5.0
STRIKES: Final = 3
NICENESS: Final = 10  # whoever asks, and a program in training, comes first
_HELPERS: Final[weakref.WeakSet[subprocess.Popen[bytes]]] = weakref.WeakSet()
_MAX_ANSWER: Final = 65_536

_PROGRAM: Final = """
import json, os, re, signal, sys
os.nice(int(sys.argv[3]))
pattern, limit, out = re.compile(json.loads(sys.argv[1])), float(sys.argv[2]), sys.stdout
signal.signal(signal.SIGPROF, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
for line in sys.stdin:
    text = json.loads(line)
    signal.setitimer(signal.ITIMER_PROF, limit)
    found = pattern.search(text)
    signal.setitimer(signal.ITIMER_PROF, 0)
    out.write(json.dumps(found.groupdict() if found else None) + "\\n"); out.flush()
"""


def say(text: str) -> None:
    """Onto stderr."""
    with contextlib.suppress(Exception):
        sys.stderr.write(f"drumline: {text}\n")


def helpers() -> set[int]:
    """Pids of the processes that match patterns: ours, and no part of the program."""
    return {process.pid for process in tuple(_HELPERS) if process.poll() is None}


class GuardedSearch:
    """A pattern in a process of its own. Thread-safe. Raises re.error for a pattern that is none."""

    def __init__(
        self, pattern: str, limit: float = LIMIT_SECONDS, notify: Callable[[str], None] = say
    ) -> None:
        re.compile(pattern)
        self._pattern = pattern
        self._limit = limit
        self._notify = notify
        self._strikes = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def off(self) -> bool:
        """Whether it was switched off."""
        return self._strikes >= STRIKES

    def __call__(self, line: str) -> Mapping[str, str | None] | None:
        """The named groups; None when the line does not match, or took too long."""
        with self._lock:
            if self.off:
                return None
            try:
                return self._ask(line)
            except (OSError, ValueError):
                self._strike()
            return None

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            with contextlib.suppress(OSError):
                process.wait()

    def _ask(self, line: str) -> Mapping[str, str | None] | None:
        if self._process is None:
            self._process = _spawned(self._pattern, self._limit)
        stdin = self._process.stdin
        if stdin is None:
            raise OSError("no pipe")
        stdin.write(json.dumps(line).encode() + b"\n")
        stdin.flush()
        found = _answer(self._process)
        return found if isinstance(found, dict) else None

    def _strike(self) -> None:
        self.close()
        self._strikes += 1
        if self.off:
            cost = f"{STRIKES} lines took more than {self._limit} s of processor time"
            self._notify(f"pattern {self._pattern!r} is switched off: {cost}")


def guarded(
    preset: str = AUTO,
    pattern: str | None = None,
    commit_pattern: str | None = None,
    devices: int = 0,
    notify: Callable[[str], None] = say,
) -> LineReader:
    """A reader whose user's patterns cannot hold the caller. Raises like LineReader."""
    return LineReader(
        preset, pattern, commit_pattern, devices, search=lambda text: GuardedSearch(text, notify=notify)
    )


def _spawned(pattern: str, limit: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, json.dumps(pattern), str(limit), str(NICENESS)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    _HELPERS.add(process)
    return process


def _answer(process: subprocess.Popen[bytes]) -> Any:
    if process.stdout is None:
        raise OSError("no pipe")
    descriptor = process.stdout.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + WAIT_SECONDS
    text = b""
    while not text.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise OSError("no answer")
        piece = os.read(descriptor, _MAX_ANSWER)
        if not piece:
            raise OSError("it ended")
        text += piece
    return json.loads(text)
