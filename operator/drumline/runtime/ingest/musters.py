"""The ingest's end of what launchers and the operator tell each other; nothing here may not be lost.

A muster goes to the operator only when it says something that the operator has not heard of that pod over this
connection: launchers ask again all the time, and a gang of a thousand says the same a thousand times a minute.
At most `WINDOW` are with the operator at once, so that a report never waits for more than these; of the others that wait,
gangs take turns. Orders come from
the operator, all of them whenever it connects; a poll that is held waits in here for others than it knows.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import orjson

from drumline.api.orders import Muster
from drumline.runtime.ingest import wire
from drumline.runtime.ingest.turns import Gang, Turns
from drumline.runtime.ingest.verdicts import Heard, MusterVerdict, Reporter, Stale, Unavailable

WINDOW: Final = 32
GATHER_SECONDS: Final = 0.005
VERDICT_SECONDS: Final = 10.0
MOST_HEARD: Final = 50_000
MOST_OVER: Final = 10_000
NO_ORDERS: Final = b'{"digest":""}'

Write = Callable[[bytes], None]


def gang_of(muster: Muster) -> Gang:
    """Whose processes it speaks of."""
    return muster.job.uid, muster.attempt


@dataclass(slots=True)
class _Call:
    """A muster on its way. `mark` is the same for musters that say the same."""

    reporter: Reporter
    gang: Gang
    raw: bytes
    mark: bytes
    verdict: asyncio.Future[MusterVerdict]
    at: float = 0.0  # when it was sent, in the loop's seconds


@dataclass(frozen=True, slots=True)
class _Standing:
    """Orders that hold, as they are answered."""

    digest: str
    body: bytes


@dataclass(eq=False, slots=True)
class Hold:
    """A poll that waits. `ended`: Heard when it is to be answered with what holds now."""

    gang: Gang
    pod: str
    digest: str
    ended: asyncio.Future[MusterVerdict]
    displaced: bool = False  # by one of a gang that has fewer: it may not wait just now

    def end(self, verdict: MusterVerdict) -> None:
        """It waits no more."""
        if not self.ended.done():
            self.ended.set_result(verdict)


class Musters:
    """Musters under way, what was heard, what is ordered, and who waits."""

    def __init__(self) -> None:
        self._write: Write | None = None  # to the operator, while it is there
        self._number = 0
        self._waiting: Turns[_Call] = Turns()
        self._sent: dict[int, _Call] = {}
        self._gathering = False
        self._heard: dict[Gang, dict[str, bytes]] = {}  # pod uid → mark
        self._heard_size = 0
        self._orders: dict[Gang, _Standing] = {}
        self._over: OrderedDict[Gang, None] = (
            OrderedDict()
        )  # the last ones: a verdict may still be on its way to who asked
        self._holds: dict[Gang, dict[str, Hold]] = {}
        self.held = 0

    def submit(self, muster: Muster, reporter: Reporter) -> asyncio.Future[MusterVerdict]:
        """The operator's verdict. Others may wait for the same: do not cancel it."""
        verdict: asyncio.Future[MusterVerdict] = asyncio.get_running_loop().create_future()
        if self._write is None:
            verdict.set_result(Unavailable())
            return verdict
        raw = muster.model_dump_json(by_alias=True, exclude_defaults=True, exclude={"digest"}).encode()
        call = _Call(reporter, gang_of(muster), raw, blake2b(raw, digest_size=16).digest(), verdict)
        older = self._waiting.get(reporter.uid)
        if older is None and self._heard.get(call.gang, {}).get(reporter.uid) == call.mark:
            verdict.set_result(Heard())
            return verdict
        if older is not None:
            call.verdict = older.verdict
        self._waiting.put(call.gang, reporter.uid, call)
        self._gather()
        return call.verdict

    def body(self, gang: Gang) -> bytes:
        """What its launchers are told now, as JSON."""
        found = self._orders.get(gang)
        return NO_ORDERS if found is None else found.body

    def hold(self, muster: Muster, pod: str) -> Hold:
        """Let a poll wait, in place of an older one of the same pod; ended at once when it knows too little."""
        gang = gang_of(muster)
        made = Hold(gang, pod, muster.digest, asyncio.get_running_loop().create_future())
        holds = self._holds.setdefault(gang, {})
        if (older := holds.get(pod)) is not None:
            older.end(Heard())
        else:
            self.held += 1
        holds[pod] = made
        standing = self._orders.get(gang)
        if self._write is None:
            made.end(Unavailable())
        elif gang in self._over:
            made.end(Stale())
        elif standing is not None and standing.digest != muster.digest:
            made.end(Heard())
        return made

    def make_room(self, gang: Gang) -> bool:
        """End a poll of the gang that has most of them waiting; False when this gang has as many itself."""
        most = max(self._holds.values(), key=len, default={})
        if len(most) <= len(self._holds.get(gang, ())) + 1:
            return False
        hold = next((h for h in most.values() if not h.ended.done()), None)
        if hold is None:
            return False
        hold.displaced = True
        hold.end(Heard())
        return True

    def release(self, hold: Hold) -> None:
        """It has been answered."""
        holds = self._holds.get(hold.gang, {})
        if holds.get(hold.pod) is hold:
            del holds[hold.pod]
            self.held -= 1
            if not holds:
                del self._holds[hold.gang]

    # -- the operator's side --------------------------------------------------------------------------------

    def connected(self, write: Write) -> None:
        """The operator is there; it will tell all orders first."""
        self._write = write

    def lost(self) -> None:
        """It has gone: what it said holds no more, and everybody has to ask again."""
        self._write = None
        for call in (*self._sent.values(), *self._waiting):
            _answer(call.verdict, Unavailable())
        for hold in self._all_holds():
            hold.end(Unavailable())
        for memory in (self._sent, self._waiting, self._heard, self._orders, self._over):
            memory.clear()
        self._heard_size = 0

    def take_hearing(self, payload: bytes) -> None:
        """A verdict. Raises WireError."""
        number, verdict = wire.read_hearing(payload)
        call = self._sent.pop(number, None)
        if call is None:
            return
        if isinstance(verdict, Heard):
            self._remember(call)
        _answer(call.verdict, verdict)
        self._gather(0.0)

    def take_orders(self, payload: bytes) -> None:
        """Orders of one attempt, or that it is over. Raises WireError."""
        uid, attempt, over, digest, orders = wire.read_orders(payload)
        gang = uid, attempt
        holds = tuple(self._holds.get(gang, {}).values())
        if over:
            self._orders.pop(gang, None)
            self._heard_size -= len(self._heard.pop(gang, ()))
            self._over[gang] = None
            if len(self._over) > MOST_OVER:
                self._over.popitem(last=False)
            for hold in holds:
                hold.end(Stale())
            return
        self._over.pop(gang, None)
        body = NO_ORDERS if orders is None else orjson.dumps({"digest": digest, **orders})
        self._orders[gang] = _Standing(digest, body)
        for hold in holds:
            if hold.digest != digest:
                hold.end(Heard())

    def give_up(self) -> None:
        """Answer for an operator that takes too long."""
        late = asyncio.get_running_loop().time() - VERDICT_SECONDS
        overdue = [number for number, call in self._sent.items() if call.at < late]
        for number in overdue:
            _answer(self._sent.pop(number).verdict, Unavailable("the operator did not answer in time"))
        if overdue:
            self._gather()

    def _gather(self, seconds: float = GATHER_SECONDS) -> None:
        """Send what waits, in a moment: what comes together wakes the operator once."""
        if self._waiting and not self._gathering and len(self._sent) < WINDOW:
            self._gathering = True
            asyncio.get_running_loop().call_later(seconds, self._send)

    def _send(self) -> None:
        self._gathering = False
        frames, now = [], asyncio.get_running_loop().time()
        while self._write is not None and self._waiting and len(self._sent) < WINDOW:
            call = self._waiting.pop()
            call.at = now
            self._number = (self._number + 1) % 2**32
            self._sent[self._number] = call
            frames.append(wire.muster_frame(self._number, call.reporter, call.raw))
        if self._write is not None and frames:
            self._write(b"".join(frames))

    def _remember(self, call: _Call) -> None:
        if self._heard_size >= MOST_HEARD:
            self._heard.clear()  # it costs a round of repeats
            self._heard_size = 0
        self._over.pop(call.gang, None)
        heard = self._heard.setdefault(call.gang, {})
        self._heard_size += call.reporter.uid not in heard
        heard[call.reporter.uid] = call.mark

    def _all_holds(self) -> Iterator[Hold]:
        return (hold for holds in tuple(self._holds.values()) for hold in tuple(holds.values()))


def _answer(future: asyncio.Future[MusterVerdict], verdict: MusterVerdict) -> None:
    if not future.done():
        future.set_result(verdict)
