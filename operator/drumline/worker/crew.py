"""What the launcher and the operator tell each other of its process, from a thread.

The launcher says what is true (`say`, `carried_out`); the thread tells it, and keeps a poll open for orders all the
time, so that they are here within a moment. Both sides are levels: whatever was lost is in the next message.

- 200: orders, or none; ask again at once, unless the server names a time.
- 409: the attempt is over; nothing more is asked.
- 503, 429, and no answer: again over another connection, after `Retry-After` or less and less often.
- anything else: again, seldom. An operator that knows no such path has no orders.

Nothing in here blocks the launcher, raises, or speaks.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

from drumline.worker import identity as identities
from drumline.worker.channel import Channel
from drumline.worker.identity import Identity
from drumline.worker.transport import Answer

RUNNING: Final = "Running"
ENDED: Final = "Ended"
HELD: Final = "Held"
STACKS: Final = "Stacks"
CHECKPOINT: Final = "Checkpoint"
MAX_TEXT: Final = 4096
MAX_STACKS: Final = 32_768
ANSWER_SECONDS: Final = 65.0  # the server holds a poll for less
SWITCH_SECONDS: Final = 2.0  # until a poll that another one follows is answered, where the server knows how
QUICK_SECONDS: Final = 1.0  # an answer that comes sooner and says nothing new is no reason to ask at once
MIN_BACKOFF: Final = 0.5
MAX_BACKOFF: Final = 10.0
REFUSED_SECONDS: Final = 30.0
_ODD: Final = re.compile(r"[^\n -~]")  # takes up to twelve bytes in JSON; Python's stacks have none of it
_BUSY: Final = frozenset((429, 503))


class Orders(NamedTuple):
    """What all launchers of the attempt are told."""

    digest: str
    epoch: int = 0
    go: bool = True
    grace_seconds: float = 10.0
    number: int = 0
    kind: str = ""
    signal: str = ""


class Poll(Protocol):
    """What carries requests; see `Channel`."""

    waiting: int

    def post(self, body: bytes) -> None:
        """Send a request."""

    def receive(self, seconds: float, wake: int) -> Answer | None:
        """The next answer."""

    def close(self) -> None:
        """Hang up."""


class _Muster(NamedTuple):
    """What is told of the process. `version` grows with each change."""

    version: int = 0
    state: str = HELD
    epoch: int = 0
    exit_code: int = 0
    reason: str = ""
    text: str = ""
    seen: int = 0
    stacks: str = ""


class Crew:
    """One launcher's part. `changed` is called, in the thread, when there are orders, or the attempt is over."""

    def __init__(
        self,
        who: Identity,
        poll: Poll,
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.orders: Orders | None = None
        self.over = False  # the operator wants to hear no more of this attempt
        self.answered = 0.0  # when it last answered, by `clock`
        self._who = who
        self._poll = poll
        self._changed = changed
        self._clock = clock
        self._origin = identities.origin()
        self._muster = _Muster(epoch=who.epoch)
        self._lock = threading.Lock()
        self._failures = 0
        self._posted = 0.0
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)

    def start(self) -> None:
        """Tell and ask from now on, for ever."""
        threading.Thread(target=self._run, name="drumline-crew", daemon=True).start()

    def say(self, state: str, epoch: int, exit_code: int = 0, text: str = "", reason: str = "") -> None:
        """What the process does now."""
        self._tell(state=state, epoch=epoch, exit_code=exit_code, text=text[-MAX_TEXT:], reason=reason)

    def carried_out(self, number: int, found: str = "") -> None:
        """The order of that number was carried out; `found`: what it asked for."""
        self._tell(seen=number, stacks=_ODD.sub("?", found[:MAX_STACKS]))

    def body(self) -> bytes:
        """The muster, as JSON."""
        muster = self._muster
        header = {name: value for name, value in self._who.header().items() if name != "epoch"}
        digest = self.orders.digest if self.orders is not None else ""
        told = {
            "origin": self._origin,
            "epoch": muster.epoch,
            "state": muster.state,
            "exitCode": muster.exit_code,
            "reason": muster.reason,
            "text": muster.text,
            "seen": muster.seen,
            "stacks": muster.stacks,
            "digest": digest,
        }
        return json.dumps({**header, **told}, separators=(",", ":")).encode()

    # -- the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self.over:
            try:
                pause, patient = self.exchange()
            except Exception:  # noqa: BLE001 -- nobody there, as a rule; whatever it is, the program must not notice
                self._poll.close()
                pause, patient = self._backoff(MIN_BACKOFF, MAX_BACKOFF), True
            self._rest(pause, patient)
        self._poll.close()

    def exchange(self) -> tuple[float, bool]:
        """Ask, until all is answered: (seconds until the next time, whether a change has to wait for it too)."""
        told = self._post()
        until, pause = self._clock() + ANSWER_SECONDS, (0.0, False)
        while self._poll.waiting and not self.over:
            answer = self._poll.receive(until - self._clock(), self._woken)
            self._drain()
            if answer is not None:
                pause, until = self._take(answer), self._clock() + ANSWER_SECONDS
            elif self._clock() >= until:
                raise TimeoutError("no answer")
            if self._muster.version != told and self._poll.waiting == 1:
                told, until = self._post(), self._clock() + SWITCH_SECONDS
        return (0.0, False) if self._muster.version != told and not pause[1] else pause

    def _post(self) -> int:
        with self._lock:
            version, body = self._muster.version, self.body()
        self._posted = self._clock()
        self._poll.post(body)
        return version

    def _take(self, answer: Answer) -> tuple[float, bool]:
        if answer.status == 200:
            self.answered, self._failures = self._clock(), 0
            return self._hear(answer), False
        self._poll.close()  # another connection may find another replica
        if answer.status == 409:
            self.over = True
            self._changed()
        if answer.status in _BUSY:
            least = max(answer.retry_after, MIN_BACKOFF)
            return self._backoff(least, max(least, MAX_BACKOFF)), True
        return self._backoff(MIN_BACKOFF, REFUSED_SECONDS), True

    def _hear(self, answer: Answer) -> float:
        """Take orders; seconds until the next poll."""
        before, found = self.orders, orders_of(answer.body)
        if found is not None and found != before:
            with self._lock:
                self.orders = found
                if found.number != self._muster.seen or not found.kind:
                    self._muster = self._muster._replace(stacks="")  # nobody asks for them any more
            self._changed()
            return 0.0
        if answer.retry_after > 0:
            return answer.retry_after * _about_one()
        return QUICK_SECONDS if self._clock() - self._posted < QUICK_SECONDS else 0.0

    def _backoff(self, least: float, most: float) -> float:
        self._failures += 1
        return min(least * 2.0 ** min(self._failures - 1, 6), most) * _about_one()

    def _tell(self, **changes: Any) -> None:
        with self._lock:
            self._muster = self._muster._replace(version=self._muster.version + 1, **changes)
        with contextlib.suppress(OSError):
            os.write(self._wake, b"\0")

    def _rest(self, seconds: float, patient: bool) -> None:
        if patient:
            time.sleep(seconds)
        elif seconds > 0:
            poll = select.poll()
            poll.register(self._woken, select.POLLIN)
            poll.poll(seconds * 1000)
            self._drain()

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            os.read(self._woken, 4096)


def crew_of(environ: Mapping[str, str], who: Identity, changed: Callable[[], None]) -> Crew | None:
    """The crew of a worker, not started; None where there is nobody to ask."""
    if not who.configured or "DRUMLINE_HELPER" in environ:
        return None
    return Crew(who, Channel(orders_url(who.url), who.token_file, who.ca_file), changed)


def orders_url(url: str) -> str:
    """Where orders are, beside the reports."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rpartition("/")[0] + "/orders", "", ""))


def orders_of(body: Mapping[str, Any]) -> Orders | None:
    """What an answer orders; None where it orders nothing, or what nobody can understand."""
    digest = body.get("digest")
    if not isinstance(digest, str) or not digest:
        return None
    try:
        return Orders(
            digest,
            int(body.get("epoch", 0)),
            bool(body.get("go", True)),
            float(body.get("graceSeconds", 10.0)),
            int(body.get("number", 0)),
            str(body.get("kind", "")),
            str(body.get("signal", "")),
        )
    except (TypeError, ValueError):
        return None


def _about_one() -> float:
    """0.75 to 1.25, so that a thousand launchers do not all come back together."""
    return 0.75 + int.from_bytes(os.urandom(2), "big") / 131_072
