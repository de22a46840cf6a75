"""Leaders are looked at as often as it matters, and a service hears of what a decision may wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from drumline.api.engines import preset
from drumline.api.inference_model import Engine
from drumline.api.inference_status import RolloutPhase
from drumline.core.inference.signals import Scaling
from drumline.runtime import service_scrape
from drumline.runtime.service_scrape import MAX_NAMED, Leader, Target, look, sampled
from drumline.runtime.service_signals import (
    DECIDING_SECONDS,
    DRAINING_SECONDS,
    IDLE_SECONDS,
    ServiceSignals,
)
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NOW, UID

METRICS = preset(Engine.VLLM).signals
SCALED = services.spec(
    services.role(
        autoscaling={"minReplicas": 1, "maxReplicas": 4, "metrics": [{"name": "waiting", "target": 2}]}
    )
)


def text(waiting: int = 0, running: int = 0, answered: int = 0) -> str:
    return (
        "# TYPE vllm:num_requests_waiting gauge\n"
        f'vllm:num_requests_waiting{{engine="0"}} {waiting}.0\n'
        f'vllm:num_requests_running{{engine="0"}} {running}.0\n'
        "# TYPE vllm:request_success counter\n"
        f'vllm:request_success_total{{finished_reason="stop"}} {answered}.0\n'
        "python_info 1.0\nmalformed{ 1\n"
    )


class Engines:
    """One page for all leaders, or none."""

    def __init__(self) -> None:
        self.page: str | None = text()
        self.asked = 0
        self.port = 0


class Hall:
    """Signals under a clock that the test turns."""

    def __init__(self, engines: Engines) -> None:
        self.now = NOW
        self.woken: list[tuple[str, str]] = []
        self.engines = engines
        self.signals = ServiceSignals(lambda: self.now, self.woken.append)

    def follow(self, observation: Any) -> None:
        """As a reconcile does, with the leaders here."""
        pods = {
            group: tuple(replace(p, ips=("127.0.0.1",) if p.ips else ()) for p in members)
            for group, members in observation.pods.items()
        }
        role = observation.spec.roles[0].model_copy(update={"port": self.engines.port})
        spec = observation.spec.model_copy(update={"roles": (role,)})
        self.signals.follow(replace(observation, pods=pods, spec=spec))

    async def tick(self, seconds: float = 0.0) -> None:
        """Time passes, and what is due is looked at."""
        self.now += seconds
        async with aiohttp.ClientSession() as session:
            for service in list(self.signals._services.values()):
                if self.signals._due(service):
                    await self.signals._round_safely(session, service)

    def of(self, group: int = 0) -> Any:
        return self.signals.of(UID).of("serve", group)


@pytest.fixture
async def engines() -> AsyncIterator[Engines]:
    made = Engines()

    async def handle(_: web.Request) -> web.StreamResponse:
        made.asked += 1
        if made.page is None:
            raise web.HTTPServiceUnavailable
        return web.Response(text=made.page)

    application = web.Application()
    application.router.add_get("/metrics", handle)
    async with TestServer(application) as server:
        assert server.port is not None
        made.port = server.port
        yield made


@pytest.fixture
async def hall(engines: Engines) -> Hall:
    return Hall(engines)


async def test_a_leader_in_service_is_looked_at_now_and_then(hall, engines):
    hall.follow(services.serving())
    engines.page = text(waiting=1, running=2)
    await hall.tick()
    assert hall.of().latest.in_flight == 3
    await hall.tick(IDLE_SECONDS - 1)
    assert engines.asked == 1
    engines.page = text(answered=30)
    await hall.tick(1)
    assert engines.asked == 2
    assert hall.of().window.requests == 30
    assert hall.of().since_ready.requests == 30
    assert [s.at for s in hall.of().samples] == [NOW, NOW + IDLE_SECONDS]
    assert hall.woken == []


async def test_metrics_that_cannot_be_had_are_visible_as_such(hall, engines):
    hall.follow(services.serving())
    engines.page = None
    await hall.tick()
    await hall.tick(IDLE_SECONDS)
    assert (hall.of().latest, hall.of().failing_since) == (None, NOW)
    engines.page = text()
    await hall.tick(IDLE_SECONDS)
    assert hall.of().failing_since is None
    assert hall.of().latest is not None


async def test_nobody_is_looked_at_who_is_not_up(hall, engines):
    starting = services.with_groups(services.service(), "serve", services.starting())
    pending = services.pods_of("serve", services.starting())
    hall.follow(services.with_pods(starting, "serve", 0, pending))
    await hall.tick()
    ended = [services.failed(services.up(p)) for p in pending]
    hall.follow(services.with_pods(starting, "serve", 0, ended))
    await hall.tick()
    hall.follow(services.with_groups(services.serving(), "serve", services.waiting()))
    await hall.tick()
    assert engines.asked == 0


async def test_what_an_earlier_attempt_said_is_forgotten(hall):
    hall.follow(services.serving())
    await hall.tick()
    assert hall.of().latest is not None
    again = services.with_groups(services.service(), "serve", services.group(attempt=2))
    pods = services.in_service(services.pods_of("serve", services.group(attempt=2)))
    hall.follow(services.with_pods(again, "serve", 0, pods))
    assert hall.of().latest is None


async def test_a_group_that_drains_is_looked_at_often_and_heard_of_when_it_is_empty(hall, engines):
    hall.follow(services.serving())
    await hall.tick()
    going = services.with_groups(services.serving(), "serve", services.draining())
    engines.page = text(running=1)
    hall.follow(going)
    await hall.tick(DRAINING_SECONDS)
    await hall.tick(DRAINING_SECONDS)
    assert (engines.asked, hall.woken) == (3, [])
    engines.page = text()
    await hall.tick(DRAINING_SECONDS)
    assert hall.woken == [("ns", "chat")]


async def test_the_autoscalers_word_is_heard_of_when_it_changes(hall, engines):
    seen = []

    def scale(observation, now):
        seen.append((observation.signals.of("serve", 0).latest.waiting, now))
        return {"serve": Scaling(2 if seen[-1][0] else 1)}

    hall.signals.scale = scale
    hall.follow(services.serving(services.service(SCALED)))
    await hall.tick()
    assert (seen, hall.woken) == ([(0, NOW)], [("ns", "chat")])
    await hall.tick(DECIDING_SECONDS)
    assert len(hall.woken) == 1
    engines.page = text(waiting=9)
    await hall.tick(DECIDING_SECONDS)
    assert len(hall.woken) == 2
    assert hall.signals.of(UID).scaling["serve"].desired == 2
    assert seen[-1] == (9, NOW + 2 * DECIDING_SECONDS)


async def test_a_canary_is_heard_of_while_it_is_measured(hall):
    observation = services.serving()
    rollout = observation.status.rollout.model_copy(update={"phase": RolloutPhase.CANARY})
    status = observation.status.model_copy(update={"rollout": rollout})
    hall.follow(replace(observation, status=status))
    await hall.tick()
    await hall.tick(DECIDING_SECONDS)
    assert len(hall.woken) == 2


async def test_who_may_hold_no_request_any_more_holds_none(hall, engines):
    told = []
    hall.signals.held = lambda uid, requests: told.append((uid, requests))
    hall.follow(services.serving(services.service(SCALED)))
    await hall.tick()
    assert told == [(UID, 0.0)]


async def test_an_autoscaler_that_fails_harms_no_other_service(hall, caplog):
    def scale(_observation, _now):
        raise ZeroDivisionError("odd")

    hall.signals.scale = scale
    hall.follow(services.serving(services.service(SCALED)))
    await hall.tick()
    assert "cannot be looked at" in caplog.text
    assert hall.of().latest is not None


async def test_it_runs_until_it_is_cancelled(hall, engines):
    hall.follow(services.serving())
    task = asyncio.create_task(hall.signals.run())
    async with asyncio.timeout(10):
        while not engines.asked:
            await asyncio.sleep(0.01)
    hall.signals.forget(UID)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert hall.signals.of(UID).groups == {}


@pytest.mark.parametrize(
    "line", ["vllm:num_requests_waitingxl \t \tN=5{, =e} 1", "vllm:num_requests_waiting{"]
)
def test_whatever_a_pod_answers_is_a_value_error_at_most(line):
    with pytest.raises(ValueError, match=r".+"):
        sampled(line, METRICS, NOW)


def test_only_the_named_metrics_are_parsed_and_not_too_many_of_them():
    sample = sampled(text(1, 2, 3), METRICS, NOW)
    assert (sample.waiting, sample.running, sample.requests) == (1, 2, 3)
    with pytest.raises(ValueError, match="more than"):
        sampled("vllm:num_requests_waiting 1\n" * (MAX_NAMED // 20), METRICS, NOW)
    with pytest.raises(ValueError):
        sampled("vllm:num_requests_waiting{ 1\n", METRICS, NOW)


async def test_a_long_page_is_read_beside_the_loop(engines, monkeypatch):
    """Whoever has many leaders that say much keeps nobody else waiting."""
    where = []

    def noted(*args):
        where.append(threading.get_ident())
        return sampled(*args)

    monkeypatch.setattr(service_scrape, "sampled", noted)
    leader = Leader(1, Target("127.0.0.1", engines.port, "/metrics", METRICS), 5.0, True, False)
    moments = iter(range(1, 9))
    async with aiohttp.ClientSession() as session:
        for page in (text(), text() + "other 1\n" * 10_000):
            engines.page = page
            await look(session, leader, lambda: float(next(moments)))
    assert [ident == threading.get_ident() for ident in where] == [True, False]
    assert len(leader.track.samples) == 2


async def test_what_has_no_metrics_is_told_from_what_cant_be_asked(engines, monkeypatch):
    async def unreachable(*_):
        raise TimeoutError

    leader = Leader(1, Target("127.0.0.1", engines.port, "/metrics", METRICS), 5.0, True, False)
    engines.page = None
    async with aiohttp.ClientSession() as session:
        await look(session, leader, lambda: NOW)
        await look(session, leader, lambda: NOW + 5)
        assert (leader.signals().failing_since, leader.signals().mute_since) == (NOW, NOW)
        with monkeypatch.context() as cut:
            cut.setattr(service_scrape, "page", unreachable)
            await look(session, leader, lambda: NOW + 10)
        assert (leader.signals().failing_since, leader.signals().mute_since) == (NOW, None)
        leader.target = replace(leader.target, port=1)
        await look(session, leader, lambda: NOW + 15)
        assert leader.signals().mute_since == NOW + 15
        leader.target, engines.page = replace(leader.target, port=engines.port), text()
        await look(session, leader, lambda: NOW + 20)
    assert (leader.signals().failing_since, leader.signals().mute_since) == (None, None)


async def test_a_leader_that_does_not_listen_fails_and_keeps_what_it_said():
    leader = Leader(1, Target("127.0.0.1", 1, "/metrics", METRICS), 5.0, in_service=True, draining=False)
    leader.track.add(sampled(text(), METRICS, NOW - 5), in_service=True)
    async with aiohttp.ClientSession() as session:
        await look(session, leader, lambda: NOW)
        await look(session, leader, lambda: NOW + 5)
    assert leader.failing_since == NOW
    assert leader.signals().latest is not None
