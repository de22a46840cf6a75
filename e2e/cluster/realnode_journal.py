"""What a real node has made on this host, written down before it is made.

There is one journal per machine and user, and a lock beside it: one real node runs at a time, and whoever
gets the lock and finds a journal knows that somebody died before cleaning up. Reading the journal is then
enough to undo everything.
"""

import fcntl
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from e2e.cluster.realnode_network import Network


@dataclass(frozen=True)
class Journal:
    """Everything a real node leaves on the host outside its own directory.

    ``directory`` holds sockets, mounts and the kubelet's root; ``cgroup`` is a name below each controller's
    root; ``forwarded`` is whether the host forwarded IPv4 packets before.
    """

    directory: Path
    network: Network
    cgroup: str
    proxy_mode: str
    forwarded: bool

    def write(self) -> None:
        """Store the journal; the rename makes it whole or absent."""
        path = journal_path()
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({**asdict(self), "directory": str(self.directory)}))
        partial.replace(path)


def read() -> Journal | None:
    """The journal of a node that is running or was not cleaned up, if there is one."""
    try:
        data = json.loads(journal_path().read_text())
    except FileNotFoundError:
        return None
    network = Network(**data.pop("network"))
    return Journal(directory=Path(data.pop("directory")), network=network, **data)


def forget() -> None:
    """Drop the journal: nothing is left to undo."""
    journal_path().unlink(missing_ok=True)


def journal_path() -> Path:
    """Where the journal is: one file per machine and user."""
    directory = Path(tempfile.gettempdir()) / f"drumline-realnode-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory / "journal.json"


def acquire() -> int:
    """Wait until no other real node runs and return the lock's file descriptor.

    The descriptor is handed to the guardian too, so the lock lasts until the clean-up is over.
    """
    lock = os.open(journal_path().with_name("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another real node runs on this machine; waiting for its end", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
