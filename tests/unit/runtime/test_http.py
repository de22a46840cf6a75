import pytest

from drumline.runtime.errors import (
    AlreadyExists,
    Invalid,
    LeaseLost,
    NotFound,
    RequestTimeout,
    Throttled,
    Unauthorized,
    Unavailable,
)
from drumline.runtime.http import JSON_PATCH, Client

PODS = "/api/v1/namespaces/ns/pods"


async def test_answer_is_parsed(client, served) -> None:
    served.say(200, {"items": [1]})
    assert await client.request("GET", PODS, params={"limit": 5, "labelSelector": "a=b"}) == {"items": [1]}
    assert served.requests == [("GET", PODS + "?limit=5&labelSelector=a%3Db", b"")]


async def test_bodies_are_encoded_or_sent_as_they_are(client, served) -> None:
    served.say(201, {})
    served.say(200, {})
    await client.request("POST", PODS, body=b'{"raw":1}')
    await client.request("PATCH", PODS + "/a", body=[{"op": "test"}], content_type=JSON_PATCH)
    assert [body for _, _, body in served.requests] == [b'{"raw":1}', b'[{"op":"test"}]']


@pytest.mark.parametrize("failure", [429, 500, 502, 503, 504])
async def test_read_is_tried_again(client, served, failure: int) -> None:
    served.fail(failure, "", retry_after=0)
    served.say(200, {"ok": True})
    assert await client.request("GET", PODS) == {"ok": True}


async def test_lost_connection_is_tried_again(client, served) -> None:
    served.hang_up()
    served.say(200, {})
    assert await client.request("DELETE", PODS + "/a", body={}) == {}


async def test_tries_are_bounded(client, served) -> None:
    for _ in range(3):
        served.fail(503, "ServiceUnavailable")
    with pytest.raises(Unavailable):
        await client.request("GET", PODS, attempts=3)
    assert len(served.requests) == 3


async def test_create_is_repeated_only_where_that_is_safe(client, served) -> None:
    served.fail(500, "InternalError")
    with pytest.raises(Unavailable):
        await client.request("POST", PODS, body={})
    served.fail(500, "InternalError")
    served.say(201, {})
    assert await client.request("POST", PODS, body={}, repeatable=True) == {}


async def test_throttled_create_is_repeated_since_it_was_not_carried_out(client, served) -> None:
    served.fail(429, "TooManyRequests", retry_after=0)
    served.say(201, {})
    assert await client.request("POST", PODS, body={}) == {}


async def test_final_answers_are_not_repeated(client, served) -> None:
    served.fail(422, "Invalid", message="spec.containers: Required value")
    served.fail(409, "AlreadyExists")
    with pytest.raises(Invalid, match="Required value"):
        await client.request("POST", PODS, body={}, repeatable=True)
    with pytest.raises(AlreadyExists):
        await client.request("POST", PODS, body={}, repeatable=True)
    assert len(served.requests) == 2


async def test_retry_after_is_reported_when_tries_are_used_up(client, served) -> None:
    served.fail(429, "TooManyRequests", retry_after=9)
    with pytest.raises(Throttled) as caught:
        await client.request("GET", PODS, attempts=1)
    assert caught.value.retry_after == 9


async def test_silence_is_a_timeout(client, served) -> None:
    served.stream(forever=True)
    with pytest.raises(RequestTimeout):
        await client.request("GET", PODS, seconds=0.05, attempts=1)


async def test_refused_token_is_refreshed_once(client, served, connection) -> None:
    connection.tokens = ["old", "new"]
    served.fail(401, "Unauthorized")
    served.say(201, {})
    assert await client.request("POST", PODS, body={}) == {}
    assert served.tokens == ["Bearer old", "Bearer new"]


async def test_refused_token_without_a_newer_one_fails(client, served) -> None:
    served.fail(401, "Unauthorized")
    with pytest.raises(Unauthorized):
        await client.request("GET", PODS, attempts=1)


async def test_fence_stops_writes_and_lets_reads_through(connection, served) -> None:
    def fence() -> None:
        raise LeaseLost("expired")

    async with Client(connection, fence=fence) as client:
        served.say(200, {})
        assert await client.request("GET", PODS) == {}
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with pytest.raises(LeaseLost):
                await client.request(method, PODS, body={})
    assert [method for method, _, _ in served.requests] == ["GET"]


async def test_fence_that_falls_while_connecting_sends_nothing(connection, served) -> None:
    asked = []

    def fence() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise LeaseLost("expired")

    async with Client(connection, fence=fence) as client:
        with pytest.raises(LeaseLost):
            await client.request("PUT", PODS + "/a", body={"a": 1})
    assert served.requests == []
    assert len(asked) >= 3  # before the request, at the socket, before the next try


async def test_closed_fence_breaks_open_connections_for_writes_only(connection, served) -> None:
    open_ = [True, True, True]

    def fence() -> None:
        if not open_.pop():
            raise LeaseLost("expired")

    async with Client(connection, fence=fence, attempts=1) as client:
        served.say(201, {})
        served.say(200, {})
        await client.request("POST", PODS, body={"a": 1})
        open_[:] = [False] * 10 + [True]  # closes between the request's check and the socket's
        with pytest.raises(Unavailable):
            await client.request("POST", PODS, body={"a": 2})
        assert await client.request("GET", PODS) == {}
    assert [method for method, _, _ in served.requests] == ["POST", "GET"]


async def test_requests_are_counted(connection, served) -> None:
    seen: list[tuple[str, str, str]] = []
    async with Client(connection, observer=lambda *labels: seen.append(labels)) as client:
        served.say(201, {})
        served.fail(404, "NotFound")
        served.hang_up()
        served.hang_up()  # the HTTP library itself tries again when a kept connection turns out dead
        await client.request("POST", PODS, body={})
        for _ in range(2):
            with pytest.raises((NotFound, Unavailable)):
                await client.request("GET", PODS + "/a", attempts=1)
    assert seen == [("create", "pods", "201"), ("get", "pods", "404"), ("get", "pods", "error")]


async def test_stream_splits_lines_across_chunks(client, served) -> None:
    long = b"x" * 300_000
    served.stream(b'{"a":', b"1}\n" + long[:10], long[10:] + b"\n\n", b"cut off")
    lines = [line async for line in client.stream_lines(PODS, {"watch": "1"})]
    assert lines == [b'{"a":1}', long]


async def test_silent_stream_times_out(client, served) -> None:
    served.stream(b"one\n", forever=True)
    stream = client.stream_lines(PODS, inactivity=0.05)
    assert await anext(stream) == b"one"
    with pytest.raises(RequestTimeout):
        await anext(stream)


async def test_refused_stream_raises(client, served) -> None:
    served.fail(422, "Invalid")
    with pytest.raises(Invalid):
        await anext(client.stream_lines(PODS))
