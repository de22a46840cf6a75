"""``POST /v1/orders``: a launcher says what its process does, and hears what there is to do.

A poll passes what a report passes, token, rate, body, form, the operator's word on whose it is, with limits of its
own: it spends nothing of what the pod may report. Then it is held until its gang has orders that it does not
know, or for `HOLD_SECONDS`, each pod's a little less so that they do not all come back together. While too many
are held already it is answered at once, with the time after which to ask again, or, where its gang has fewer of them
than another, one of that other is. A client that sends its next
request meanwhile, since its process did something, ends the hold; so does one that hangs up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn
from zlib import crc32

from aiohttp import web
from pydantic import ValidationError

from drumline.api.orders import HOLD_SECONDS, ORDERS_PATH, Muster
from drumline.runtime.ingest import server as reports
from drumline.runtime.ingest.limits import Buckets, Budget
from drumline.runtime.ingest.musters import Hold, Musters, gang_of
from drumline.runtime.ingest.reading import first_error
from drumline.runtime.ingest.server import Refusal, Server
from drumline.runtime.ingest.verdicts import (
    Forbidden,
    Heard,
    MusterVerdict,
    NotLeader,
    Outcome,
    Reporter,
    Stale,
    Unavailable,
)

MAX_MUSTER_BYTES: Final = 131_072
BODIES_BYTES: Final = 16 * 2**20  # of all polls whose body is on its way
RATE: Final = 1.0  # musters a second of one pod …
BURST: Final = 20  # … and so many at once: a process that fails says three things in a moment
JITTER: Final = 0.2  # of `HOLD_SECONDS`
AGAIN_SECONDS: Final = 15.0  # where there is no room to wait


class _Stir:
    """Ends a hold when it is called, or as soon as there is one if it was called before."""

    def __init__(self) -> None:
        self._came = False
        self._hold: Hold | None = None

    def __call__(self) -> None:
        self._came = True
        if self._hold is not None:
            self._hold.end(Heard())

    def ends(self, hold: Hold) -> None:
        """That one."""
        self._hold = hold
        if self._came:
            hold.end(Heard())


class Polls:
    """Answers polls. `most` are held at once. `clock` is monotonic, in seconds."""

    def __init__(self, server: Server, musters: Musters, clock: Callable[[], float], most: int) -> None:
        self._server = server
        self._musters = musters
        self._clock = clock
        self._most = most
        self._pods = Buckets(RATE, BURST)
        self._bodies = Budget(BODIES_BYTES)

    def add_to(self, application: web.Application) -> None:
        """Serve the path there."""
        application.router.add_post(ORDERS_PATH, self._poll)

    async def _poll(self, request: web.Request) -> web.Response:
        try:
            reporter = await self._server.reporter(
                request.headers.get("Authorization", ""), request.remote or ""
            )
            muster = await self._muster(request, reporter)
            return await self._answered(request, muster, reporter)
        except Refusal as refusal:
            await asyncio.sleep(refusal.delay)
            return reports.refused(refusal)

    async def _muster(self, request: web.Request, reporter: Reporter) -> Muster:
        if early := self._pods.take(reporter.uid, self._clock()):
            raise Refusal(429, Outcome.LIMITED, "this pod asks too often", early)
        size = request.content_length
        with self._bodies.hold(MAX_MUSTER_BYTES if size is None else min(size, MAX_MUSTER_BYTES)) as held:
            if not held:
                raise reports.too_many()
            body = await reports.body_of(request, MAX_MUSTER_BYTES, "a muster")
        try:
            muster = Muster.model_validate_json(body)
        except ValidationError as error:
            raise Refusal(400, Outcome.INVALID, first_error(error)) from error
        if muster.job.namespace != reporter.namespace:
            raise Refusal(403, Outcome.FORBIDDEN, f"pod {reporter.pod} is of another namespace")
        return muster

    async def _answered(self, request: web.Request, muster: Muster, reporter: Reporter) -> web.Response:
        with self._stirred(request) as stir:
            self._check(await asyncio.shield(self._musters.submit(muster, reporter)), reporter)
            if self._full and not self._musters.make_room(gang_of(muster)):
                return self._orders(muster, again=True)
            hold = self._musters.hold(muster, reporter.uid)
            stir.ends(hold)
            late = asyncio.get_running_loop().call_later(_seconds(hold.pod), hold.end, Heard())
            try:
                self._check(await hold.ended, reporter)
            finally:
                late.cancel()
                self._musters.release(hold)
        return self._orders(muster, again=hold.displaced)

    @property
    def _full(self) -> bool:
        return self._musters.held >= self._most or self._server.connections.crowded()

    def _orders(self, muster: Muster, *, again: bool = False) -> web.Response:
        body = self._musters.body(gang_of(muster))
        response = web.Response(body=body, content_type="application/json")
        if again:
            response.headers["Retry-After"] = f"{AGAIN_SECONDS:.0f}"
            response.force_close()
        return response

    @contextmanager
    def _stirred(self, request: web.Request) -> Iterator[_Stir]:
        """Hears of it when the client sends something more, or hangs up."""
        stir = _Stir()
        guard = self._server.connections.guard(request.transport)
        if guard is None:
            yield stir
            return
        guard.watch(stir)
        try:
            yield stir
        finally:
            guard.unwatch()

    def _check(self, verdict: MusterVerdict, reporter: Reporter) -> None:
        """Raises Refusal when there is nothing to be told."""
        if not isinstance(verdict, Heard):
            self._refuse(verdict, reporter)

    def _refuse(self, verdict: Stale | Forbidden | NotLeader | Unavailable, reporter: Reporter) -> NoReturn:
        match verdict:
            case Stale(message):
                raise Refusal(409, Outcome.STALE, message)
            case Forbidden(message, gone):
                if gone:
                    self._server.forget(reporter)
                raise Refusal(403, Outcome.FORBIDDEN, message)
            case NotLeader(retry_after):
                raise Refusal(503, Outcome.NOT_LEADER, "this replica does not lead", retry_after, close=True)
            case Unavailable(message, retry_after):
                raise Refusal(503, Outcome.UNAVAILABLE, message, retry_after)


def _seconds(pod: str) -> float:
    """For how long a poll of that pod is held."""
    part = (crc32(pod.encode()) % 1000) / 1000
    return HOLD_SECONDS * (1.0 - JITTER * part)
