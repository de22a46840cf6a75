"""The mirror of queues goes into the book, and their statuses are written when they differ, not too often."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from drumline.core.gang.queue_choice import QueueEntry
from drumline.core.gang.queues import NO_QUEUES, RunningGang
from drumline.core.training.observation import Settings
from drumline.runtime import queue_controller
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.errors import Forbidden, NotFound
from drumline.runtime.queue_controller import WRITE_SECONDS, QueueController
from drumline.runtime.queue_records import NamespaceRecord, read_queue
from drumline.runtime.workqueue import WorkQueue
from tests.builders import H100
from tests.unit.core.training.jobs import CATALOG, NOW

KEY = ("", "q")


class Api:
    """Remembers what is written; `gone`: there is no such queue any more."""

    def __init__(self) -> None:
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.gone = False

    async def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Any:
        if self.gone:
            raise NotFound("no such queue", status=404)
        self.written.append((path, body))
        return body


class Desk:
    """A controller of queues, and the queue "q" of 8 chips in its mirror."""

    def __init__(self) -> None:
        self.api, self.time = Api(), 0.0
        clocks = Clocks(lambda: NOW + self.time, lambda: self.time)
        self.queue: WorkQueue[tuple[str, str]] = WorkQueue()
        self.jobs = Controller(self.api, WorkQueue(), Catalogue(CATALOG), Settings(), clocks)  # type: ignore[arg-type]
        self.controller = QueueController(self.api, self.queue, self.jobs, clocks)  # type: ignore[arg-type]
        self.controller.kinds.mirrors = lambda _: True  # type: ignore[method-assign]
        self.controller._follows = True  # its namespaces are told by the test
        self.controller.namespaces.synced.set()
        self.put()

    def put(self, generation: int = 1, **spec: Any) -> None:
        raw = {"quotas": [{"accelerator": H100, "nominalQuota": 8}], "namespaceSelector": {}, **spec}
        metadata = {"name": "q", "uid": "u", "generation": generation}
        self.controller.records.store.put(KEY, read_queue({"metadata": metadata, "spec": raw}))
        self.controller._taken_in()

    async def write(self) -> float | None:
        self.controller.look()
        return await self.controller.reconcile(KEY)


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_the_book_is_as_the_mirror(desk: Desk) -> None:
    assert set(desk.jobs.book.now().queues) == {"q"}
    desk.controller.records.store.remove(KEY)
    desk.controller._taken_in()
    assert desk.jobs.book.now() is NO_QUEUES


async def test_a_status_is_written_once(desk: Desk) -> None:
    assert await desk.write() is None
    (path, body), *more = desk.api.written
    assert more == []
    assert path.endswith("/acceleratorqueues/q/status")
    assert body["metadata"] == {"uid": "u"}
    status = body["status"]
    assert (status["pending"], status["head"], status["share"]) == (0, None, None)
    assert status["usage"][0]["nominal"] == 8
    assert await desk.write() is None
    assert len(desk.api.written) == 1


async def test_figures_wait_for_their_time_and_conditions_do_not(desk: Desk) -> None:
    await desk.write()
    desk.jobs.book.hold("g", RunningGang("g", "q", H100, 4))
    desk.time = 1.0
    assert await desk.write() == WRITE_SECONDS - 1
    desk.time = WRITE_SECONDS
    await desk.write()
    assert [body["status"]["admitted"] for _, body in desk.api.written] == [0, 1]
    desk.put(2, quotas=[{"accelerator": "abacus", "nominalQuota": 1}])
    assert await desk.write() is None
    (condition,) = desk.api.written[-1][1]["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "UnknownAccelerator")


async def test_a_pass_is_due_when_the_last_pod_of_a_gang_went(desk: Desk) -> None:
    book, gone = desk.jobs.book, [False]
    book.is_gone = lambda _: gone[0]
    book.hold("g", RunningGang("g", "q", H100, 4))
    book.hold("g", None)
    before = desk.controller._version()
    assert desk.controller._version() == before
    gone[0] = True
    assert desk.controller._version() != before
    assert not book.prune(), "it was forgotten with that"
    assert len(book) == 0


async def test_a_queue_that_went_meanwhile_is_nobodys_error(desk: Desk) -> None:
    desk.api.gone = True
    assert await desk.write() is None
    assert await desk.controller.reconcile(("", "unknown")) is None


async def test_namespaces_are_known_by_their_labels(desk: Desk) -> None:
    book, on = desk.jobs.book, desk.controller._on_namespace
    on(None, NamespaceRecord("team", {"a": "1"}))
    assert book.choose("q", None, "team") == "q"
    on(NamespaceRecord("team", {"a": "1"}), None)
    assert "team" not in book.namespaces


LABELLED = {"namespaceSelector": {"matchLabels": {"team": "b"}}}


class Closed(Api):
    """Namespaces may not be read until somebody says so."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None

    async def request(self, method: str, path: str, **more: Any) -> Any:
        if not path.endswith("/namespaces"):
            return await super().request(method, path, **more)
        if self.error is not None:
            raise self.error
        item = {"metadata": {"name": "team", "uid": "n", "resourceVersion": "1", "labels": {"team": "b"}}}
        return {"items": [item], "metadata": {"resourceVersion": "1"}}

    async def stream_lines(self, path: str, params: Any, *, inactivity: float) -> Any:
        await asyncio.get_running_loop().create_future()
        yield b""


