"""Whose token it is: TokenReview, remembered for as long as the token is good or `KNOWN_SECONDS`.

What a token says of itself is read first, without trust: one that is no service-account token for our audience
or has expired is refused without a request to the API server. Of the others, each address may have a few
reviewed a second, and a few reviews run at once, so that made-up tokens neither load the API server nor keep
a worker's own from being reviewed. Refusals are remembered apart, so that they push out no good token.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from drumline.api.report import AUDIENCE
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.ingest.limits import Buckets
from drumline.runtime.ingest.verdicts import Reporter

KNOWN_SECONDS: Final = 300.0
REFUSED_SECONDS: Final = 30.0
MOST_KNOWN: Final = 20_000
MOST_REFUSED: Final = 5_000
REVIEWS_AT_ONCE: Final = 16
REVIEWS_WAITING: Final = 512
REVIEWS_A_SECOND: Final = 5.0  # of one address
REVIEWS_BURST: Final = 20
REVIEW_SECONDS: Final = 5.0

_USER: Final = "system:serviceaccount:"
_POD: Final = "authentication.kubernetes.io/pod-"


class DeniedError(Exception):
    """The token proves nothing: 401."""


class CrowdedError(Exception):
    """Too many reviews. `retry_after`: seconds until there is room again."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many unknown tokens")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class _Known:
    reporter: Reporter
    until: float


class Tokens:
    """The tokens that were reviewed. `now` is Unix time in seconds."""

    def __init__(self, client: Client, now: Callable[[], float]) -> None:
        self._client = client
        self._now = now
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._of_pod: dict[str, set[bytes]] = {}
        self._refused: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._reviews: dict[bytes, asyncio.Task[Reporter]] = {}
        self._slots = asyncio.Semaphore(REVIEWS_AT_ONCE)
        self._addresses = Buckets(REVIEWS_A_SECOND, REVIEWS_BURST)

    def known(self, token: str) -> Reporter | None:
        """The pod that a token which was reviewed was issued to."""
        found = self._known.get(_digest(token)) if token.isascii() else None
        return found.reporter if found is not None and found.until > self._now() else None

    async def reporter(self, token: str, address: str) -> Reporter:
        """The pod that `token`, which came from `address`, was issued to.

        Raises DeniedError, CrowdedError, and ApiError when the API server does not answer.
        """
        if not token.isascii():
            raise DeniedError("not a service account's token")
        digest, now = _digest(token), self._now()
        if (known := self._known.get(digest)) is not None:
            if known.until > now:
                return known.reporter
            self._drop(digest)
        if (refused := self._refused.get(digest)) is not None:
            if refused[1] > now:
                raise DeniedError(refused[0])
            del self._refused[digest]
        expires = _expiry(token, now)
        review = self._reviews.get(digest) or self._begin(token, digest, expires, address)
        return await asyncio.shield(review)

    def forget(self, pod_uid: str) -> None:
        """The pod has gone: its tokens prove nothing any more."""
        for digest in tuple(self._of_pod.get(pod_uid, ())):
            self._drop(digest)

    def _begin(self, token: str, digest: bytes, expires: float, address: str) -> asyncio.Task[Reporter]:
        if len(self._reviews) >= REVIEWS_WAITING:
            raise CrowdedError(1.0)
        if early := self._addresses.take(address, self._now()):
            raise CrowdedError(early)
        task = asyncio.create_task(self._review(token, digest, expires))
        self._reviews[digest] = task
        task.add_done_callback(lambda done: self._ended(digest, done))
        return task

    def _ended(self, digest: bytes, review: asyncio.Task[Reporter]) -> None:
        del self._reviews[digest]
        if not review.cancelled():
            review.exception()  # whoever asked may have gone

    async def _review(self, token: str, digest: bytes, expires: float) -> Reporter:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        async with self._slots:
            answer = await self._client.request(
                "POST",
                resource_path("tokenreviews"),
                body=body,
                seconds=REVIEW_SECONDS,
                repeatable=True,
                attempts=2,
            )
        now = self._now()
        try:
            reporter = reporter_of(answer.get("status") or {})
        except DeniedError as error:
            _put(self._refused, digest, (str(error), now + REFUSED_SECONDS), MOST_REFUSED)
            raise
        self._remember(digest, _Known(reporter, min(expires, now + KNOWN_SECONDS)))
        return reporter

    def _remember(self, digest: bytes, known: _Known) -> None:
        if len(self._known) >= MOST_KNOWN:
            self._drop(next(iter(self._known)))
        self._known[digest] = known
        self._of_pod.setdefault(known.reporter.uid, set()).add(digest)

    def _drop(self, digest: bytes) -> None:
        known = self._known.pop(digest)
        of_pod = self._of_pod[known.reporter.uid]
        of_pod.discard(digest)
        if not of_pod:
            del self._of_pod[known.reporter.uid]


def reporter_of(status: Mapping[str, Any]) -> Reporter:
    """The pod that a TokenReview's status names. Raises DeniedError."""
    if not status.get("authenticated") or AUDIENCE not in (status.get("audiences") or ()):
        raise DeniedError("the token is not valid here")
    user = status.get("user") or {}
    name = str(user.get("username") or "")
    pod, uid = (_extra(user, part) for part in ("name", "uid"))
    if not name.startswith(_USER) or not pod or not uid:
        raise DeniedError("the token is not bound to a pod")
    return Reporter(name.removeprefix(_USER).partition(":")[0], pod, uid)


def _extra(user: Mapping[str, Any], part: str) -> str:
    values = (user.get("extra") or {}).get(_POD + part)
    return str(values[0]) if values else ""


def _expiry(token: str, now: float) -> float:
    """When the token says that it expires, in Unix seconds. Raises DeniedError for what cannot be good."""
    claims = _claims(token)
    audience = claims.get("aud")
    if AUDIENCE not in (audience if isinstance(audience, list) else [audience]):
        raise DeniedError(f"the token is not for audience {AUDIENCE}")
    expires = claims.get("exp")
    if not isinstance(expires, int | float) or expires <= now:
        raise DeniedError("the token has expired")
    return float(expires)


def _claims(token: str) -> Mapping[str, Any]:
    """What a JSON web token says, unverified."""
    parts = token.split(".")
    if len(parts) != 3:
        raise DeniedError("not a service account's token")
    try:
        found = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError) as error:
        raise DeniedError("not a service account's token") from error
    if not isinstance(found, dict):
        raise DeniedError("not a service account's token")
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _put(
    cache: OrderedDict[bytes, tuple[str, float]], key: bytes, value: tuple[str, float], most: int
) -> None:
    cache[key] = value
    if len(cache) > most:
        cache.popitem(last=False)
