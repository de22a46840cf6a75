"""Devices are mirrored where their API is served, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.device_capacity import NOTHING_KNOWN, resolved
from drumline.core.gang.placement import place
from drumline.core.gang.types import Member, Placement, Pod, Refusal
from drumline.runtime.backends import ABSENT_SECONDS, REFRESH_SECONDS
from drumline.runtime.device_selectors import Selectors
from drumline.runtime.device_watch import GROUP_VERSION, DeviceWatch
from drumline.runtime.errors import ApiError, Forbidden, NotFound, Unavailable
from drumline.runtime.store import Store
from tests.builders import capacity, node
from tests.unit.core.gang.device_world import (
    claiming,
    gpus,
    raw_claim,
    raw_class,
    raw_request,
    raw_slice,
    raw_template,
)

pytestmark = pytest.mark.looptime(start=0)
CEL = "device.driver == 'gpu.example.com'"


class InPlace(Selectors):
    """Evaluates at once: of a process nothing is known to a loop whose time is not the clock's."""

    def __init__(self, _answered: Callable[[str], None]) -> None:
        super().__init__()

    async def run(self) -> None:
        """There is nothing to do."""
        await asyncio.get_running_loop().create_future()


class Api:
    """Serves one list of each kind."""

    def __init__(self, **items: dict[str, Any]) -> None:
        self.items = items
        self.listed: list[str] = []

    async def request(self, method: str, path: str, **_: Any) -> Any:
        if not self.items:
            raise NotFound("no such group", status=404)
        resource = path.rpartition("/")[2]
        self.listed.append(resource)
        item = self.items.get(resource)
        if item is not None:
            item["metadata"] = {"uid": resource, "resourceVersion": "1", **item["metadata"]}
        return {"items": [] if item is None else [item], "metadata": {"resourceVersion": "1"}}

    async def stream_lines(self, path: str, params: Any, *, inactivity: float) -> Any:
        await asyncio.get_running_loop().create_future()
        yield b""


async def mirrored(api: Api, room: Capacity, pods: Store[Pod]) -> tuple[DeviceWatch, list[str]]:
    news: list[str] = []
    watch = DeviceWatch(api, room, pods, lambda: news.append("changed"), InPlace)  # type: ignore[arg-type]
    await watch.discover()
    tasks = [asyncio.create_task(r.run()) for r in watch.reflectors]
    await asyncio.gather(*(r.synced.wait() for r in watch.reflectors))
    for task in tasks:
        task.cancel()
    return watch, news


async def test_what_is_not_served_is_not_watched() -> None:
    api, room = Api(), capacity(node("a"))
    watch, _ = await mirrored(api, room, Store())
    assert watch.reflectors == ()
    watch.pod_seen(Pod("ml", "p0", "p0-uid", member=Member("g", "g", 1, "worker", 0, 0)))
    assert isinstance(resolved(claiming("g", 1), room), Refusal)


async def test_what_is_served_is_counted_and_a_gangs_own_claims_are_its_own() -> None:
    api = Api(
        deviceclasses=raw_class("gpu", CEL),
        resourceclaimtemplates=raw_template("two", raw_request(2)),
        resourceslices=raw_slice("a", *gpus(4)),
        resourceclaims=raw_claim("c0", "a", "gpu-0", "gpu-1", pod="p0"),
    )
    room, pods = capacity(node("a", gpus=0)), Store[Pod]()
    watch, news = await mirrored(api, room, pods)
    assert len(news) == 4
    request = resolved(claiming("g", 2), room)
    assert not isinstance(request, Refusal)
    assert isinstance(place(request, room), Refusal)
    room.reserve(request, Placement(("a", "a")))
    assert room.now.used("a")["devices of class gpu"] == 6
    watch.pod_seen(Pod("ml", "p0", "p0-uid", member=Member("g", "g", 1, "worker", 0, 0)))
    assert room.now.used("a")["devices of class gpu"] == 4


async def test_a_claim_is_the_gangs_whose_pod_it_was_made_for() -> None:
    api = Api(resourceclaims=raw_claim("c0", "a", "gpu-0", pod="p0"))
    room, pods = capacity(node("a", gpus=0)), Store[Pod]()
    member = Member("g", "g", 1, "worker", 0, 0)
    pods.put(("ml", "p0"), Pod("ml", "p0", "p0-uid", member=member))
    watch, _ = await mirrored(api, room, pods)
    assert watch._member_of(("ml", "p0"), "p0-uid") == member
    assert watch._member_of(("ml", "p0"), "another") is None


