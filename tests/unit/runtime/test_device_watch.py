"""Devices are mirrored where their API is served, and nowhere else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.device_capacity import resolved
from drumline.core.gang.placement import place
from drumline.core.gang.types import Member, Placement, Pod, Refusal
from drumline.runtime.device_watch import DeviceWatch
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
    watch = DeviceWatch(api, room, pods, lambda: news.append("changed"))  # type: ignore[arg-type]
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
