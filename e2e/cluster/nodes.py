"""Fake nodes from plain descriptions.

::

    python -m e2e.cluster.nodes "32 hosts of h100 in blocks of 8" "two v5p 4x4x4 slices" > nodes.yaml

A description is one of (numbers as digits or as words up to twenty)::

    N hosts of KIND                                      cpu or a GPU
    N hosts of KIND in blocks of B                       GPUs whose hosts GKE labels with their place
    N hosts of KIND in blocks of B and subblocks of S
    N TPU TOPOLOGY slices                                two v5p 4x4x4 slices

KIND and TPU are the tables of ``nodes.toml``, or their aliases. Every multi-host slice is a node pool of its
own, as on GKE; all other hosts of one description share a pool.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from math import prod
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import yaml

from e2e.cluster import nodes_client
from e2e.cluster.nodes_machines import Host, Kind, kinds, manifest

_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_NUMBERS = {word: number for number, word in enumerate(_WORDS)} | {"a": 1, "an": 1}
_HOSTS = re.compile(
    r"(?P<n>\w+) hosts? of (?P<kind>[\w.-]+)"
    r"(?: in blocks? of (?P<block>\w+)(?: and subblocks? of (?P<subblock>\w+))?)?"
)
_SLICES = re.compile(r"(?P<n>\w+) (?P<kind>[\w.-]+) (?P<topology>\d+(?:x\d+){1,2}) slices?")


class DescriptionError(ValueError):
    """A description says something that is not known; the message lists what is."""


class Target(Protocol):
    """A cluster: all that is needed is its administrator's kubeconfig."""

    @property
    def kubeconfig(self) -> Path: ...


@dataclass(frozen=True)
class _Group:
    count: int
    kind: Kind
    topology: str = ""
    block: int = 0
    subblock: int = 0


def describe(*descriptions: str, prefix: str = "") -> list[dict[str, Any]]:
    """The ``v1.Node`` manifests of the descriptions, in order; ``prefix`` begins every node and pool name.

    Raises ``DescriptionError``.
    """
    groups = [_parse(description) for description in descriptions]
    return [manifest(host) for host in _hosts(groups, prefix)]


async def apply(cluster: Target, *descriptions: str, prefix: str = "") -> list[str]:
    """Create the described nodes, Ready, and return their names once all of them can take pods.

    A node that is there already is left as it is. Raises ``DescriptionError`` and
    ``nodes_client.RequestError``.
    """
    manifests = describe(*descriptions, prefix=prefix)
    async with nodes_client.connect(cluster.kubeconfig) as api:
        await api.create_nodes(manifests)
    return [str(node["metadata"]["name"]) for node in manifests]


async def lose_node(cluster: Target, name: str) -> None:
    """Cut a fake node off, as when its kubelet has not been heard of for the grace period.

    Nothing touches its pods any more, its lease is no longer renewed, its Ready condition is Unknown, it bears
    the two ``unreachable`` taints of the node lifecycle controller, and its pods are not Ready. A pod's end
    that was already being waited for (``fake.drumline.dev/run-seconds``) still comes. As with real nodes, the
    controller takes the NoExecute taint off again when no node at all is left healthy. Raises
    ``nodes_client.RequestError``.
    """
    async with nodes_client.connect(cluster.kubeconfig) as api:
        await api.lose_node(name)


async def restore_node(cluster: Target, name: str) -> None:
    """Undo ``lose_node``: the kubelet is heard of again; the node lifecycle controller takes the taints off."""
    async with nodes_client.connect(cluster.kubeconfig) as api:
        await api.restore_node(name)


async def delete_node(cluster: Target, name: str) -> None:
    """Delete a node object; its pods are left to the garbage collector. Deleting a node twice is no error."""
    async with nodes_client.connect(cluster.kubeconfig) as api:
        await api.delete_node(name)


async def delete_nodes(cluster: Target, names: Sequence[str]) -> None:
    """Delete many nodes at once."""
    async with nodes_client.connect(cluster.kubeconfig) as api:
        await api.delete_nodes(names)


def _parse(description: str) -> _Group:
    text = " ".join(description.lower().split())
    if match := _SLICES.fullmatch(text):
        return _slices(description, match)
    if match := _HOSTS.fullmatch(text):
        return _plain_hosts(description, match)
    raise DescriptionError(
        f"{description!r} is not understood; allowed: 'N hosts of KIND', 'N hosts of KIND in blocks of B', "
        f"'N hosts of KIND in blocks of B and subblocks of S', 'N TPU TOPOLOGY slices'; {_known()}"
    )


