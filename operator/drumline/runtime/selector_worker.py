"""Evaluates CEL selectors in a process of its own: ``python -m drumline.runtime.selector_worker``.

One line of JSON in, one out, after a first line that says it is ready:

    {"expression": "…", "seconds": 2.0, "devices": [[driver, {name: [kind, value]}, {name: quantity}], …]}
    {"answers": [true, false, "why not"], "spent": 0.01}

Whatever an expression does, the kernel ends the process once it has used its seconds of processor time (SIGPROF), and it
gets no more than `MAX_BYTES` of memory beyond what it begins with: the container's limit is the operator's too. One that
runs out of memory ends, and says nothing of the expression: it may be what came before that has it. What anybody prints
goes to standard error, for standard output is the protocol's.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final, TextIO

from drumline.core.gang.devices import Device, Version
from drumline.runtime.device_selectors import evaluate, forget_programs

MAX_BYTES: Final = 96 << 20
OUT_OF_MEMORY: Final = 70  # exit status
READY: Final = b"ready\n"


def packed(device: Device) -> list[Any]:
    """A device as JSON; its name is left out, since no expression sees it."""
    attributes = {
        name: ["version", value.text] if isinstance(value, Version) else ["", value]
        for name, value in device.attributes.items()
    }
    return [device.id[0], attributes, dict(device.capacity)]


def unpacked(raw: list[Any]) -> Device:
    """The reverse of `packed`."""
    driver, attributes, capacity = raw
    read = {
        name: Version(value) if kind == "version" else value for name, (kind, value) in attributes.items()
    }
    return Device((driver, "", ""), read, capacity)


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer until there are no more requests."""
    for line in requests:
        forget_programs()
        asked = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, asked["seconds"])
        began = time.process_time()
        found = [evaluate(asked["expression"], unpacked(raw)) for raw in asked["devices"]]
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(json.dumps({"answers": found, "spent": time.process_time() - began}) + "\n")
        answers.flush()


def _size() -> int:
    """Bytes of address space that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def main() -> None:
    """Load the library, then serve standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    evaluate("device.driver == ''", Device(("", "", "")))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _size() + MAX_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    answers.write(READY.decode())
    answers.flush()
    try:
        serve(sys.stdin, answers)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)


if __name__ == "__main__":
    main()
