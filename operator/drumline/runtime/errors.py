# ruff: noqa: N818 - an error is named for the fact
"""Errors of the API server, typed by what the caller must do.

DrumlineError
├── LeaseLost                 stop: another replica may be acting
└── ApiError                  the request failed; status, reason, message, details
    ├── TransientError        the same request may succeed later
    │   ├── Throttled         … after `retry_after` seconds
    │   ├── Unavailable       5xx, or no connection
    │   ├── RequestTimeout    no answer in time: it may have been carried out
    │   └── Unauthorized      the credentials were refused, also after a refresh
    ├── Conflict              look again: the object is not what the request assumed
    ├── AlreadyExists         look whose it is
    ├── NotFound              it (or its kind, or its namespace) is not there
    ├── Gone                  the resource version is too old: list again
    └── TerminalError         this request will never succeed
        ├── Invalid           the object is refused
        ├── Forbidden         RBAC, quota or an admission policy refuses
        ├── FieldDropped      it was made, without something that it is of no use without
        └── NameConflict      the name belongs to somebody else
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

# what every authorizer's no looks like; quotas, policies and webhooks say 403 in words of their own
_DENIED: Final = re.compile(r'\bUser "[^"]*" cannot \w+ (?:resource|path) ')


class DrumlineError(Exception):
    """Base of the operator's own errors."""


class LeaseLost(DrumlineError):
    """Another replica may be acting: write nothing more."""


class ApiError(DrumlineError):
    """A request that the API server (or the way to it) failed.

    `status` is the HTTP status (0 = no answer), `reason` the machine-readable reason of Kubernetes,
    `details` the `details` of its Status object.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "", details: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        self.details: Mapping[str, Any] = details if isinstance(details, Mapping) else {}

    def __str__(self) -> str:
        code = " ".join(str(part) for part in (self.status or "", self.reason) if part)
        return f"{self.message} ({code})" if code else self.message

    @property
    def fields(self) -> tuple[str, ...]:
        """Field paths that the server named as causes, e.g. ``spec.containers[0].image``."""
        causes = self.details.get("causes") or ()
        return tuple(str(cause.get("field")) for cause in causes if cause.get("field"))

    @property
    def denied(self) -> bool:
        """Whether an authorizer said no to us. That of an API server which has only begun says so to everybody."""
        return self.status == 403 and _DENIED.search(self.message) is not None

    @property
    def namespace_ends(self) -> bool:
        """Whether the namespace is being deleted: nothing new can be made in it, and soon nothing is left."""
        causes = self.details.get("causes") or ()
        return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


class TransientError(ApiError):
    """The same request may succeed later. `retry_after`: seconds the server asked for, 0 = did not say."""

    def __init__(self, message: str, *, retry_after: float = 0.0, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.retry_after = retry_after


class Throttled(TransientError):
    """429: the request was not carried out."""


class Unavailable(TransientError):
    """5xx, or the connection failed: it may have been carried out."""


class RequestTimeout(TransientError):
    """No answer in time: it may have been carried out."""


class Unauthorized(TransientError):
    """401: the credentials are not (or no longer) good."""


class Conflict(ApiError):
    """409: a resourceVersion or uid did not match."""


class AlreadyExists(ApiError):
    """409: the name is taken."""


class NotFound(ApiError):
    """404: the object, its kind or its namespace is not there."""


class Gone(ApiError):
    """410: the resource version or continue token is too old."""


class TerminalError(ApiError):
    """A request that will never succeed as it is."""


class Invalid(TerminalError):
    """400, 413, 415 or 422: the object is refused."""


class Forbidden(TerminalError):
    """403: RBAC, quota, or an admission policy refuses."""


class FieldDropped(TerminalError):
    """The object is there, at `version`, but the server kept something of it back without a word."""

    def __init__(self, message: str, version: str) -> None:
        super().__init__(message, status=200, reason="FieldDropped")
        self.version = version


class NameConflict(TerminalError):
    """The name belongs to an object that is not ours. `object_name` is ``pods/x`` or ``services/x``."""

    def __init__(self, object_name: str, message: str) -> None:
        super().__init__(message, status=409, reason="NameConflict")
        self.object_name = object_name


_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: TerminalError,
    406: TerminalError,
    408: RequestTimeout,
    409: Conflict,
    410: Gone,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: Throttled,
    504: RequestTimeout,
}
_BY_REASON: Final[Mapping[str, type[ApiError]]] = {
    "AlreadyExists": AlreadyExists,
    "Expired": Gone,
    "Gone": Gone,
}


def error_type(status: int, reason: str) -> type[ApiError]:
    """Class for an HTTP status and a Kubernetes reason; the reason decides where it says more."""
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    if status >= 500:
        return _BY_STATUS.get(status, Unavailable)
    return _BY_STATUS.get(status, ApiError)


def error_of(status: int, body: bytes, retry_after: float = 0.0) -> ApiError:
    """Error for an answer with HTTP `status` >= 400, whose body should be a Status object."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        parsed = {"message": body[:500].decode(errors="replace").strip()}
    return error_of_status(parsed, status, retry_after)


def error_of_status(document: Mapping[str, Any], status: int = 0, retry_after: float = 0.0) -> ApiError:
    """Error for a Status object, as watches send them in ERROR events."""
    code = status or int(document.get("code") or 500)
    reason = str(document.get("reason") or "")
    kind = error_type(code, reason)
    message = str(document.get("message") or reason or f"HTTP status {code}")
    details = document.get("details")
    if not issubclass(kind, TransientError):
        return kind(message, status=code, reason=reason, details=details)
    if not retry_after and isinstance(details, Mapping):
        retry_after = float(details.get("retryAfterSeconds") or 0.0)
    return kind(message, status=code, reason=reason, details=details, retry_after=retry_after)
