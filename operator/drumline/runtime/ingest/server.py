"""``POST /v1/report`` and ``GET /healthz``; see `polls` for ``POST /v1/orders``.

A report passes, in this order, what costs the least first: token known or reviewed, the pod's rate, the body's
size and pace, its form, the job's rate, then the operator. Until the operator has accepted a report of a pod,
the pod's namespace stands for its job, since what a report says of itself is worth nothing yet.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web

from drumline.api.report import MAX_REPORT_BYTES, REPORT_PATH, Report
from drumline.runtime.errors import ApiError
from drumline.runtime.ingest.fair import Waiting
from drumline.runtime.ingest.limits import Buckets, Budget
from drumline.runtime.ingest.link import Link
from drumline.runtime.ingest.listener import Guard
from drumline.runtime.ingest.reading import NotAReportError, Reader, Reading
from drumline.runtime.ingest.tokens import CrowdedError, DeniedError, Tokens
from drumline.runtime.ingest.verdicts import (
    Accepted,
    Forbidden,
    NotLeader,
    Outcome,
    Reporter,
    Stale,
    Unavailable,
    Verdict,
)

BODY_SECONDS: Final = 5.0
BODIES_BYTES: Final = 64 * 2**20  # of all requests together
LIMITED_SECONDS: Final = 1.0
BYTES_MORE: Final = (
    16_384  # so many bytes of a report count as one report more: they cost the operator's loop
)
JOB_SHARE: Final = 4  # a job may send so many times what one pod may
MOST_JOBS: Final = 50_000
BEARER: Final = "bearer "


class Refusal(Exception):  # noqa: N818 - an answer, no error of ours
    """The answer to a report that does not reach the operator, or that the operator refuses."""

    def __init__(
        self, status: int, outcome: Outcome, message: str, retry_after: float = 0.0, *, close: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.outcome = outcome
        self.message = message
        self.retry_after = retry_after  # seconds; 0 = nothing to say
        self.close = close  # the connection is of no more use

    @property
    def delay(self) -> float:
        """Seconds to wait before saying so: a client that sends again at once is slowed down at no cost."""
        return min(self.retry_after, LIMITED_SECONDS) if self.outcome is Outcome.LIMITED else 0.0

    @property
    def headers(self) -> dict[str, str]:
        """What the answer has besides."""
        found = {}
        if self.retry_after:
            found["Retry-After"] = str(max(1, -int(-self.retry_after // 1)))
        if self.status == 401:
            found["WWW-Authenticate"] = "Bearer"
        return found


@dataclass(slots=True)
class Connections:
    """What the server must know of connections."""

    guard: Callable[[Any], Guard | None]
    crowded: Callable[[], bool]


class Server:
    """Answers requests. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        tokens: Tokens,
        link: Link,
        clock: Callable[[], float],
        *,
        rate: float,
        burst: int,
    ) -> None:
        self._tokens = tokens
        self._link = link
        self._clock = clock
        self._pods = Buckets(rate, burst)
        self._jobs = Buckets(rate * JOB_SHARE, burst * JOB_SHARE)
        self.bodies = Budget(BODIES_BYTES)
        self._job_of: OrderedDict[str, str] = OrderedDict()  # pod uid → job uid, as the operator confirmed
        self._reader = Reader()
        self.under_way = 0  # plain requests that are not answered yet
        self.connections = Connections(lambda _transport: None, lambda: False)

    def application(self) -> web.Application:
        """The HTTP application."""
        made = web.Application(middlewares=[self._watched], client_max_size=MAX_REPORT_BYTES)
        made.router.add_post(REPORT_PATH, self._report)
        made.router.add_get("/healthz", _healthy)
        return made

    @web.middleware
    async def _watched(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Tell the connection's guard when to look away."""
        guard = self.connections.guard(request.transport)
        if guard is not None:
            guard.busy()
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            response = _json(error.status, {"error": error.reason})
        finally:
            if guard is not None:
                guard.idle()
        if self.connections.crowded():
            response.force_close()
        return response

    async def _report(self, request: web.Request) -> web.Response:
        try:
            receipt = await self._judged(request)
        except Refusal as refusal:
            await asyncio.sleep(refusal.delay)
            return self._refused(refusal)
        return web.Response(body=receipt, content_type="application/json")

    async def _judged(self, request: web.Request) -> bytes:
        """The receipt. Raises Refusal."""
        authorization = request.headers.get("Authorization", "")
        reporter = await self.reporter(authorization, request.remote or "")
        self.admit(reporter)
        size = request.content_length
        with self.bodies.hold(MAX_REPORT_BYTES if size is None else min(size, MAX_REPORT_BYTES)) as held:
            if not held:
                raise too_many()
            reading, verdict = self.submit(await body_of(request), reporter)
            return self.answer(await asyncio.shield(verdict), reading, reporter)

    def known(self, authorization: str) -> Reporter | None:
        """The pod whose token that is, if it is known already."""
        if authorization[: len(BEARER)].lower() != BEARER:
            return None
        return self._tokens.known(authorization[len(BEARER) :].strip())

    async def reporter(self, authorization: str, address: str) -> Reporter:
        """The pod whose token that is. Raises Refusal."""
        if authorization[: len(BEARER)].lower() != BEARER:
            raise Refusal(401, Outcome.FORBIDDEN, "a bearer token is needed", close=True)
        try:
            return await self._tokens.reporter(authorization[len(BEARER) :].strip(), address)
        except DeniedError as error:
            raise Refusal(401, Outcome.FORBIDDEN, str(error), close=True) from error
        except CrowdedError as error:
            raise _limited(str(error), error.retry_after) from error
        except ApiError as error:
            raise Refusal(503, Outcome.UNAVAILABLE, "the token could not be reviewed", 2.0) from error

    def admit(self, reporter: Reporter) -> None:
        """One more report of a pod. Raises Refusal."""
        if early := self._pods.take(reporter.uid, self._clock()):
            raise _limited("this pod reports too often", early)

    def submit(self, body: bytes, reporter: Reporter) -> tuple[Reading, asyncio.Future[Verdict]]:
        """The report in `body`, and the operator's verdict: others may wait for it too. Raises Refusal."""
        more = len(body) // BYTES_MORE
        self._pods.charge(reporter.uid, more, self._clock())
        try:
            reading = self._reader.read(body, reporter.uid)
        except NotAReportError as error:
            raise Refusal(400, Outcome.INVALID, str(error)) from error
        lane = self._lane(reading.report, reporter, more)
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        waiting = Waiting(reporter, reading.report.sequence, reading.raw(), verdict, reading.since)
        return reading, self._link.submit(lane, reading.source, waiting)

    def _lane(self, report: Report, reporter: Reporter, more: int) -> str:
        """What the report, which counts as `more` besides, takes turns as."""
        if report.job.namespace != reporter.namespace:
            raise Refusal(403, Outcome.FORBIDDEN, f"pod {reporter.pod} is of another namespace")
        job = self._job_of.get(reporter.uid)
        if job is None:
            return f"namespace {reporter.namespace}"
        if job != report.job.uid:
            raise Refusal(403, Outcome.FORBIDDEN, f"pod {reporter.pod} is of another job")
        if early := self._jobs.take(job, self._clock()):
            raise _limited("this job reports too often", early)
        self._jobs.charge(job, more, self._clock())
        return job

    def answer(self, verdict: Verdict, reading: Reading, reporter: Reporter) -> bytes:
        """The receipt, as JSON. Raises Refusal."""
        if not isinstance(verdict, Accepted):
            self._reader.forget(reading)
        match verdict:
            case Accepted(receipt, held_ms):
                self._confirm(reporter.uid, reading.report.job.uid)
                self._reader.hold(reading, held_ms)
                self._link.count(Outcome.ACCEPTED)
                return receipt.model_dump_json(by_alias=True).encode()
            case Stale(message):
                raise Refusal(409, Outcome.STALE, message)
            case Forbidden(message, gone):
                if gone:
                    self.forget(reporter)
                raise Refusal(403, Outcome.FORBIDDEN, message)
            case NotLeader(retry_after):
                # a new connection may reach the replica that leads
                raise Refusal(503, Outcome.NOT_LEADER, "this replica does not lead", retry_after, close=True)
            case Unavailable(message, retry_after):
                raise Refusal(503, Outcome.UNAVAILABLE, message, retry_after)

    def forget(self, reporter: Reporter) -> None:
        """There is no such pod any more: its token proves nothing."""
        self._tokens.forget(reporter.uid)
        self._job_of.pop(reporter.uid, None)

    def _confirm(self, pod: str, job: str) -> None:
        self._job_of[pod] = job
        self._job_of.move_to_end(pod)
        if len(self._job_of) > MOST_JOBS:
            self._job_of.popitem(last=False)

    def count(self, refusal: Refusal) -> None:
        """A report was refused."""
        self._link.count(refusal.outcome)

    def _refused(self, refusal: Refusal) -> web.Response:
        self.count(refusal)
        return refused(refusal)


def refused(refusal: Refusal) -> web.Response:
    """A refusal, as it is answered."""
    response = _json(refusal.status, {"error": refusal.message})
    response.headers.update(refusal.headers)
    if refusal.close:
        response.force_close()
    return response


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def body_of(request: web.Request, most: int = MAX_REPORT_BYTES, what: str = "a report") -> bytes:
    """The whole body, `most` bytes. Raises Refusal when it is too large, too slow, or compressed."""
    too_large = Refusal(413, Outcome.INVALID, f"{what} has at most {most} bytes", close=True)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal(415, Outcome.INVALID, f"{what} is not compressed", close=True)
    if (request.content_length or 0) > most:
        raise too_large
    if request.content.is_eof() and request.content.total_bytes <= most:  # it came with the head
        return request.content.read_nowait()
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > most:
                    raise too_large
    except TimeoutError as error:
        raise too_slow() from error
    except (ConnectionError, web.PayloadAccessError) as error:
        raise Refusal(400, Outcome.INVALID, "the body broke off", close=True) from error
    return b"".join(parts)


def too_many() -> Refusal:
    """There is no memory for one more body."""
    return _limited("too many reports at once", 1.0)


def too_slow() -> Refusal:
    """The body did not come."""
    message = f"the body did not arrive within {BODY_SECONDS:.0f} s"
    return Refusal(408, Outcome.INVALID, message, close=True)


def _limited(message: str, retry_after: float) -> Refusal:
    return Refusal(429, Outcome.LIMITED, message, retry_after)


def _json(status: int, document: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")
