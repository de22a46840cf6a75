"""A few plain requests to an API server: what is needed to start a cluster and to mint tokens.

Tests that do more than that use ``kubectl`` or the project's own client.
"""

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.pki import KeyPair


class ApiError(RuntimeError):
    """The API server's refusal: its HTTP ``code`` and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True)
class Api:
    """Where a server is, which authority signed its certificate, and as whom to speak to it."""

    url: str
    ca: Path
    client: KeyPair | None = None
    token: str | None = None

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        seconds: float = 10,
        content: str = "application/json",
    ) -> Any:
        """Send one JSON request and return the parsed answer, or its text where it is not JSON.

        Raises ``ApiError`` for an HTTP status of 400 or more, ``OSError`` when there is no connection
        (``ssl.SSLError`` inside a ``URLError`` when the certificate is not the expected one).
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data=data, method=method, headers=self._headers(content)
        )
        try:
            with urllib.request.urlopen(request, timeout=seconds, context=self._context()) as answer:
                text = answer.read().decode()
                return json.loads(text) if "json" in answer.headers.get_content_type() else text
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, error.read().decode(errors="replace")) from error

    def healthy(self, path: str = "/readyz") -> bool:
        """Whether the server answers this path with success."""
        try:
            self.request("GET", path, seconds=2)
        except (ApiError, OSError):
            return False
        return True

    def create(self, path: str, body: dict[str, Any]) -> None:
        """Create an object; one that is there already is left alone."""
        try:
            self.request("POST", path, body)
        except ApiError as error:
            if error.code != 409:
                raise

    def _headers(self, content: str) -> dict[str, str]:
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"Content-Type": content, **authorization}

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if self.client is not None:
            context.load_cert_chain(self.client.cert, self.client.key)
        return context
