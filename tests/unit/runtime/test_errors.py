import pytest

from drumline.runtime import errors


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "Conflict", errors.Conflict),
        (404, "NotFound", errors.NotFound),
        (410, "Expired", errors.Gone),
        (500, "Expired", errors.Gone),
        (422, "Invalid", errors.Invalid),
        (400, "BadRequest", errors.Invalid),
        (403, "Forbidden", errors.Forbidden),
        (405, "MethodNotAllowed", errors.TerminalError),
        (429, "TooManyRequests", errors.Throttled),
        (401, "Unauthorized", errors.Unauthorized),
        (500, "InternalError", errors.Unavailable),
        (503, "", errors.Unavailable),
        (504, "Timeout", errors.RequestTimeout),
        (418, "", errors.ApiError),
    ],
)
def test_type_says_what_to_do(status: int, reason: str, expected: type) -> None:
    assert errors.error_type(status, reason) is expected


def test_error_carries_what_the_server_said() -> None:
    body = b'{"reason":"Invalid","message":"no","details":{"name":"x","causes":[{"field":"spec.a"},{"reason":"r"}]}}'
    error = errors.error_of(422, body)
    assert (error.status, error.reason, error.message) == (422, "Invalid", "no")
    assert error.fields == ("spec.a",)
    assert str(error) == "no (422 Invalid)"


@pytest.mark.parametrize(
    ("status", "message", "denied"),
    [
        (
            403,
            'pods is forbidden: User "system:serviceaccount:a:b" cannot create resource "pods" in API group ""',
            True,
        ),
        (403, 'forbidden: User "x" cannot get path "/readyz"', True),
        (403, 'pods "job-1-0-0" is forbidden: exceeded quota: pods, requested: pods=1', False),
        (403, 'pods "a" is forbidden: violates PodSecurity "restricted:latest"', False),
        (422, 'User "x" cannot create resource "pods"', False),
    ],
)
def test_an_authorizers_no_is_known_from_others(status: int, message: str, denied: bool) -> None:
    assert errors.error_of_status({"message": message}, status).denied is denied


def test_answer_that_is_no_status_becomes_the_message() -> None:
    error = errors.error_of(502, b"<html>bad gateway</html>")
    assert isinstance(error, errors.Unavailable)
    assert error.message == "<html>bad gateway</html>"
    assert errors.error_of(404, b"[]").message == "[]"


def test_retry_after_from_header_or_details() -> None:
    told = errors.error_of(429, b"{}", retry_after=3.0)
    hinted = errors.error_of(429, b'{"details":{"retryAfterSeconds":7}}')
    assert isinstance(told, errors.TransientError)
    assert isinstance(hinted, errors.TransientError)
    assert (told.retry_after, hinted.retry_after) == (3.0, 7.0)


def test_watch_error_event_without_code_is_transient() -> None:
    assert isinstance(errors.error_of_status({"message": "etcd is away"}), errors.Unavailable)
    assert isinstance(errors.error_of_status({"code": 410, "reason": "Expired"}), errors.Gone)


def test_name_conflict_is_terminal() -> None:
    error = errors.NameConflict("pods/a-1-0-0", "taken")
    assert isinstance(error, errors.TerminalError)
    assert error.object_name == "pods/a-1-0-0"
