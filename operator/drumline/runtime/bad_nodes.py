"""Keeps the taint on bad nodes, while the operator leads and the setting says so.

What nodes failed is read off the statuses of all jobs, in which the latest attempts of each are, so that a successor
knows as much. A node is read in full only when its taint may have to change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

from drumline.api.meta import TAINT_BAD_NODE
from drumline.api.reasons import Reason
from drumline.core.gang import bad_nodes
from drumline.core.gang.bad_nodes import Failure, Verdict
from drumline.core.gang.clock import rfc3339, unix
from drumline.core.gang.plan import Event, JsonPatch, Plan
from drumline.core.gang.types import Node
from drumline.runtime.errors import ApiError, LeaseLost, NotFound
from drumline.runtime.executor import Executor, Owner
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.world import World

PERIOD: Final = 5.0  # seconds

logger = logging.getLogger(__name__)


class BadNodes:
    """Puts taints on and takes them off. `seconds`: how long a node is avoided; `now` gives Unix seconds."""

    def __init__(
        self, client: Client, world: World, executor: Executor, seconds: float, now: Callable[[], float]
    ) -> None:
        self._client = client
        self._world = world
        self._executor = executor
        self._seconds = seconds
        self._now = now
        self._ends: dict[str, float] = {}  # node → until when, as last read; 0 = not ours

    async def run(self) -> None:
        """Look at all nodes again and again, until cancelled. What goes wrong is tried again."""
        while True:
            try:
                await self.round()
            except ApiError as error:
                logger.warning("taints of bad nodes: %s", error)
            except LeaseLost:
                raise
            except Exception:
                logger.exception("a look at bad nodes failed; trying again")
            await asyncio.sleep(PERIOD)

    async def round(self) -> None:
        """Bring the taints up to date once. Raises ApiError."""
        found = bad_nodes.verdicts(self._failures(), self._now(), self._seconds)
        nodes = self._world.nodes.store
        tainted = {node.name for node in nodes.values() if _has_taint(node)}
        self._ends = {name: end for name, end in self._ends.items() if name in tainted or name in found}
        for name in sorted(tainted.union(found)):
            if nodes.get("", name) is not None and self._is_due(found.get(name), self._ends.get(name)):
                await self._look(name, found.get(name))

    def _is_due(self, verdict: Verdict | None, end: float | None) -> bool:
        """Whether a node is to be read, of which it is known until when its taint was to last."""
        if end is None:
            return True
        return end < int(verdict.until) if verdict is not None else 0 < end <= self._now()

    def _failures(self) -> Iterator[Failure]:
        for record in self._world.jobs.store.values():
            for attempt in record.status.attempts:
                if attempt.node and attempt.cause and attempt.finished_at:
                    yield Failure(record.meta.uid, attempt.node, attempt.cause, unix(attempt.finished_at))

    async def _look(self, name: str, verdict: Verdict | None) -> None:
        """Read a node, and change its taint where that is due."""
        try:
            node: dict[str, Any] = await self._client.request("GET", resource_path("nodes", "", name))
        except NotFound:
            return
        if verdict is not None and (put := bad_nodes.to_taint(node, verdict)):
            jobs = "a job" if verdict.gangs == 1 else f"{verdict.gangs} jobs"
            text = f"first to fail in {jobs}, lately with {verdict.cause}: kept free until {rfc3339(verdict.until)}"
            await self._patch(node, put, Event("Warning", Reason.BAD_NODE, text))
        elif verdict is None and (freed := bad_nodes.to_free(node, self._now())):
            await self._patch(node, freed, Event("Normal", Reason.BAD_NODE_EXPIRED, "it may be used again"))
        else:
            foreign = bad_nodes.end_of(node) is None
            self._ends[name] = (
                (float("inf") if verdict else 0.0) if foreign else bad_nodes.end_of(node) or 0.0
            )

    async def _patch(
        self, node: dict[str, Any], operations: tuple[bad_nodes.Operation, ...], event: Event
    ) -> None:
        metadata = node["metadata"]
        name, version = metadata["name"], metadata["resourceVersion"]
        owner = Owner("v1", "Node", "nodes", "", name, metadata["uid"], version)
        patch = JsonPatch("nodes", "", name, operations)
        outcome = await self._executor.apply(owner, Plan(actions=((patch,),)))
        self._ends.pop(name, None)  # to be read again: this may have come too late
        if outcome.error is not None:
            raise outcome.error
        if outcome.applied:
            await self._executor.apply(owner, Plan(events=(event,)))


def _has_taint(node: Node) -> bool:
    return any(taint.key == TAINT_BAD_NODE for taint in node.taints)
