"""Requests that an endpoint picker holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from drumline.runtime import service_held
from drumline.runtime.service_held import held, may_hold, queued
from tests.unit.core.inference import services

PAGE = """# TYPE llm_d_epp_flow_control_queue_size gauge
llm_d_epp_flow_control_queue_size{priority="0",fairness_id="a"} 2
llm_d_epp_flow_control_queue_size{priority="1",fairness_id="b"} 1
inference_extension_flow_control_queue_size 7
other 9
"""
ZERO = {"minReplicas": 0, "maxReplicas": 3, "scaleToZero": {"idleSeconds": 60}}


def service(port: int = 9090, **autoscaling: Any) -> Any:
    routing = {"inferencePool": {"endpointPicker": "picker", "metricsPort": port}}
    role = services.role(autoscaling={**ZERO, **autoscaling})
    return services.service(services.spec(role, routing=routing))


def test_queues_are_added_up_under_one_name() -> None:
    assert queued(PAGE) == 3
    assert queued("inference_extension_flow_control_queue_size 7\n") == 7
    assert queued("up 1\n") == 0
    with pytest.raises(ValueError, match=r".+"):
        queued("llm_d_epp_flow_control_queue_size{ 1\n")


def test_who_may_hold_requests() -> None:
    assert may_hold(service())
    assert not may_hold(services.service(services.spec(services.role(autoscaling=ZERO))))
    never = services.role(autoscaling={"minReplicas": 1, "maxReplicas": 3})
    routing = {"inferencePool": {"endpointPicker": "picker"}}
    assert not may_hold(services.service(services.spec(never, routing=routing)))
    assert not may_hold(replace(service(), spec=None))


async def test_a_picker_is_asked_by_its_service(monkeypatch: pytest.MonkeyPatch) -> None:
    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(text=PAGE)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    asked = []
    real = service_held.page

    async def page(session: aiohttp.ClientSession, host: str, port: int, path: str) -> str:
        asked.append(host)
        return await real(session, "127.0.0.1", port, path)

    monkeypatch.setattr(service_held, "page", page)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        assert server.port is not None
        assert await held(session, service(server.port)) == 3
        port = server.port
    async with aiohttp.ClientSession() as session:
        assert await held(session, service(port)) == 0, "nobody there"
    assert asked == ["picker.ns.svc"] * 2
