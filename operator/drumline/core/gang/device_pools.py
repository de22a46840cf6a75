"""Which devices each node has, by the newest complete generation of every pool.

A driver replaces a pool's slices by writing a new generation of them one by one. Until the newest generation has
as many slices as it says, nothing is allocated from the pool, so nothing of it counts; older slices never do. A
pool that names a device twice is invalid, and nothing of it counts either. Devices that are not of one node stand
under the node "".
"""

from __future__ import annotations

from collections.abc import Iterable

from drumline.core.gang.devices import Device, DeviceSlice

Pool = tuple[str, str]
ByNode = dict[str, tuple[Device, ...]]


class Pools:
    """All ResourceSlices, by pool and by node."""

    def __init__(self) -> None:
        self._slices: dict[Pool, dict[str, DeviceSlice]] = {}
        self._current: dict[Pool, ByNode] = {}
        self._by_node: dict[str, dict[Pool, tuple[Device, ...]]] = {}

    def take(self, old: DeviceSlice | None, new: DeviceSlice | None) -> set[str]:
        """A slice came, changed or went; the nodes whose devices that changes."""
        touched: set[str] = set()
        if old is not None and (new is None or new.pool != old.pool):
            slices = self._slices[old.pool]
            del slices[old.name]
            touched |= self._renew(old.pool)
        if new is not None:
            self._slices.setdefault(new.pool, {})[new.name] = new
            touched |= self._renew(new.pool)
        return touched

    def on(self, node: str) -> tuple[Device, ...]:
        """The devices of a node; "" = those that are not of one."""
        return tuple(d for devices in self._by_node.get(node, {}).values() for d in devices)

    def nodes(self) -> Iterable[str]:
        """Nodes with devices, "" among them where some are not of one."""
        return self._by_node.keys()

    def _renew(self, pool: Pool) -> set[str]:
        before = self._current.pop(pool, {})
        after = current(self._slices[pool].values())
        if not self._slices[pool]:
            del self._slices[pool]
        changed = {n for n in {*before, *after} if before.get(n) != after.get(n)}
        for node in changed:
            pools = self._by_node.setdefault(node, {})
            pools.pop(pool, None)
            if node in after:
                pools[pool] = after[node]
            if not pools:
                del self._by_node[node]
        if after:
            self._current[pool] = after
        return changed


def current(slices: Iterable[DeviceSlice]) -> ByNode:
    """The devices that a pool of these slices has, by node; none while its newest generation is not whole."""
    every = tuple(slices)
    newest = max((s.generation for s in every), default=0)
    valid = [s for s in every if s.generation == newest]
    ids = [d.id for s in valid for d in s.devices]
    if not valid or len(valid) != valid[0].count or len(set(ids)) != len(ids):
        return {}
    found: dict[str, tuple[Device, ...]] = {}
    for each in sorted(valid, key=lambda s: s.name):
        if each.devices:
            found[each.node] = (*found.get(each.node, ()), *each.devices)
    return found