def _slices(description: str, match: re.Match[str]) -> _Group:
    kind = _kind(description, match["kind"])
    if kind.family != "tpu":
        raise DescriptionError(f"{description!r}: {kind.name} is no TPU; write 'N hosts of {kind.name}'")
    if not kind.has_topology(match["topology"]):
        cubes = (
            f", or AxBxC of multiples of 4 with A<=B<=C up to {kind.cubes} cubes of 4x4x4"
            if kind.cubes
            else ""
        )
        raise DescriptionError(
            f"{description!r}: {kind.name} has no topology {match['topology']}; "
            f"allowed: {', '.join(kind.topologies)}{cubes}"
        )
    return _Group(_number(description, match["n"]), kind, match["topology"])


def _plain_hosts(description: str, match: re.Match[str]) -> _Group:
    kind = _kind(description, match["kind"])
    if kind.family == "tpu":
        raise DescriptionError(
            f"{description!r}: TPUs come in slices; write 'N {kind.name} TOPOLOGY slices', "
            f"topology for example {kind.topologies[-1]}"
        )
    if match["block"] and not kind.block:
        raise DescriptionError(f"{description!r}: GKE does not label the place of {kind.name} hosts")
    return _Group(
        _number(description, match["n"]),
        kind,
        block=_number(description, match["block"]) if match["block"] else kind.block,
        subblock=_number(description, match["subblock"]) if match["subblock"] else kind.subblock,
    )


def _kind(description: str, name: str) -> Kind:
    for kind in kinds().values():
        if name == kind.name or name in kind.aliases:
            return kind
    raise DescriptionError(f"{description!r}: unknown kind {name!r}; {_known()}")


def _known() -> str:
    names = {
        family: ", ".join(name for name, kind in kinds().items() if kind.family == family)
        for family in ("gpu", "tpu", "cpu")
    }
    return f"GPUs: {names['gpu']}; TPUs: {names['tpu']}; no accelerator: {names['cpu']}"


def _number(description: str, word: str) -> int:
    number = int(word) if word.isdecimal() else _NUMBERS.get(word, 0)
    if number < 1:
        raise DescriptionError(
            f"{description!r}: {word!r} is no number; write digits, or a word up to twenty"
        )
    return number


def _hosts(groups: Sequence[_Group], prefix: str) -> Iterator[Host]:
    taken: set[str] = set()
    # Another prefix means other addresses, so that nodes of several calls do not share theirs.
    index = count(crc32(prefix.encode()))
    for group in groups:
        for pool, size in _pools(group, prefix, taken):
            for number in range(size):
                yield _host(group, pool, number, next(index))


def _pools(group: _Group, prefix: str, taken: set[str]) -> Iterator[tuple[str, int]]:
    if group.kind.family != "tpu":
        yield _unique(f"{prefix}{group.kind.name}", taken), group.count
        return
    name = f"{prefix}{group.kind.name}-{group.topology}"
    hosts = hosts_of_slice(group.kind, group.topology)
    if hosts == 1:
        yield _unique(name, taken), group.count
        return
    numbers = count()
    for _ in range(group.count):
        yield next(pool for n in numbers if (pool := _claim(f"{name}-{n}", taken))), hosts


def hosts_of_slice(kind: Kind, topology: str) -> int:
    """How many hosts a slice of this topology has: its chips divided by those of one machine."""
    chips = prod(int(size) for size in topology.split("x"))
    return chips // kind.machine_for(topology).chips


def _claim(name: str, taken: set[str]) -> str:
    if name in taken:
        return ""
    taken.add(name)
    return name


def _unique(name: str, taken: set[str]) -> str:
    return _claim(name, taken) or next(pool for n in count(2) if (pool := _claim(f"{name}-{n}", taken)))


def _host(group: _Group, pool: str, number: int, index: int) -> Host:
    machine = group.kind.machine_for(group.topology)
    host = Host(f"{pool}-{number:04d}", index, pool, group.kind, machine, group.topology)
    if not group.block:
        return host
    block, place = divmod(number, group.block)
    name = f"{pool}-block-{block}"
    return Host(
        host.name,
        index,
        pool,
        group.kind,
        machine,
        block=name,
        subblock=f"{name}-sub-{place // group.subblock}",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the described nodes as YAML; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster.nodes", description=__doc__.split("::")[0])
    parser.add_argument("descriptions", nargs="+", help='for example "32 hosts of h100 in blocks of 8"')
    parser.add_argument("--prefix", default="", help="begins every node and pool name")
    options = parser.parse_args(arguments)
    try:
        manifests = describe(*options.descriptions, prefix=options.prefix)
    except DescriptionError as error:
        print(error, file=sys.stderr)
        return 2
    yaml.safe_dump_all(manifests, sys.stdout, sort_keys=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
