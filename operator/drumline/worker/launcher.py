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
sends goes to the command as well. The operator may ask for stacks, and for a checkpoint, too.

With `DRUMLINE_BARRIER=1` a command that fails is followed by another, in a new epoch, when the operator says so; see
`drumline.worker.barrier`.

Whatever fails in here, the command runs on.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Sequence
from typing import Final

from drumline.worker.barrier import Barrier
from drumline.worker.ending import Ending
from drumline.worker.epoch import Epoch
from drumline.worker.launcher_child import QUIT, Child

_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126


def main(command: Sequence[str], archive: str) -> int:
    """Run it; returns the exit code, if this process is still there to have one."""
    child = Child()
    child.listen()
    path = os.path.abspath(archive)  # noqa: PTH100 -- links stay as they are
    barrier = Barrier(child, os.environ)
    number, again = barrier.begin(), False
    while number is not None:
        epoch = Epoch(child, number, again=again)
        try:
            epoch.start(command, path)
        except OSError as error:
            sys.stderr.write(f"drumline: {command[0]}: {error.strerror}\n")
            epoch.discard()
            return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
        number, again = barrier.watch(epoch), True
    return _end(barrier.ending)


def _end(ending: Ending) -> int:
    if ending.signal and os.getpid() != 1:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command's core is enough
            if ending.signal != signal.SIGKILL:
                signal.signal(ending.signal, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, QUIT)
            _flush()
            os.kill(os.getpid(), ending.signal)
    return ending.code


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
