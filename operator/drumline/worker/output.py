"""A program's output on its way to ours: byte for byte, at once, while lines are copied for whoever reads them.

Bytes go on before anything else is done with them. When our own output is closed, the program's is too, so that
it meets the same end as without us. Lines end with a newline or a carriage return (progress bars); a longer one
than `MAX_LINE` bytes is cut.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

CHUNK: Final = 65_536
MAX_LINE: Final = 8192
_LOOK_SECONDS: Final = 0.05


class Lines:
    """Splits a stream of bytes into lines."""

    def __init__(self) -> None:
        self._rest = b""
        self._cut = False

    def feed(self, data: bytes) -> Iterator[str]:
        """Lines that are complete by now."""
        parts = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        self._rest = parts.pop()
        for part in parts:
            if part and not self._cut:
                yield part[:MAX_LINE].decode("utf-8", "replace")
            self._cut = False
        if len(self._rest) > MAX_LINE:
            if not self._cut:
                yield self._rest[:MAX_LINE].decode("utf-8", "replace")
            self._cut = True
            self._rest = b""

    def rest(self) -> Iterator[str]:
        """The last line, when it has no end."""
        if self._rest and not self._cut:
            yield self._rest.decode("utf-8", "replace")
        self._rest = b""


class Pump(threading.Thread):
    """Carries one stream until its end."""

    def __init__(self, source: int, target: int, line: Callable[[str], None]) -> None:
        super().__init__(name=f"drumline-output-{target}", daemon=True)
        self._source = source
        self._target = target
        self._line = line
        self._carrying = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether what the program has said is not with our reader yet: read by us, or still to be read."""
        return self._carrying.locked() or self._more()

    def run(self) -> None:
        """Until all writers have closed, or our reader has."""
        lines = Lines()
        try:
            while self._carry(lines):
                pass
            self._tell(lines.rest())
        except OSError:
            pass  # nobody reads us any more
        finally:
            with contextlib.suppress(OSError):
                os.close(self._source)

    def _carry(self, lines: Lines) -> bool:
        """One chunk; false at the end. Nothing is read before the lock says that it is on its way."""
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.poll()
        with self._carrying:
            data = os.read(self._source, CHUNK)
            if data:
                _write(self._target, data)
                self._tell(lines.feed(data))
            return bool(data)

    def finish(self, seconds: float, reader_seconds: float) -> None:
        """Wait for the end: `seconds` for who holds the stream open, `reader_seconds` for a reader that is slow."""
        deadline = time.monotonic() + reader_seconds
        self.join(seconds)
        while self.is_alive() and self.busy and time.monotonic() < deadline:
            self.join(_LOOK_SECONDS)

    def _more(self) -> bool:
        """Whether there is something to read."""
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        return any(events & select.POLLIN for _, events in poll.poll(0))

    def _tell(self, lines: Iterator[str]) -> None:
        with contextlib.suppress(Exception):
            for line in lines:
                self._line(line)


def _write(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(target, view) :]
        except BlockingIOError:  # somebody who shares our output has made it so
            poll = select.poll()
            poll.register(target, select.POLLOUT)
            poll.poll()
