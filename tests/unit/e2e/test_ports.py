"""Reserved ports are nobody else's until they are released."""

import socket
import subprocess
import sys
from pathlib import Path

from e2e.cluster import ports

_TAKE = (
    "from e2e.cluster import ports; import sys; print(ports.reserve().number, flush=True); sys.stdin.read()"
)


def test_no_port_is_given_twice() -> None:
    held = [ports.reserve() for _ in range(20)]
    assert len({port.number for port in held}) == 20
    assert all(ports.is_free(port.number) for port in held)
    for port in held:
        port.release()
        port.release()


def test_a_reservation_is_seen_by_other_processes_and_ends_with_its_owner(repository: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _TAKE],
        cwd=repository,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    number = int(owner.stdout.readline())
    directory = ports.directory()
    assert ports.try_reserve(directory, number) is None
    owner.kill()
    owner.communicate()
    port = ports.try_reserve(directory, number)
    assert port is not None
    port.release()


def test_a_port_that_is_listened_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        assert not ports.is_free(number)
        assert ports.try_reserve(ports.directory(), number) is None
