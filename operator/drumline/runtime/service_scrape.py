"""Looks at the metrics of one leader after another: bounded in size, time and number at once.

What a pod answers is anybody's word: it is followed nowhere else, and of its lines only those of the metrics that
the engine's preset names are looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from drumline.api.engines import SignalMetrics
from drumline.core.inference.scrape import read, wanted
from drumline.core.inference.signals import EngineSample, GroupSignals
from drumline.core.inference.windows import Track
from drumline.runtime.metrics import read_series
from drumline.runtime.progress_scrape import page

WINDOW_SECONDS: Final = 60.0
MAX_NAMED: Final = 1 << 17  # characters of the lines that are parsed, which takes some 80 ms
MAX_AT_ONCE: Final = (
    1 << 16
)  # characters of a page that the loop reads by itself, some ms; longer ones a thread


@dataclass(frozen=True, slots=True)
class Target:
    """Where a leader exports what."""

    address: str
    port: int
    path: str
    metrics: SignalMetrics


@dataclass(slots=True)
class Leader:
    """One group's leader and what was seen of it in this attempt."""

    attempt: int
    target: Target
    interval: float
    in_service: bool
    draining: bool
    due: float = 0.0  # Unix seconds
    failing_since: float | None = None
    mute_since: float | None = None
    track: Track = field(default_factory=Track)
    said: GroupSignals | None = None

    def signals(self) -> GroupSignals:
        """What is known of the group now; worked out once a sample."""
        track, said = self.track, self.said
        now = track.latest, self.failing_since, self.mute_since
        if said is None or (said.latest, said.failing_since, said.mute_since) != now:
            said = self.said = GroupSignals(
                latest=track.latest,
                samples=tuple(track.samples),
                window=track.window(WINDOW_SECONDS),
                since_ready=track.since_ready(),
                failing_since=self.failing_since,
                mute_since=self.mute_since,
            )
        return said

    def failed(self, at: float, *, answered: bool) -> None:
        """No sample. `answered`: by the pod's own word it has none; else it could not be asked."""
        self.failing_since = at if self.failing_since is None else self.failing_since
        self.mute_since = (at if self.mute_since is None else self.mute_since) if answered else None


async def look(session: aiohttp.ClientSession, leader: Leader, now: Callable[[], float]) -> None:
    """One more sample, or one more failure. `now` gives Unix seconds."""
    target = leader.target
    try:
        text = await page(session, target.address, target.port, target.path)
        at = now()
        if len(text) > MAX_AT_ONCE:
            sample = await asyncio.to_thread(sampled, text, target.metrics, at)
        else:
            sample = sampled(text, target.metrics, at)
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError, asyncio.IncompleteReadError) as error:
        leader.failed(now(), answered=_is_answer(error))
        return
    leader.failing_since = leader.mute_since = None
    leader.track.add(sample, in_service=leader.in_service)


def _is_answer(error: Exception) -> bool:
    """Whether it was the pod that said so: a page that is no metrics, or a port that nobody listens at."""
    refused = isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, ConnectionRefusedError
    )
    return refused or isinstance(error, ValueError)


def sampled(text: str, metrics: SignalMetrics, at: float) -> EngineSample:
    """The signals on a page. ValueError: malformed lines, or too many of the metrics that are looked at."""
    named = tuple(sorted(wanted(metrics)))
    lines = [line for line in text.splitlines() if named and line.startswith(named)]
    if sum(map(len, lines)) > MAX_NAMED:
        raise ValueError(f"the metrics that are looked at have more than {MAX_NAMED} characters")
    # their type lines would make the parser look for a counter's name without _total
    return read(read_series("\n".join([*lines, ""])), metrics, at)
