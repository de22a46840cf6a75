"""Unix seconds to and from the RFC 3339 strings of status; see `core.gang.clock`."""

from __future__ import annotations

from drumline.core.gang.clock import rfc3339, rfc3339_millis, unix

__all__ = ["rfc3339", "rfc3339_millis", "unix"]