def beginning() -> tuple[Desk, Closed]:
    """A desk at which no queue and no namespace is known yet."""
    desk, api = Desk(), Closed()
    desk.controller = QueueController(api, desk.queue, desk.jobs, desk.controller._clocks)  # type: ignore[arg-type]
    desk.controller.kinds.mirrors = lambda _: True  # type: ignore[method-assign]
    desk.jobs.book.take_in({}, {})
    return desk, api


@pytest.mark.looptime
async def test_no_namespace_is_read_for_queues_that_are_for_all() -> None:
    desk, api = beginning()
    api.error = Forbidden("namespaces is forbidden", status=403)
    desk.put()
    assert not desk.jobs.book.settling
    assert desk.jobs.book.choose("q", None, "team") == "q"


@pytest.mark.looptime
async def test_the_first_queue_that_selects_is_taken_in_with_the_namespaces() -> None:
    desk, _ = beginning()
    desk.put(**LABELLED)
    assert (desk.jobs.book.settling, desk.jobs.book.now()) == (True, NO_QUEUES)
    await asyncio.sleep(1)
    assert not desk.jobs.book.settling
    assert desk.jobs.book.choose("q", None, "team") == "q"
    await desk.controller.stop()


@pytest.mark.looptime
async def test_a_right_that_is_missing_is_named_until_it_is_given() -> None:
    desk, api = beginning()
    api.error = Forbidden("namespaces is forbidden", status=403)
    desk.put(**LABELLED)
    await asyncio.sleep(1)
    book = desk.jobs.book
    assert not book.settling
    assert "right to list and watch namespaces" in str(book.choose("q", None, "team"))
    desk.controller.look()
    (condition,) = desk.controller._wanted["q"].conditions
    assert (condition.status, condition.reason) == ("False", "NamespacesUnknown")
    api.error = None
    await asyncio.sleep(20)
    assert book.choose("q", None, "team") == "q"
    desk.controller.look()
    assert desk.controller._wanted["q"].conditions[0].status == "True"
    await desk.controller.stop()


async def test_a_queue_that_is_new_is_waited_for(desk: Desk) -> None:
    record = desk.controller.records.store.get(*KEY)
    assert record is not None
    desk.controller._on_queue(None, replace(record, entry=replace(record.entry, name="new")))
    assert desk.jobs.book.settling
    desk.controller._taken_in()
    assert not desk.jobs.book.settling


async def test_an_own_status_is_no_change_of_the_queue(desk: Desk) -> None:
    record = desk.controller.records.store.get(*KEY)
    assert record is not None
    desk.controller.records.synced.set()
    desk.controller._on_queue(record, record)
    assert desk.controller._due is None
    desk.controller._on_queue(record, None)
    assert desk.controller._due is not None
    await desk.controller.stop()


async def test_metrics_tell_the_same(desk: Desk) -> None:
    desk.jobs.book.hold("g", RunningGang("g", "q", H100, 4))
    sight = desk.controller.sight()
    assert (sight.facts.admitted["q"], sight.facts.quotas.used("q", H100)) == (1, 4)
    assert sight.faulty == frozenset()
    desk.put(2, quotas=[{"accelerator": "abacus", "nominalQuota": 1}])
    desk.controller.look()
    assert desk.controller.sight().faulty == {"q"}


async def test_only_namespaces_that_have_changed_are_asked_again_whose_default_they_have(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def selects(_: QueueEntry, labels: Mapping[str, str]) -> bool:
        asked.append(labels["team"])
        return True

    monkeypatch.setattr(QueueEntry, "selects", selects)
    for name in ("q", "r"):
        metadata = {"name": name, "uid": name}
        record = read_queue({"metadata": metadata, "spec": {"default": True, "namespaceSelector": {}}})
        desk.controller.records.store.put(("", name), record)
    desk.controller._taken_in()
    for name in ("x", "y"):
        desk.controller._on_namespace(None, NamespaceRecord(name, {"team": name}))
    desk.controller.look()
    assert sorted(asked) == ["x", "x", "y", "y"]
    desk.controller.look()
    assert len(asked) == 4
    desk.controller._on_namespace(NamespaceRecord("y", {"team": "y"}), NamespaceRecord("y", {"team": "z"}))
    desk.controller.look()
    assert sorted(asked[4:]) == ["z", "z"]
    desk.controller._taken_in()
    desk.controller.look()
    assert len(asked) == 10


async def test_a_pass_that_fails_is_not_the_last(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def report(*_: Any) -> Any:
        raise ValueError("an odd queue")

    monkeypatch.setattr(queue_controller, "report", report)
    desk.controller._look_safely()
    assert "an odd queue" in caplog.text
