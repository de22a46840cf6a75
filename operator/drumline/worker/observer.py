"""From a program's lines to its timeline: what the launcher knows of progress.

The first worker's launcher reports. The last worker's does for programs that print their steps on the last
rank, and it begins to when it sees one. A program that uses `drumline.worker` reports by itself: the launcher
then is quiet but for how it ended.
"""

from __future__ import annotations

import collections
import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Final

from drumline.worker import client, marker
from drumline.worker.client import Reporter
from drumline.worker.guard import guarded, say
from drumline.worker.identity import Identity
from drumline.worker.patterns import AUTO, LineReader, Observed
from drumline.worker.presets import PRESETS
from drumline.worker.timeline import Timeline

LAST_LINES: Final = 20
QUEUE: Final = 10_000  # lines; what a slower reader misses is lost to it, never to the output
DRAIN_SECONDS: Final = 1.0
_READ_FROM: Final = frozenset(("auto", "launcher"))
_FIRST_STEPS: Final = 1000


class Observer:
    """Takes lines from any thread; reads them in its own."""

    def __init__(self, reader: LineReader | None, reporter: Callable[[], Reporter | None]) -> None:
        self.last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self._reader = reader
        self._made = reporter
        self.reporter: Reporter | None = None
        self._lines: queue.Queue[tuple[int, str] | None] = queue.Queue(QUEUE)
        self._clock = client.monotonic_ms
        self._thread = threading.Thread(target=self._run, name="drumline-observer", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        if self._reader is not None:
            self._thread.start()

    def line(self, text: str) -> None:
        """The program has said this, just now."""
        self.last.append(text)
        if self._reader is not None:
            with contextlib.suppress(queue.Full):
                self._lines.put_nowait((self._clock(), text))

    def finish(self) -> None:
        """Read what is left, for a moment."""
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._lines.put_nowait(None)
            self._thread.join(DRAIN_SECONDS)

    def begin(self) -> None:
        """Report from now on."""
        if self.reporter is None:
            self.reporter = self._made()

    def step(self, step: int) -> None:
        """The program has told this step in another way than by its output."""
        if self.reporter is not None:
            self.reporter.write(
                self._clock(), lambda timeline, now: apply(timeline, now, Observed(step=step))
            )

    def _run(self) -> None:
        while True:
            item = self._lines.get()
            if item is None or self._reader is None:
                return
            try:
                self._read(self._reader, *item)
            except Exception as error:  # noqa: BLE001 -- the program must not notice
                say(f"the launcher stopped reading the output: {error}")
                return

    def _read(self, reader: LineReader, at: int, text: str) -> None:
        found = reader.read(text)
        if found is None:
            return
        rules = PRESETS.get(reader.preset)
        if self.reporter is None and rules is not None and rules.last_rank:
            self.begin()
        if self.reporter is not None:
            self.reporter.write(at, lambda timeline, now: apply(timeline, now, found))


def apply(timeline: Timeline, now: int, found: Observed) -> None:
    """What a line said, at `now` ms of the reporter's clock."""
    if found.resumed_step is not None:
        timeline.resume(found.resumed_step)
    if found.committed_step is not None:
        timeline.commit(found.committed_step, now)
    if found.step is not None and not (timeline.steps and found.step == timeline.last_step):
        count = _first_count(timeline, now, found)
        timeline.step(found.step, now, found.tokens or 0, found.flops or 0.0, count)


def _first_count(timeline: Timeline, now: int, found: Observed) -> int:
    # a program that prints every tenth step begins with its tenth, if there was time for ten
    if timeline.steps or timeline.resumed_step is not None or not found.seconds or found.step is None:
        return 0
    plausible = found.step <= _FIRST_STEPS and found.step * found.seconds * 1000 <= now - timeline.boundary
    return found.step if plausible else 0


def observer(who: Identity, environ: Mapping[str, str]) -> Observer:
    """What this worker's launcher observes, by its place and by what the user said."""
    wanted = who.configured and who.progress.get("source", AUTO) in _READ_FROM
    reads = wanted and (who.chosen or (who.last and who.policy == "first"))

    def made() -> Reporter | None:
        return client.started(who, client.LAUNCHER, quiet=lambda: marker.left(environ))

    found = Observer(_reader(who) if reads else None, made)
    if who.configured and who.chosen:
        found.begin()
    return found


def _reader(who: Identity) -> LineReader | None:
    said = who.progress
    preset = said.get("preset", AUTO)
    pattern, commit = said.get("pattern"), said.get("commitPattern")
    try:
        return guarded(preset if preset in PRESETS else AUTO, pattern, commit, who.chips)
    except Exception as error:  # noqa: BLE001 -- the operator refuses such a pattern; an older one may not have
        say(f"the output is not read: {error}")
        return None
