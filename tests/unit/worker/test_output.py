"""Output on its way: whatever the reader does, no byte is lost."""

from __future__ import annotations

import fcntl
import os
import select
import threading
import time

import pytest

from drumline.worker.output import CHUNK, Pump

TEXT = b"".join(b"%d\n" % i for i in range(60_000))


def carried(*, blocking: bool) -> tuple[Pump, int, list[str]]:
    """A pump whose program has said all of TEXT and ended, where its output goes, and the lines it told.

    It has carried as much as fits before somebody reads.
    """
    source, program = os.pipe()
    fcntl.fcntl(program, fcntl.F_SETPIPE_SZ, 2**20)
    assert os.write(program, TEXT) == len(TEXT)
    os.close(program)
    reader, target = os.pipe()
    os.set_blocking(target, blocking)
    lines: list[str] = []
    pump = Pump(source, target, lines.append)
    pump.start()
    deadline = time.monotonic() + 60
    while _has_room(target):
        assert time.monotonic() < deadline
        pump.join(0.01)
    return pump, reader, lines


def _has_room(target: int) -> bool:
    poll = select.poll()
    poll.register(target, select.POLLOUT)
    return bool(poll.poll(0))


def read(reader: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(reader, CHUNK)
    return data


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_is_slow_gets_it_all(blocking: bool) -> None:
    pump, reader, lines = carried(blocking=blocking)
    pump.finish(0.01, 0.05)
    assert pump.is_alive(), "it waits for a reader, but not for ever"
    assert pump.busy
    late = threading.Timer(0.1, lambda: got.append(read(reader, len(TEXT))))
    got: list[bytes] = []
    late.start()
    pump.finish(0.01, 60)
    late.join()
    assert got == [TEXT]
    assert len(lines) == 60_000


def test_who_only_holds_the_stream_open_is_not_waited_for() -> None:
    source, program = os.pipe()
    reader, target = os.pipe()
    pump = Pump(source, target, lambda _line: None)
    pump.start()
    os.write(program, b"all\n")
    assert os.read(reader, 10) == b"all\n"
    pump.finish(0.01, 3600)
    assert pump.is_alive()
    os.close(program)
    pump.join()
