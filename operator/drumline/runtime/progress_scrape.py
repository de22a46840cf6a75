"""Scrapes rank 0's metrics and reads its steps.

What a pod answers is anybody's word: it is bounded in size and time, followed nowhere else, and of its lines
only those of the metrics that the job names are looked at. Between two looks steps share the time evenly.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from drumline.api.progress import ScrapeSpec
from drumline.runtime.metrics import read_samples
from drumline.runtime.progress_target import Told

INTERVAL_SECONDS: Final = 10.0
TIMEOUT_SECONDS: Final = 5.0
MAX_BYTES: Final = 1 << 20
MAX_NAMED: Final = 1 << 15  # characters of the lines that are parsed, which takes the loop 20 ms
MAX_FIRST_STEPS: Final = (
    1000  # a first look at more of them is taken for a job that went on from a checkpoint
)
MAX_STEP: Final = 2.0**53

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look found; None = not there."""

    step: int | None
    tokens: int | None = None
    committed_step: int | None = None


async def scrape(session: aiohttp.ClientSession, told: Told, now: Callable[[], float]) -> None:
    """Until the attempt is over. `now` gives Unix seconds."""
    target = told.target
    spec = target.progress.scrape
    if spec is None:
        return
    scraped = Scraped(told)
    while not told.over:
        try:
            text = await fetch(session, target.address, spec)
            scraped.take(look(text, spec), now())
            told.alive()
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            logger.info("no metrics of %s: %s", target.reporter.pod, str(error) or type(error).__name__)
        told.flush()
        await asyncio.sleep(INTERVAL_SECONDS)


async def fetch(session: aiohttp.ClientSession, address: str, spec: ScrapeSpec) -> str:
    """The text at the endpoint. Raises aiohttp.ClientError or TimeoutError; ValueError when it is too long."""
    return await page(session, address, spec.port, spec.path)


async def page(session: aiohttp.ClientSession, address: str, port: int, path: str) -> str:
    """The text that a pod has there. Raises aiohttp.ClientError or TimeoutError; ValueError when it is too long."""
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{port}{path}"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with session.get(url, timeout=timeout, allow_redirects=False) as response:
        if response.status != 200:
            raise ValueError(f"{url} answered {response.status}")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError(f"{url} answered more than {MAX_BYTES} bytes")
        return body.decode(errors="replace")


def look(text: str, spec: ScrapeSpec) -> Seen:
    """The metrics that the job names; of a step the greatest, of tokens the sum.

    ValueError: malformed lines, or too many of those metrics.
    """
    names = {n for n in (spec.step, spec.tokens, spec.committed_step) if n}
    # a counter's type line would make the parser look for its name without _total
    lines = [line for line in text.splitlines() if line.startswith(tuple(names))]
    if sum(map(len, lines)) > MAX_NAMED:
        raise ValueError(f"the metrics that are looked at have more than {MAX_NAMED} characters")
    found: dict[str, list[float]] = {name: [] for name in names}
    for name, value in read_samples("\n".join([*lines, ""])):
        if name in found and math.isfinite(value) and 0 <= value <= MAX_STEP:
            found[name].append(value)
    return Seen(
        step=_whole(max(found[spec.step], default=None)),
        tokens=_whole(sum(found[spec.tokens])) if spec.tokens and found[spec.tokens] else None,
        committed_step=_whole(max(found[spec.committed_step], default=None)) if spec.committed_step else None,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


class Scraped:
    """From looks to a timeline."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._step: int | None = told.target.step if told.begun_at else None
        self._tokens: int | None = None
        self._committed = -1

    def take(self, seen: Seen, now: float) -> None:
        """What a look at Unix time `now` found."""
        timeline, moment = self._told.timeline, self._told.clock(now)
        if seen.step is not None and self._step is not None and seen.step < self._step:
            timeline.resume(seen.step)  # the program went back
            self._step, self._tokens = seen.step, seen.tokens
        elif seen.step is not None and seen.step > (0 if self._step is None else self._step):
            timeline.step(seen.step, moment, self._new_tokens(seen), count=self._count(seen.step))
            self._step = seen.step
        if seen.committed_step is not None and seen.committed_step > self._committed:
            timeline.commit(seen.committed_step, moment)
            self._committed = seen.committed_step

    def _count(self, step: int) -> int:
        """How many steps the first look stands for; 0 = as many as since the last."""
        if self._step is not None or step > MAX_FIRST_STEPS:
            return 0
        return step

    def _new_tokens(self, seen: Seen) -> int:
        """Tokens since the last look; those before the first one are this attempt's, for its counter began with it."""
        if seen.tokens is None:
            return 0
        known, self._tokens = self._tokens, seen.tokens
        if known is None:
            return 0 if self._told.begun_at else seen.tokens
        return max(0, seen.tokens - known)
