"""Run a program that cannot outlive the process that started it (Linux).

Usage: ``python -I -S bound.py OWNER_PID PROGRAM ARGUMENT…``

The kernel is asked to kill this process when its parent ends, and then the program takes its place. The
kernel's request survives the replacement, so there is no window in which a crash of the owner, even by
SIGKILL, leaves the program behind. Only the standard library, and little of it: this runs before every
component.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_OWNER_IS_GONE = 125


def main(arguments: list[str]) -> None:
    """Replace this process by the program in ``arguments[1:]``; ``arguments[0]`` is the owner's pid."""
    owner, program = int(arguments[0]), arguments[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # The owner may have gone before the request was made, and then no signal comes.
    if os.getppid() != owner:
        sys.exit(_OWNER_IS_GONE)
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
