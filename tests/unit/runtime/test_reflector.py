import asyncio
from typing import Any

import orjson
import pytest

from drumline.runtime.errors import Gone, NotFound, Unavailable
from drumline.runtime.reflector import Reflector
from drumline.runtime.store import Store

pytestmark = pytest.mark.looptime


def pod(name: str, version: int, uid: str | None = None, node: str = "") -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"nodeName": node}}


def event(kind: str, document: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "object": document})


def error(code: int) -> bytes:
    return event("ERROR", {"kind": "Status", "code": code, "reason": "Expired" if code == 410 else ""})


class Script:
    """Plays the API server: pages of lists and streams, in order; an exception is raised."""

    def __init__(self) -> None:
        self.pages: list[dict[str, Any] | Exception] = []
        self.streams: list[list[bytes | Exception]] = []
        self.lists: list[dict[str, Any]] = []
        self.watches: list[dict[str, Any]] = []

    def page(self, version: int, *items: dict[str, Any], more: str = "") -> None:
        self.pages.append(
            {"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)}
        )

    async def request(self, method: str, path: str, *, params: dict[str, Any], seconds: float) -> Any:
        self.lists.append(params)
        answer = self.pages.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def stream_lines(self, path: str, params: dict[str, Any], *, inactivity: float) -> Any:
        self.watches.append(params)
        if not self.streams:
            await asyncio.get_running_loop().create_future()
        for line in self.streams.pop(0):
            if isinstance(line, Exception):
                raise line
            yield line


class Mirror:
    """A reflector of a script, and what its handler was told."""

    def __init__(self, script: Script, **options: Any) -> None:
        self.script = script
        self.told: list[tuple[Any, Any]] = []
        self.store: Store[str] = Store({"self": lambda value: value})
        self.reflector = Reflector(
            script, "/api/v1/pods", self.project, self.note, store=self.store, **options
        )

    def project(self, document: dict[str, Any]) -> str | None:
        if document["spec"]["nodeName"] == "broken":
            raise ValueError("cannot read")
        if document["spec"]["nodeName"] == "other":
            return None
        return f"{document['metadata']['name']}@{document['spec']['nodeName']}"

    def note(self, old: str | None, new: str | None) -> None:
        self.told.append((old, new))
        if new == "a@angry":
            raise RuntimeError("handler")

    async def run(self, seconds: float = 600) -> None:
        task = asyncio.create_task(self.reflector.run())
        await asyncio.sleep(seconds)
        assert not task.done(), task
        task.cancel()


async def test_lists_in_pages_then_watches_from_there() -> None:
    script = Script()
    script.page(7, pod("a", 3), more="token")
    script.page(7, pod("b", 4))
    script.streams = [[event("MODIFIED", pod("a", 8, node="n")), event("DELETED", pod("b", 9))]]
    mirror = Mirror(script, label_selector="x=y")
    await mirror.run()
    assert script.lists == [
        {"labelSelector": "x=y", "limit": 500},
        {"labelSelector": "x=y", "limit": 500, "continue": "token"},
    ]
    assert [watch["resourceVersion"] for watch in script.watches] == ["7", "9"]
    assert script.watches[0]["allowWatchBookmarks"] == "true"
    assert mirror.told == [(None, "a@"), (None, "b@"), ("a@", "a@n"), ("b@", None)]
    assert list(mirror.store.by("self", "a@n")) == [("ns", "a")]
    assert mirror.reflector.synced.is_set()


async def test_is_not_synced_before_the_last_page() -> None:
    script = Script()
    script.page(7, pod("a", 3), more="token")
    script.pages += [Unavailable("down"), Unavailable("down")]
    mirror = Mirror(script)
    task = asyncio.create_task(mirror.reflector.run())
    await asyncio.sleep(0.01)
    assert len(script.lists) == 2
    assert not mirror.reflector.synced.is_set()
    task.cancel()


@pytest.mark.parametrize("how", ["event", "status"])
async def test_expired_version_lists_again_and_drops_what_vanished(how: str) -> None:
    script = Script()
    script.page(7, pod("a", 3), pod("b", 4), pod("c", 5))
    script.page(20, pod("a", 3), pod("c", 15, uid="reborn"))
    script.streams = [[error(410)] if how == "event" else [Gone("expired", status=410)]]
    mirror = Mirror(script)
    await mirror.run()
    assert mirror.told[3:] == [("c@", None), (None, "c@"), ("b@", None)]
    assert sorted(name for _, name in mirror.store) == ["a", "c"]
    assert mirror.reflector.lists == 2


async def test_bookmark_moves_the_version_on() -> None:
    script = Script()
    script.page(7)
    script.streams = [[event("BOOKMARK", {"metadata": {"resourceVersion": "50"}})]]
    mirror = Mirror(script)
    await mirror.run()
    assert [watch["resourceVersion"] for watch in script.watches] == ["7", "50"]
    assert mirror.told == []


async def test_lost_stream_is_taken_up_where_it_broke() -> None:
    script = Script()
    script.page(7, pod("a", 3))
    script.streams = [[event("MODIFIED", pod("a", 8, node="n")), Unavailable("reset")], [Unavailable("down")]]
    mirror = Mirror(script)
    await mirror.run()
    assert [watch["resourceVersion"] for watch in script.watches] == ["7", "8", "8"]
    assert mirror.reflector.lists == 1


async def test_lists_again_when_watching_keeps_failing() -> None:
    script = Script()
    script.page(7, pod("a", 3))
    script.page(30, pod("a", 25, node="n"))
    script.streams = [[Unavailable("down")] for _ in range(5)]
    mirror = Mirror(script)
    await mirror.run()
    assert mirror.reflector.lists == 2
    assert mirror.told == [(None, "a@"), ("a@", "a@n")]


@pytest.mark.parametrize("streams", [[[Gone("expired", status=410)]], [[Unavailable("down")]] * 5])
async def test_is_outdated_from_when_it_has_to_list_again_until_it_has(
    streams: list[list[Exception]],
) -> None:
    script = Script()
    script.page(7, pod("a", 3))
    script.pages += [Unavailable("down")] * 3
    script.page(30, pod("a", 25, node="n"))
    script.streams = [*streams]
    mirror = Mirror(script)
    seen = []

    async def look() -> None:
        while mirror.reflector.lists < 2:
            if mirror.reflector.synced.is_set():
                seen.append((mirror.reflector.outdated, len(script.lists) > 1))
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(look())
    await mirror.run()
    assert watching.done()
    assert mirror.reflector.outdated is False
    assert {outdated for outdated, listing in seen if listing} == {True}


async def test_waits_for_a_kind_that_is_not_there_yet() -> None:
    script = Script()
    script.pages += [NotFound("no such kind", status=404)] * 4
    script.page(3, pod("a", 2))
    mirror = Mirror(script)
    await mirror.run()
    assert len(mirror.store) == 1


async def test_stream_that_ends_at_once_does_not_spin() -> None:
    script = Script()
    script.page(7)
    script.streams = [[] for _ in range(500)]
    mirror = Mirror(script)
    await mirror.run(seconds=10)
    assert len(script.watches) < 120


async def test_line_that_is_no_event_is_a_failed_watch() -> None:
    script = Script()
    script.page(7)
    script.streams = [[b"<html>"], [b"{}"], [event("ADDED", pod("a", 8))]]
    mirror = Mirror(script)
    await mirror.run()
    assert mirror.told == [(None, "a@")]


async def test_unreadable_object_costs_only_itself() -> None:
    script = Script()
    script.page(7, pod("a", 1), pod("b", 2, node="broken"), pod("c", 3))
    script.streams = [
        [event("MODIFIED", pod("a", 8, node="broken")), event("MODIFIED", pod("c", 9, node="n"))]
    ]
    mirror = Mirror(script)
    await mirror.run()
    assert set(mirror.store.values()) == {"a@", "c@n"}
    assert mirror.reflector.failures == 2


async def test_failing_handler_costs_only_its_event() -> None:
    script = Script()
    script.page(7, pod("a", 1))
    script.streams = [
        [event("MODIFIED", pod("a", 8, node="angry")), event("MODIFIED", pod("a", 9, node="n"))]
    ]
    mirror = Mirror(script)
    await mirror.run()
    assert mirror.told[-1] == ("a@angry", "a@n")
    assert mirror.reflector.failures == 1


async def test_projection_can_leave_objects_out_and_let_them_go() -> None:
    script = Script()
    script.page(7, pod("a", 1), pod("b", 2, node="other"))
    script.streams = [[event("MODIFIED", pod("a", 8, node="other")), event("DELETED", pod("b", 9))]]
    mirror = Mirror(script)
    await mirror.run()
    assert mirror.told == [(None, "a@"), ("a@", None)]
    assert len(mirror.store) == 0


async def test_unchanged_objects_are_not_told_again_on_relist() -> None:
    script = Script()
    script.page(7, pod("a", 1))
    script.page(9, pod("a", 1))
    script.streams = [[error(410)]]
    mirror = Mirror(script)
    await mirror.run()
    assert mirror.told == [(None, "a@")]


async def test_says_which_list_the_store_shows() -> None:
    script, heard = Script(), []
    script.page(7, pod("a", 1), more="next")
    script.page(7, pod("b", 1))
    mirror = Mirror(script, on_listed=lambda version: heard.append((version, len(mirror.store))))
    task = asyncio.create_task(mirror.reflector.run())
    await mirror.reflector.synced.wait()
    assert heard == [("7", 2)]
    task.cancel()
