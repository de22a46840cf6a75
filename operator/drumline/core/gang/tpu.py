"""What libtpu wants of the hosts of one slice, whatever runs on it.

Within a slice libtpu wants the ordered list of hosts and this host's place in it. A slice of one host has
nobody to meet and gets ``localhost``, as GKE's device plugin would give it. What describes the chips
themselves (topology, bounds, accelerator type) comes from the device plugin, which knows the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from drumline.core.gang.variables import EnvVar, variables

PROCESS_PORT: Final = 8476  # libtpu's own default


def process_port(hosts: int) -> list[tuple[str, object]]:
    """The port that the hosts of a slice meet on; none where there is one host."""
    return [("TPU_PROCESS_PORT", PROCESS_PORT)] if hosts > 1 else []


def identity(name: str, worker: int) -> list[tuple[str, object]]:
    """Which host of which slice it is."""
    return [("TPU_WORKER_ID", worker), ("TPU_NAME", name)]


def hostnames(hosts: Sequence[str]) -> str:
    """The hosts of a slice in order."""
    return ",".join(hosts)


def addresses(hosts: Sequence[str]) -> str:
    """The same with their ports."""
    return ",".join(f"{host}:{PROCESS_PORT}" for host in hosts)


def inline_lists(hosts: Sequence[str]) -> tuple[EnvVar, ...]:
    """The lists of one slice's hosts, as values."""
    if len(hosts) == 1:
        return tuple(variables([("TPU_WORKER_HOSTNAMES", "localhost")]))
    lists = [("TPU_WORKER_HOSTNAMES", hostnames(hosts)), ("TPU_PROCESS_ADDRESSES", addresses(hosts))]
    return tuple(variables(lists))
