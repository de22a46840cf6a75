"""Holds a spare place: waits for the signal to end, and ends.

The first process of a container gets no signal that it has not asked for, so a plain sleep would not do.
"""

from __future__ import annotations

import signal

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Return once one of SIGNALS has come."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    signal.sigwait(SIGNALS)


if __name__ == "__main__":
    main()
