"""Engines under a load that never changes: what they have counted follows from how long they run."""

from __future__ import annotations

import time

from aiohttp import web

from tests.integration.inference.engines import Engines

BOUNDS = (0.01, 0.1, 1.0)
TOKENS_A_SECOND = 100.0


class Load(Engines):
    """vLLM's page of ten requests a second, each with ten tokens, one in ten of them slow."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    async def page(self, _request: web.Request) -> web.Response:
        """The metrics."""
        return web.Response(text=busy(self.seconds()))


def busy(seconds: float) -> str:
    """The page after so many seconds."""
    requests = 10 * seconds
    plain = {
        "num_requests_waiting": 3,
        "num_requests_running": 5,
        "kv_cache_usage_perc": 0.6,
        "prompt_tokens_total": 50 * requests,
        "generation_tokens_total": TOKENS_A_SECOND * seconds,
        'request_success_total{finished_reason="stop"}': requests,
        'request_success_total{finished_reason="error"}': requests / 100,
        "spec_decode_num_draft_tokens_total": 8 * requests,
        "spec_decode_num_accepted_tokens_total": 6 * requests,
    }
    first = histogram("vllm:time_to_first_token_seconds", (0, 0.9 * requests, 0.1 * requests, 0), requests)
    later = histogram("vllm:inter_token_latency_seconds", (9 * requests, requests, 0, 0), requests)
    return "".join(f"vllm:{name} {value}\n" for name, value in plain.items()) + first + later


def histogram(name: str, counts: tuple[float, ...], total: float) -> str:
    """A cumulative histogram over BOUNDS; `counts` has one more, for what is beyond."""
    lines, whole = [], 0.0
    for bound, count in zip((*BOUNDS, "+Inf"), counts, strict=True):
        whole += count
        lines.append(f'{name}_bucket{{le="{bound}"}} {whole}')
    return "\n".join([*lines, f"{name}_sum {total}", f"{name}_count {whole}", ""])