@pytest.mark.parametrize("error", [Unavailable("away", status=503), Forbidden("not yet", status=403)])
async def test_an_api_server_that_has_only_begun_is_asked_until_it_knows(error: ApiError) -> None:
    api = Api(deviceclasses=raw_class())
    errors, asked = [error, error], api.request

    async def late(method: str, path: str, **more: Any) -> Any:
        if errors:
            raise errors.pop()
        return await asked(method, path, **more)

    api.request = late  # type: ignore[method-assign]
    watch, _ = await mirrored(api, capacity([]), Store[Pod]())
    assert len(watch.reflectors) == 4


class Late(Api):
    """Serves nothing until `items` are put."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.held_back = asyncio.Event()  # what the list of claims waits for
        self.held_back.set()

    async def request(self, method: str, path: str, **more: Any) -> Any:
        self.asked += path == GROUP_VERSION
        if path.endswith("/resourceclaims") and self.items:
            await self.held_back.wait()
        return await super().request(method, path, **more)


def everything() -> dict[str, dict[str, Any]]:
    return {
        "deviceclasses": raw_class("gpu", CEL),
        "resourceclaimtemplates": raw_template("two", raw_request(2)),
        "resourceslices": raw_slice("a", *gpus(4)),
        "resourceclaims": raw_claim("c0", "a", "gpu-0", "gpu-1", "gpu-2"),
    }


async def test_an_api_that_comes_later_counts_once_all_of_it_is_seen() -> None:
    api, room, news = Late(), capacity(node("a", gpus=0)), asyncio.Event()
    watch = DeviceWatch(api, room, Store(), news.set, InPlace)  # type: ignore[arg-type]
    await watch.discover()
    following = asyncio.create_task(watch.follow())
    assert resolved(claiming("g", 1), room) == NOTHING_KNOWN
    room.reserve(claiming("other", 1), Placement(("a",)))
    await asyncio.sleep(3 * ABSENT_SECONDS)
    assert api.asked > 2, "soon, as somebody wants devices"
    api.items = everything()
    api.held_back.clear()
    await asyncio.sleep(2 * ABSENT_SECONDS)
    assert "resourceslices" in api.listed
    assert resolved(claiming("g", 1), room) == NOTHING_KNOWN, "who has which device is not known yet"
    news.clear()
    api.held_back.set()
    await asyncio.wait_for(news.wait(), 1)
    while not watch.reflectors:
        await asyncio.sleep(0)
    found = resolved(claiming("g", 1), room)
    assert not isinstance(found, Refusal), found
    assert isinstance(place(found, room), Refusal), "three of the four are another's"
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following


async def test_an_api_that_nobody_wants_is_asked_for_seldom() -> None:
    api = Late()
    watch = DeviceWatch(api, capacity(node("a")), Store(), lambda: None, InPlace)  # type: ignore[arg-type]
    await watch.discover()
    following = asyncio.create_task(watch.follow())
    await asyncio.sleep(3.5 * REFRESH_SECONDS)
    assert 3 <= api.asked <= 6
    following.cancel()


async def test_what_is_served_from_the_beginning_is_waited_for_no_more() -> None:
    api = Api(**everything())
    watch = DeviceWatch(api, capacity(node("a")), Store(), lambda: None, InPlace)  # type: ignore[arg-type]
    await watch.discover()
    assert len(watch.reflectors) == 4
    following, listed = asyncio.create_task(watch.follow()), len(api.listed)
    await asyncio.sleep(2 * REFRESH_SECONDS)
    assert len(api.listed) == listed
    following.cancel()


async def test_an_api_server_that_is_away_while_the_api_is_waited_for_is_asked_again() -> None:
    api, room, failing = Late(), capacity(node("a")), [True]
    watch = DeviceWatch(api, room, Store(), lambda: None, InPlace)  # type: ignore[arg-type]
    await watch.discover()
    asked = api.request

    async def away(method: str, path: str, **more: Any) -> Any:
        if failing:
            failing.pop()
            raise Unavailable("away", status=503)
        return await asked(method, path, **more)

    api.request, api.items = away, everything()  # type: ignore[method-assign]
    following = asyncio.create_task(watch.follow())
    assert resolved(claiming("g", 1), room) == NOTHING_KNOWN
    await asyncio.sleep(3 * ABSENT_SECONDS)
    assert len(watch.reflectors) == 4
    following.cancel()
