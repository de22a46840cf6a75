"""Kinds that a cluster has, gets later, or loses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from drumline.runtime.errors import NotFound, Unavailable
from drumline.runtime.service_kinds import LOOK_SECONDS, Kinds

pytestmark = pytest.mark.looptime(start=0)

ROUTES = "/apis/gateway.networking.k8s.io/v1"
POOLS = "/apis/inference.networking.k8s.io/v1"


class Api:
    """What is served, by group and version."""

    def __init__(self, **served: str) -> None:
        self.served: dict[str, list[str]] = {}
        self.away = 0

    async def request(self, method: str, path: str, **_: Any) -> Any:
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        if path not in self.served:
            raise NotFound("no such group", status=404)
        return {"resources": [{"name": name} for name in self.served[path]]}


class Mirror:
    """A reflector that lists after a second."""

    def __init__(self) -> None:
        self.synced = asyncio.Event()
        self.resource_version = ""
        self.running = 0

    async def run(self) -> None:
        self.running += 1
        try:
            await asyncio.sleep(1)
            self.resource_version = "7"
            self.synced.set()
            await asyncio.Event().wait()
        finally:
            self.running -= 1


class Hall:
    def __init__(self) -> None:
        self.api = Api()
        self.routes, self.pools = Mirror(), Mirror()
        self.news = 0
        mirrors: Any = {"httproutes": self.routes, "inferencepools": self.pools}
        self.kinds = Kinds(self.api, mirrors, self.heard)  # type: ignore[arg-type]

    def heard(self) -> None:
        self.news += 1


async def test_a_kind_is_mirrored_where_it_is_served_and_another_left_out() -> None:
    hall = Hall()
    hall.api.served = {ROUTES: ["httproutes", "gateways"]}
    await hall.kinds.start(["httproutes", "inferencepools"])
    assert hall.kinds.served("httproutes")
    assert not hall.kinds.served("inferencepools")
    assert (hall.routes.running, hall.pools.running) == (1, 0)
    await hall.kinds.stop()
    assert hall.routes.running == 0


async def test_a_server_that_is_away_is_asked_again() -> None:
    hall = Hall()
    hall.api.served, hall.api.away = {ROUTES: ["httproutes"]}, 3
    await hall.kinds.start(["httproutes"])
    assert hall.kinds.served("httproutes")
    await hall.kinds.stop()


async def test_a_kind_that_comes_later_is_used_and_one_that_goes_is_not() -> None:
    hall = Hall()
    await hall.kinds.start(["httproutes"])
    looking = asyncio.create_task(hall.kinds.run())
    hall.api.served = {POOLS: ["inferencepools"]}
    await asyncio.sleep(LOOK_SECONDS + 2)
    assert hall.kinds.served("inferencepools")
    assert hall.news == 1
    hall.api.away = 1
    await asyncio.sleep(LOOK_SECONDS)
    assert hall.kinds.served("inferencepools")
    hall.api.served = {}
    await asyncio.sleep(LOOK_SECONDS)
    assert not hall.kinds.served("inferencepools")
    assert (hall.pools.running, hall.pools.resource_version, hall.news) == (0, "", 2)
    hall.api.served = {POOLS: ["inferencepools"]}
    await asyncio.sleep(LOOK_SECONDS)
    assert hall.kinds.served("inferencepools")
    looking.cancel()
    await hall.kinds.stop()
