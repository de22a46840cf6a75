"""Engines of fake pods: pages of metrics that this machine serves under an address of its own, for the operator to read."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from drumline.runtime.http import MERGE_PATCH
from drumline.runtime.http_paths import resource_path
from e2e.cluster import nodes_machines
from tests.integration.operator.lab import Lab, Manifest

LOOK_SECONDS = 0.2
BOUNDS = (0.01, 0.1, 1.0)
Page = Callable[[float], str]  # from seconds since it began


def address() -> str:
    """An address of this machine that is none of loopback's: EndpointSlices refuse those."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((nodes_machines.pod_cidr(0).removesuffix(".0/24") + ".1", 9))  # sends nothing
        found: str = probe.getsockname()[0]
    assert not found.startswith("127."), "this machine has no address but loopback's"
    return found


def histogram(name: str, counts: tuple[float, ...], total: float) -> str:
    """A cumulative histogram over BOUNDS; `counts` has one more, for what is beyond."""
    lines, whole = [], 0.0
    for bound, count in zip((*BOUNDS, "+Inf"), counts, strict=True):
        whole += count
        lines.append(f'{name}_bucket{{le="{bound}"}} {whole}')
    return "\n".join([*lines, f"{name}_sum {total}", f"{name}_count {whole}", ""])


def busy(seconds: float) -> str:
    """vLLM's page under load: ten requests a second, each with ten tokens, one in ten requests slow."""
    requests = 10 * seconds
    plain = {
        "num_requests_waiting": 3,
        "num_requests_running": 5,
        "kv_cache_usage_perc": 0.6,
        "prompt_tokens_total": 50 * requests,
        "generation_tokens_total": 10 * requests,
        'request_success_total{finished_reason="stop"}': requests,
        'request_success_total{finished_reason="error"}': requests / 100,
        "spec_decode_num_draft_tokens_total": 8 * requests,
        "spec_decode_num_accepted_tokens_total": 6 * requests,
    }
    first = histogram("vllm:time_to_first_token_seconds", (0, 0.9 * requests, 0.1 * requests, 0), requests)
    later = histogram("vllm:inter_token_latency_seconds", (9 * requests, requests, 0, 0), requests)
    return "".join(f"vllm:{name} {value}\n" for name, value in plain.items()) + first + later


class Engines:
    """Pods of a namespace are this machine, and it answers for them on `port`."""

    def __init__(self, lab: Lab, port: int) -> None:
        self.port = port
        self.page: Page = busy
        self._lab = lab
        self._address = address()
        self._began = time.monotonic()

    async def metrics(self, _request: web.Request) -> web.Response:
        """What the operator reads."""
        return web.Response(text=self.page(time.monotonic() - self._began))

    async def own(self) -> None:
        """Give every pod that has an address this machine's, for ever."""
        while True:
            for pod in await self._lab.pods("drumline.dev/service"):
                if pod["status"].get("podIP") not in (None, self._address):
                    await self._move(pod)
            await asyncio.sleep(LOOK_SECONDS)

    async def _move(self, pod: Manifest) -> None:
        name = pod["metadata"]["name"]
        path = resource_path("pods", self._lab.namespace, name, "status")
        body = {"status": {"podIP": self._address, "podIPs": [{"ip": self._address}]}}
        await self._lab.client.request("PATCH", path, body=body, content_type=MERGE_PATCH)


@asynccontextmanager
async def engines(lab: Lab) -> AsyncIterator[Engines]:
    """A server of metrics for the lab's pods."""
    with socket.socket() as listener:
        listener.bind((address(), 0))
        made = Engines(lab, listener.getsockname()[1])
        app = web.Application()
        app.router.add_get("/metrics", made.metrics)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        task = asyncio.create_task(made.own())
        try:
            yield made
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await runner.cleanup()
