"""Somebody who plays the engines of a service: one page of metrics, under vLLM's names, for all of its leaders."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

PAGE = """\
vllm:num_requests_waiting {waiting}
vllm:num_requests_running {running}
vllm:kv_cache_usage_perc {kv}
vllm:request_success_total{{finished_reason="stop"}} {answered}
"""


class Engines:
    """What all leaders say. Pods with the annotation `pod-ip: <address>` are listened to here."""

    def __init__(self) -> None:
        self.waiting = 0
        self.running = 0
        self.kv = 0.0
        self.answered = 0
        self.port = 0
        self.address = own_address()

    async def page(self, _request: web.Request) -> web.Response:
        """The metrics."""
        return web.Response(text=PAGE.format(**vars(self)))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen while the block runs."""
        application = web.Application()
        application.router.add_get("/metrics", self.page)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, self.address, 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()


def own_address() -> str:
    """An address of this machine that is no loopback address: endpoints may not have one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
