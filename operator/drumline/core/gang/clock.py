"""Unix seconds to and from the RFC 3339 strings of status. No clock is read here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

SKEW_SECONDS: Final = 30.0  # by which clocks of healthy machines may differ


def rfc3339(seconds: float) -> str:
    """Whole seconds, as metav1.Time has them."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_millis(seconds: float) -> str:
    """Milliseconds, for what is added up or shown as a duration."""
    moment = datetime.fromtimestamp(round(seconds, 3), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def unix(text: str | None, default: float = 0.0) -> float:
    """Unix seconds of an RFC 3339 string; `default` for None or an unreadable one."""
    if not text:
        return default
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return default


def is_ahead(text: str | None, now: float) -> bool:
    """Whether a moment that was the present to somebody lies in the future: his clock has been put back since."""
    return unix(text) - now > SKEW_SECONDS
