"""Which tokens are reviewed, how often, and for how long the answer counts."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from drumline.runtime.errors import Unavailable
from drumline.runtime.ingest.tokens import (
    KNOWN_SECONDS,
    MOST_REFUSED,
    REFUSED_SECONDS,
    REVIEWS_BURST,
    CrowdedError,
    DeniedError,
    Tokens,
    reporter_of,
)
from drumline.runtime.ingest.verdicts import Reporter

NOW = 1_800_000_000.0


def token(name: str = "a", **claims: Any) -> str:
    body = orjson.dumps({"aud": ["drumline"], "exp": NOW + 3600, **claims})
    return f"e30.{base64.urlsafe_b64encode(body).decode().rstrip('=')}.{name}"


def status(pod: str = "p", uid: str = "u", **fields: Any) -> dict[str, Any]:
    extra = {f"authentication.kubernetes.io/pod-{k}": [v] for k, v in (("name", pod), ("uid", uid))}
    user = {"username": "system:serviceaccount:ns:default", "extra": extra}
    return {"authenticated": True, "audiences": ["drumline"], "user": user, **fields}


class Api:
    """Answers reviews."""

    def __init__(self) -> None:
        self.reviewed: list[str] = []
        self.answer: Callable[[str], dict[str, Any]] = lambda _token: status()
        self.gate: asyncio.Event | None = None

    async def request(self, method: str, path: str, *, body: Any, **_kwargs: Any) -> Any:
        assert (method, path) == ("POST", "/apis/authentication.k8s.io/v1/tokenreviews")
        assert body["spec"]["audiences"] == ["drumline"]
        self.reviewed.append(body["spec"]["token"])
        if self.gate is not None:
            await self.gate.wait()
        return {"status": self.answer(body["spec"]["token"])}


class Clock:
    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(api: Api, clock: Clock) -> Tokens:
    return Tokens(api, clock)  # type: ignore[arg-type]


async def test_a_good_token_is_reviewed_once_in_a_while(tokens: Tokens, api: Api, clock: Clock) -> None:
    for _ in range(3):
        assert await tokens.reporter(token(), "1.1.1.1") == Reporter("ns", "p", "u")
    assert len(api.reviewed) == 1
    clock.seconds += KNOWN_SECONDS
    await tokens.reporter(token(), "1.1.1.1")
    assert len(api.reviewed) == 2


async def test_it_is_not_known_for_longer_than_it_lives(tokens: Tokens, api: Api, clock: Clock) -> None:
    short = token(exp=NOW + 10)
    await tokens.reporter(short, "1.1.1.1")
    clock.seconds += 11
    with pytest.raises(DeniedError, match="expired"):
        await tokens.reporter(short, "1.1.1.1")
    assert len(api.reviewed) == 1


async def test_a_pod_that_has_gone_is_forgotten(tokens: Tokens, api: Api) -> None:
    api.answer = lambda t: status(uid=t[-1])
    for name in "abc":
        await tokens.reporter(token(name), "1.1.1.1")
    tokens.forget("b")
    tokens.forget("never seen")
    for name in "abc":
        await tokens.reporter(token(name), "1.1.1.1")
    assert [t[-1] for t in api.reviewed] == ["a", "b", "c", "b"]


@pytest.mark.parametrize(
    "bad",
    [
        *("", "x", "a.b", "a.%.c", "a.W10.c", "a.e30.c", token("\udc80")),
        *(token(aud="other"), token(exp=NOW), token(exp="soon")),
    ],
)
async def test_what_cannot_be_good_costs_no_review(tokens: Tokens, api: Api, bad: str) -> None:
    with pytest.raises(DeniedError):
        await tokens.reporter(bad, "1.1.1.1")
    assert api.reviewed == []


async def test_a_refusal_is_remembered_for_a_while(tokens: Tokens, api: Api, clock: Clock) -> None:
    api.answer = lambda _token: {"authenticated": False}
    for _ in range(3):
        with pytest.raises(DeniedError, match="not valid here"):
            await tokens.reporter(token(), "1.1.1.1")
    assert len(api.reviewed) == 1
    api.answer = lambda _token: status()
    clock.seconds += REFUSED_SECONDS
    assert (await tokens.reporter(token(), "1.1.1.1")).pod == "p"


async def test_an_address_with_many_unknown_tokens_waits_alone(
    tokens: Tokens, api: Api, clock: Clock
) -> None:
    api.answer = lambda _token: {"authenticated": False}
    for i in range(REVIEWS_BURST):
        with pytest.raises(DeniedError):
            await tokens.reporter(token(str(i)), "6.6.6.6")
    with pytest.raises(CrowdedError) as crowded:
        await tokens.reporter(token("more"), "6.6.6.6")
    assert 0 < crowded.value.retry_after <= 1
    api.answer = lambda _token: status()
    assert (await tokens.reporter(token("good"), "1.1.1.1")).pod == "p"
    clock.seconds += 1
    assert (await tokens.reporter(token("late"), "6.6.6.6")).pod == "p"


async def test_refusals_push_out_no_good_token(tokens: Tokens, api: Api) -> None:
    await tokens.reporter(token("good"), "1.1.1.1")
    api.answer = lambda _token: {"authenticated": False}
    for i in range(MOST_REFUSED + 100):
        with pytest.raises(DeniedError):
            await tokens.reporter(token(str(i)), f"6.6.{i // 10}.6")
    before = len(api.reviewed)
    assert (await tokens.reporter(token("good"), "1.1.1.1")).pod == "p"
    assert len(api.reviewed) == before


async def test_who_asks_at_once_shares_a_review(tokens: Tokens, api: Api) -> None:
    api.gate = asyncio.Event()
    asking = [asyncio.create_task(tokens.reporter(token(), "1.1.1.1")) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    api.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {a.pod for a in answers[1:] if isinstance(a, Reporter)} == {"p"}
    assert len(api.reviewed) == 1


async def test_an_api_server_that_does_not_answer_is_asked_again(tokens: Tokens, api: Api) -> None:
    def fail(_token: str) -> dict[str, Any]:
        raise Unavailable("away")

    api.answer = fail
    with pytest.raises(Unavailable):
        await tokens.reporter(token(), "1.1.1.1")
    api.answer = lambda _token: status()
    assert (await tokens.reporter(token(), "1.1.1.1")).pod == "p"


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({}, "not valid"),
        (status(audiences=["https://kubernetes.default.svc"]), "not valid"),
        (status(user={"username": "system:serviceaccount:ns:default"}), "not bound"),
        (status(user={**status()["user"], "username": "alice"}), "not bound"),
        (status(pod=""), "not bound"),
    ],
)
def test_only_pods_report(found: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DeniedError, match=complaint):
        reporter_of(found)
