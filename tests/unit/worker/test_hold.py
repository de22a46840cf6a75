"""The process that holds a spare's place ends at once when it is told to, even as the first of its container."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# blocked before the test may send anything, as `main` does first of all
CODE = """
import signal, drumline.worker.hold as hold
signal.pthread_sigmask(signal.SIG_BLOCK, hold.SIGNALS)
print("up", flush=True)
hold.main()
print("out", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_waits_for_the_signal_and_ends_well(number: int) -> None:
    with subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert process.poll() is None
        process.send_signal(number)
        assert process.stdout.readline() == "out\n"
        assert process.wait(60) == 0
