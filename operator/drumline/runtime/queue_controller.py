"""AcceleratorQueues: mirrored into the book, and told what becomes of them in their status.

Every replica mirrors the queues before it may lead, so that no round is ever held without them. From the moment that
another queue is known until it is taken in nobody is admitted who is in none. Namespaces are mirrored from the first queue
on that asks for their labels: nobody else does. Where they may not be read, the queues that ask say so. Where the API
server does not serve the kind there are no queues.

The leader looks at all queues again when something has changed that their statuses tell, at most once in `PASS_SECONDS`.
A status that differs is written, each at most once in `WRITE_SECONDS`, or less often where there are many queues; one
that has another condition, or speaks of another spec, at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.meta import ACCELERATOR_QUEUE, ACCELERATOR_QUEUES
from drumline.api.queue import AcceleratorQueueStatus
from drumline.api.reasons import QueueCondition
from drumline.api.validation_queue import unknown_accelerators
from drumline.core.gang.conditions import find
from drumline.core.gang.queue_choice import Defaults, asks_namespaces, rivals
from drumline.core.gang.queue_report import Facts, Faults, Lines, heads, report
from drumline.core.gang.types import Refusal
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.errors import NotFound, TerminalError
from drumline.runtime.http import MERGE_PATCH, Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.metrics_queues import QueueSight, queue_lines
from drumline.runtime.queue_records import NamespaceRecord, QueueRecord, read_namespace, read_queue
from drumline.runtime.reflector import Reflector
from drumline.runtime.service_kinds import Kinds
from drumline.runtime.shell_life import Lane, Queue
from drumline.runtime.workqueue import WorkQueue

Key = tuple[str, str]

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.05  # between looks whether namespaces are known
SETTLE_SECONDS: Final = 0.05  # after a change of queues: what arrives together is taken in together
PASS_SECONDS: Final = 1.0
GANGS_PER_SECOND: Final = 20_000  # that are looked at in passes
WRITE_SECONDS: Final = 5.0
NO_RIGHT: Final = (
    "the operator needs the right to list and watch namespaces, by whose labels queues select them"
)
ECHO_SECONDS: Final = 30.0  # within which the mirror shows what was written
WRITES_PER_SECOND: Final = 20.0  # of all queues together


class QueueController:
    """Keeps the book's queues up to date, and the queues' statuses; beside the TrainingJobs of `shared`."""

    def __init__(self, client: Client, queue: WorkQueue[Key], shared: Controller, clocks: Clocks) -> None:
        self._client = client
        self._queue = queue
        self._shared = shared
        self._book = shared.book
        self._clocks = clocks
        self.records = Reflector(client, resource_path(ACCELERATOR_QUEUES), read_queue, self._on_queue)
        self.namespaces = Reflector(client, resource_path("namespaces"), read_namespace, self._on_namespace)
        self.kinds = Kinds(client, {ACCELERATOR_QUEUES: self.records}, self._take_in)
        self._tasks: list[asyncio.Task[None]] = []
        self._follows = False  # namespaces
        self._due: asyncio.TimerHandle | None = None
        self._wanted: dict[str, AcceleratorQueueStatus] = {}
        self._written: dict[str, tuple[AcceleratorQueueStatus, float]] = {}  # and when, monotonic
        self._seen: tuple[object, ...] = ()  # of what the last pass told
        self._defaults: Defaults = {}

    async def mirror(self) -> None:
        """Mirror the queues, and the namespaces where there is one. Every replica does this."""
        await self.kinds.start((ACCELERATOR_QUEUES,))
        self._taken_in()
        self._tasks.append(asyncio.create_task(self.kinds.run()))
        while self._book.settling:  # noqa: ASYNC110 - a server that refuses sets no event
            await asyncio.sleep(LOOK_SECONDS)

    async def start(self) -> None:
        """As leader: tell the queues what becomes of them."""
        self._tasks.append(asyncio.create_task(self._run()))

    async def stop(self) -> None:
        """Stop mirroring and telling."""
        if self._due is not None:
            self._due.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.kinds.stop()

    async def reconcile(self, key: Key) -> float | None:
        """Write the status that a queue should have, if it is time."""
        record, status = self.records.store.get(*key), self._wanted.get(key[1])
        if record is None or status is None or status == self._shown(record):
            return None
        wait = self._pause(record, status)
        if wait > 0:
            return wait
        body = {"metadata": {"uid": record.uid}, "status": _patch(status)}
        path = resource_path(ACCELERATOR_QUEUES, name=record.name, subresource="status")
        try:
            await self._client.request("PATCH", path, body=body, content_type=MERGE_PATCH)
        except NotFound:
            return None
        self._written[record.name] = status, self._clocks.monotonic()
        return None

    def look(self) -> None:
        """Have the statuses written that differ from what they should be."""
        watts = {key: entry.watts for key, entry in self._shared.catalogue.current.items() if entry.watts}
        facts, faults = Facts.of(self._book.now(), watts), self._faults()
        pending, first = heads(self._shared.admitter.waiting())
        self._wanted.clear()
        for record in self.records.store.values():
            head = first.get(record.name)
            answer = self._shared.admitter.answer(head.uid) if head is not None else None
            lines = Lines(pending[record.name], head, answer if isinstance(answer, Refusal) else None)
            before, generation = self._shown(record), record.generation
            fault, now = faults[record.name], self._clocks.now()
            status = report(record.entry, generation, facts, lines, fault, before, now)
            self._wanted[record.name] = status
            if status != before:
                self._queue.add(("", record.name))

    def sight(self) -> QueueSight:
        """What metrics tell."""
        queues = self._book.now()
        pending, first = heads(self._shared.admitter.waiting())
        named, faulty = self._book.evictions.named, frozenset(self._faulty())
        return QueueSight(queues.queues, Facts.of(queues), pending, first, named, faulty)

    def _faulty(self) -> Iterator[str]:
        for record in self.records.store.values():
            found = find((self._wanted.get(record.name) or record.status).conditions, QueueCondition.ACTIVE)
            if found is not None and found.status != "True":
                yield record.name

    async def _run(self) -> None:
        while True:
            if self._book.prune():
                self._shared.capacity_changed()
            if self._book.entries and (seen := self._version()) != self._seen:
                self._seen = seen
                self._look_safely()
            gangs = len(self._shared.admitter) + len(self._book)
            await asyncio.sleep(max(PASS_SECONDS, gangs / GANGS_PER_SECOND))

    def _look_safely(self) -> None:
        try:
            self.look()
        except Exception:
            logger.exception("cannot say what becomes of queues; looking again at the next change")

    def _version(self) -> tuple[object, ...]:
        """Of all that a status tells."""
        self._book.prune()
        return self._book.changes, self._shared.admitter.changes, self._shared.catalogue.current

    def _faults(self) -> dict[str, Faults]:
        found = rivals(self._book.entries, self._book.namespaces, self._defaults)
        catalog = self._shared.catalogue.current
        return {
            record.name: Faults(
                _unknown(record, catalog),
                found.get(record.name),
                self._book.unseen if record.entry.asks_labels else "",
            )
            for record in self.records.store.values()
        }

    def _shown(self, record: QueueRecord) -> AcceleratorQueueStatus:
        """The status that the queue has, its last write included, which the mirror may not show yet."""
        written = self._written.get(record.name)
        if written is None or self._clocks.monotonic() - written[1] > ECHO_SECONDS:
            return record.status
        return written[0]

    def _pause(self, record: QueueRecord, status: AcceleratorQueueStatus) -> float:
        """Seconds until the status may be written."""
        known = self._written.get(record.name)
        if known is None or (known[0].conditions, known[0].observed_generation) != (
            status.conditions,
            status.observed_generation,
        ):
            return 0.0
        pause = max(WRITE_SECONDS, len(self.records.store) / WRITES_PER_SECOND)
        return known[1] + pause - self._clocks.monotonic()

    def _on_queue(self, old: QueueRecord | None, new: QueueRecord | None) -> None:
        if old is not None and new is not None and (old.uid, old.generation) == (new.uid, new.generation):
            return  # a status, ours as a rule
        if new is None and old is not None:
            self._written.pop(old.name, None)
        if new is not None and new.name not in self._book.entries:
            self._book.settling = True
        if self.records.synced.is_set():
            self._take_in()

    def _take_in(self) -> None:
        """Have the book as the mirror is, and everybody who waits look again a moment later."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._taken_in)

    def _taken_in(self) -> None:
        self._due = None
        served = self.kinds.mirrors(ACCELERATOR_QUEUES)
        records = list(self.records.store.values()) if served else []
        if asks_namespaces(record.entry for record in records) and not self._knows_namespaces():
            self._book.settling = True
            return
        self._defaults.clear()
        self._book.take_in({r.name: r.entry for r in records}, {r.name: r.queue for r in records})
        self._shared.world.queues_changed()

    def _knows_namespaces(self) -> bool:
        """Whether they are known, or it is known that they may not be read; else the queues are taken in when they are."""
        if not self._follows:
            self._follows = True
            self._tasks.append(asyncio.create_task(self.namespaces.run()))
            self._tasks.append(asyncio.create_task(self._once_known()))
        return self.namespaces.synced.is_set() or bool(self._book.unseen)

    async def _once_known(self) -> None:
        """Take the queues in once namespaces are known, and before that as soon as they are refused."""
        while not self.namespaces.synced.is_set():
            error = self.namespaces.error
            unseen = f"{NO_RIGHT}: {error}" if isinstance(error, TerminalError) else self._book.unseen
            if unseen != self._book.unseen:
                self._book.unseen = unseen
                self._take_in()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.namespaces.synced.wait(), LOOK_SECONDS)
        self._book.unseen = ""
        self._take_in()

    def _on_namespace(self, old: NamespaceRecord | None, new: NamespaceRecord | None) -> None:
        if old is not None and new is not None and old.labels == new.labels:
            return
        if new is not None:
            self._book.namespaces[new.name] = new.labels
        elif old is not None:
            self._book.namespaces.pop(old.name, None)
        if (record := new or old) is not None:
            self._defaults.pop(record.name, None)
        self._book.changes += 1
        if self.namespaces.synced.is_set() and new is not None:
            self._shared.world.queues_changed(new.name)


def _unknown(record: QueueRecord, catalog: Catalog) -> tuple[FieldError, ...]:
    return unknown_accelerators(record.entry.spec, catalog) if record.entry.spec is not None else ()


def _patch(status: AcceleratorQueueStatus) -> dict[str, Any]:
    """A merge patch to that status from any other: what is absent is taken away."""
    return {"head": None, "share": None, **status.to_json()}


def queue_lane(
    client: Client, shared: Controller, clocks: Clocks
) -> tuple[Lane, Callable[[], Iterator[str]]]:
    """The lane of AcceleratorQueues, and the text of their metrics."""
    queue: Queue = WorkQueue()
    controller = QueueController(client, queue, shared, clocks)
    lines = partial(queue_lines, controller.sight)
    return Lane(ACCELERATOR_QUEUE, ACCELERATOR_QUEUES, controller, queue), lines
