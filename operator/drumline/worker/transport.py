"""One report, one answer: HTTPS with a bearer token, over a connection that is kept while it works.

The token and the authority are read again for each connection and each report, for both are replaced while a
job runs. Plain HTTP carries no token anywhere but to this very machine.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

TIMEOUT_SECONDS: Final = 5.0
LONGEST_PAUSE: Final = 300.0  # seconds, whatever a server, or what stands before it, asks for
_MAX_ANSWER: Final = 65_536
_LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))


class Answer(NamedTuple):
    """What the server said. Status 0: nobody answered; `error` says why."""

    status: int
    body: Mapping[str, Any] = {}
    retry_after: float = 0.0
    error: str = ""


class Transport:
    """Sends reports to one URL. Not thread-safe."""

    def __init__(self, url: str, token_file: str, ca_file: str, timeout: float = TIMEOUT_SECONDS) -> None:
        self._url = urlsplit(url)
        self._token_file = Path(token_file)
        self._ca_file = Path(ca_file)
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None

    def send(self, body: bytes) -> Answer:
        """POST it. Errors are in the answer; takes at most a few timeouts."""
        try:
            fresh = self._connection is None
            answer = self._post(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            # a connection that lay idle may be gone by no fault of the server's; a timeout is none of these
            gone = isinstance(error, (ConnectionError, ssl.SSLError, http.client.HTTPException))
            if fresh or not gone:
                return Answer(0, error=_said(error))
            return self.send(body)
        if answer.status != http.client.OK:
            self.close()  # another connection may find another server
        return answer

    def close(self) -> None:
        """Close the connection; the next report opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def _post(self, body: bytes) -> Answer:
        if self._connection is None:
            self._connection = connection(self._url, self._ca_file, self._timeout)
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {token(self._token_file)}",
        }
        self._connection.request("POST", self._url.path or "/", body, headers)
        response = self._connection.getresponse()
        text = response.read(_MAX_ANSWER)
        if response.will_close or not response.isclosed():
            self.close()
        return Answer(response.status, document(text), seconds(response.getheader("Retry-After")))


def connection(url: SplitResult, ca_file: Path, timeout: float) -> http.client.HTTPConnection:
    """One that is not open yet. Raises ValueError for a URL that no token may go to, OSError for a bad authority."""
    host = url.hostname or ""
    if url.scheme == "https":
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file.exists() else None)
        return http.client.HTTPSConnection(host, url.port, timeout=timeout, context=context)
    if url.scheme != "http" or host not in _LOOPBACK:
        raise ValueError(f"a report goes over https, not {url.scheme}")
    return http.client.HTTPConnection(host, url.port, timeout=timeout)


def token(file: Path) -> str:
    """The token as it is now. Raises OSError."""
    return file.read_text(encoding="ascii").strip()


def document(text: bytes) -> Mapping[str, Any]:
    """The JSON object in it; an empty one where there is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def seconds(text: str | None) -> float:
    """What `Retry-After` says, as a time that one can wait for: 0 to `LONGEST_PAUSE`."""
    try:
        return min(max(0.0, float(text)), LONGEST_PAUSE) if text else 0.0  # no number is the second of `max`
    except ValueError:
        return 0.0  # a date: the caller waits as long as it would have anyway


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
