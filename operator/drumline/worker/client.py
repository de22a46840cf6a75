"""A reporter: takes what the program says, never blocks it, never raises, and sends it from a thread.

A report holds every span that the operator has not said it has on record, so one that is lost costs nothing.
Answers decide what comes next:

- 200: what is durable is forgotten; the next report after the interval that the operator asks for.
- 503, 429: the same again, over another connection, after `Retry-After`.
- 409: another attempt runs by now; the reporter ends for good.
- 400, 413, 422: the report is at fault; the buffer is halved, so that one bad span cannot stop the rest.
- other 4xx, and no answer: the same again, less and less often.

Each kind of trouble is said once on stderr.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from drumline.worker import identity as identities
from drumline.worker.identity import Identity
from drumline.worker.timeline import Timeline
from drumline.worker.transport import Answer, Transport

INTERVAL_SECONDS: Final = 5.0
MIN_INTERVAL: Final = 0.5
MAX_INTERVAL: Final = 300.0
MAX_BACKOFF: Final = 60.0
EXIT_SECONDS: Final = 3.0
FINAL_TRIES: Final = 3
MAX_BYTES: Final = 250_000
MAX_EXIT: Final = 4096
LAUNCHER: Final = "launcher"  # the source of reports that reads a program's output
_FAULTY: Final = frozenset((400, 413, 422))


class Sender(Protocol):
    """Whatever takes a report."""

    def send(self, body: bytes) -> Answer:
        """One report, one answer."""

    def close(self) -> None:
        """No more for now."""


def monotonic_ms() -> int:
    """Milliseconds on a clock that nobody sets."""
    return time.monotonic_ns() // 1_000_000


def _at_exit(call: Callable[[], object]) -> None:
    """Have it called when the program ends; before what is registered with `atexit`, where that can be had.

    Libraries wait there for peers that may be dead (JAX for its shutdown barrier, up to five minutes), and the
    kubelet does not wait for them: what is told after that is told to nobody. A program that goes on in other
    threads has not ended yet.
    """
    atexit.register(call)
    early = getattr(threading, "_register_atexit", None)  # what concurrent.futures uses, from 3.9 on
    with contextlib.suppress(RuntimeError):  # the program is ending already
        if early is not None:
            early(lambda: None if _others_run() else call())


def _others_run() -> bool:
    main = threading.main_thread()
    return any(t.is_alive() and not t.daemon and t is not main for t in threading.enumerate())


class Reporter:
    """Reports one process's progress. `clock` in ms; `wait` for tests. Thread-safe."""

    def __init__(
        self,
        who: Identity,
        sender: Sender,
        clock: Callable[[], int] = monotonic_ms,
        source: str = "report",
        quiet: Callable[[], bool] | None = None,
    ) -> None:
        self._who = who
        self._sender = sender
        self._clock = clock
        self._source = source
        self._quiet = quiet or (lambda: False)
        self._began = clock()
        self._origin = identities.origin()
        self._sequence = 0
        self._lock = threading.RLock()
        self._timeline = Timeline()
        self._wake = threading.Event()
        self._done = threading.Event()
        self._closing = False
        self._stopped = False
        self._exit = ""
        self._failures = 0
        self._interval = INTERVAL_SECONDS
        self._said: set[str] = set()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    # -- what the program says ------------------------------------------------------------------------------

    def report_step(
        self, step: int, tokens: int = 0, flops: float = 0.0, compute_seconds: float = 0.0
    ) -> None:
        """A step has ended. Tokens and model FLOPs of all chips together; this worker's own work in it."""
        if compute_seconds:
            self._do(lambda: self._timeline.worked(round(compute_seconds * 1000)))
        self._do(lambda: self._timeline.step(step, self.now(), tokens, flops))

    @contextlib.contextmanager
    def compute(self) -> Iterator[None]:
        """What runs inside is this worker's own work, which waits for no other."""
        began = self._do(lambda: self._timeline.begin_work(self.now()))
        try:
            yield
        finally:
            if began:
                self._do(lambda: self._timeline.end_work(self.now()))

    @contextlib.contextmanager
    def phase(self, kind: str) -> Iterator[None]:
        """What runs inside belongs to that phase."""
        began = self._do(lambda: self._timeline.begin(kind, self.now()))
        try:
            yield
        finally:
            if began:
                self._do(lambda: self._timeline.end(self.now()))

    def checkpoint_committed(self, step: int) -> None:
        """A checkpoint that covers every step up to `step` is durable."""
        self._do(lambda: self._timeline.commit(step, self.now()))

    def resumed_from(self, step: int) -> None:
        """Training goes on from that step, which it need not run again."""
        self._do(lambda: self._timeline.resume(step))

    def write(self, at: int, change: Callable[[Timeline, int], None]) -> None:
        """Let `change` write into the timeline what happened at `at` ms of the clock given to us."""
        self._do(lambda: change(self._timeline, max(0, at - self._began)))

    # -- life -----------------------------------------------------------------------------------------------

    def now(self) -> int:
        """The reporter's clock, ms."""
        return max(0, self._clock() - self._began)

    def start(self) -> None:
        """Send from a thread of its own, and once more when the program ends."""
        self._thread = threading.Thread(target=self._run, name="drumline-reporter", daemon=True)
        self._thread.start()
        _at_exit(self.close)

    def close(self, exit_text: str = "", seconds: float = EXIT_SECONDS) -> None:
        """Send what is left; give up after `seconds`."""
        if self._thread is None or self._pid != os.getpid() or self._closing:
            return
        self._exit = exit_text[-MAX_EXIT:]
        self._closing = True
        self._wake.set()
        self._done.wait(seconds)

    @property
    def stopped(self) -> bool:
        """Whether it reports no more."""
        return self._stopped

    def report(self, *, final: bool = False) -> bytes:
        """The next report, as JSON."""
        with self._lock:
            self._sequence += 1
            if final:
                self._timeline.finish()
            body = self._body(final)
            encoded = _encoded(body)
            while len(encoded) > MAX_BYTES and self._timeline.spans:
                self._timeline.coarsen()
                body["spans"] = [span.to_wire() for span in self._timeline.spans]
                encoded = _encoded(body)
            return encoded

    def exchange(self, *, final: bool = False) -> float:
        """Send one report and take the answer; returns seconds until the next."""
        if self._quiet() and not final:
            return self._interval
        return self.take(self._sender.send(self.report(final=final)))

    def take(self, answer: Answer) -> float:
        """What an answer means; returns seconds until the next report."""
        if answer.status == 200:
            return self._accepted(answer)
        self._failures += 1
        if answer.status == 409:
            self._stopped = True
            self._say(f"stopped: {answer.body.get('error', 'another attempt runs')}")
            return 0.0
        if answer.status in _FAULTY:
            with self._lock:
                self._timeline.coarsen()
        if answer.status not in (429, 503):
            self._say(_trouble(answer))
        if answer.retry_after > 0:
            return min(max(answer.retry_after, MIN_INTERVAL), MAX_BACKOFF)
        return min(self._interval * 2.0 ** min(self._failures - 1, 6), MAX_BACKOFF)

    # -- inside ---------------------------------------------------------------------------------------------

    def _body(self, final: bool) -> dict[str, Any]:
        timeline = Timeline() if self._quiet() else self._timeline
        body = {
            **self._who.header(),
            "source": self._source,
            "origin": self._origin,
            "sequence": self._sequence,
            "sentMs": self.now(),
            "spans": [span.to_wire() for span in timeline.spans],
            "commits": [{"step": step, "atMs": at} for step, at in timeline.commits],
        }
        if timeline.resumed_step is not None:
            body["resumedStep"] = timeline.resumed_step
        if timeline.open is not None:
            body["open"] = {"kind": timeline.open[0], "startMs": timeline.open[1]}
        if final:
            body["final"] = True
            body["exit"] = self._exit
        return body

    def _accepted(self, answer: Answer) -> float:
        self._failures = 0
        durable = answer.body.get("durableMs", 0)
        wanted = answer.body.get("intervalSeconds", INTERVAL_SECONDS)
        with self._lock:
            if isinstance(durable, int) and durable > 0:  # 0: nothing is on record, not what was at 0
                self._timeline.acknowledge(durable)
            if self._timeline.dropped:
                self._say("the operator did not take reports for long; the oldest steps are lost to it")
        if isinstance(wanted, (int, float)):
            self._interval = min(max(float(wanted), MIN_INTERVAL), MAX_INTERVAL)
        return self._interval

    def _run(self) -> None:
        try:
            # that the launcher runs is worth telling; a program will soon have more to say
            delay = 0.0 if self._source == LAUNCHER else MIN_INTERVAL
            while not self._closing and not self._stopped:
                self._wake.wait(delay)
                if not self._closing:
                    delay = self._tried(final=False)
            self._end()
        finally:
            with contextlib.suppress(Exception):
                self._sender.close()
            self._done.set()

    def _end(self) -> None:
        for _ in range(FINAL_TRIES):
            if self._stopped:
                return
            self._tried(final=True)
            if not self._failures:
                return
            self._done.wait(MIN_INTERVAL)

    def _tried(self, *, final: bool) -> float:
        try:
            return self.exchange(final=final)
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with us must not reach the program
            self._say(f"no report: {type(error).__name__}: {error}")
            return MAX_BACKOFF

    def _do(self, change: Callable[[], None]) -> bool:
        # a forked child has no thread to send from, and perhaps a lock that nobody will ever open
        if self._stopped or self._pid != os.getpid():
            return False
        try:
            with self._lock:
                change()
        except Exception as error:  # noqa: BLE001 -- a wrong argument must not reach the program either
            self._say(f"not understood: {type(error).__name__}: {error}")
            return False
        return True

    def _say(self, text: str) -> None:
        kind = text.split(":", 1)[0]
        if kind not in self._said:
            self._said.add(kind)
            with contextlib.suppress(Exception):
                sys.stderr.write(f"drumline: {text}\n")


def _encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def _trouble(answer: Answer) -> str:
    if answer.status == 0:
        return f"no answer from the operator: {answer.error}"
    said = answer.body.get("error", "")
    return f"report refused with {answer.status}: {said}"[:500]


def reporter_from_environment(
    source: str = "report", quiet: Callable[[], bool] | None = None
) -> Reporter | None:
    """The reporter of this process, started; None where it has nobody to report to or is not the one to."""
    who = identities.identity(os.environ)
    if not (who.configured and who.chosen and identities.first_process(os.environ)):
        return None
    return started(who, source, quiet)


def started(who: Identity, source: str, quiet: Callable[[], bool] | None = None) -> Reporter:
    """A reporter for that worker, which sends from now on."""
    reporter = Reporter(who, Transport(who.url, who.token_file, who.ca_file), source=source, quiet=quiet)
    reporter.start()
    return reporter
