"""Events on an owner: best effort, and the same thing is said once in ten minutes."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from drumline.api.meta import MANAGED_BY
from drumline.core.gang.plan import Event
from drumline.runtime.errors import AlreadyExists, ApiError
from drumline.runtime.executor_objects import Owner
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path

QUIET_SECONDS: Final = 600
REMEMBERED: Final = 10_000
MAX_MESSAGE: Final = 1024  # characters the API server accepts

logger = logging.getLogger(__name__)


class Events:
    """Writes events. `now` gives Unix time in seconds, `identity` names this replica."""

    def __init__(self, client: Client, now: Callable[[], float], identity: str = "drumline") -> None:
        self._client = client
        self._now = now
        self._identity = identity
        self._said: OrderedDict[str, float] = OrderedDict()

    async def send(self, owner: Owner, event: Event) -> bool:
        """False if it was said lately, or could not be said. Raises only what the fence raises."""
        now = self._now()
        digest = _digest(owner, event)
        if now - self._said.get(digest, -QUIET_SECONDS) < QUIET_SECONDS:
            return False
        self._said[digest] = now
        self._said.move_to_end(digest)
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return await self._post(owner, self._manifest(owner, event, digest, now))

    async def _post(self, owner: Owner, manifest: dict[str, Any]) -> bool:
        path = resource_path("events", manifest["metadata"]["namespace"])
        try:
            await self._client.request("POST", path, body=manifest, repeatable=True, attempts=2, seconds=5)
        except AlreadyExists:  # this replica's predecessor said so already
            return False
        except ApiError as error:
            logger.warning("event %s on %s/%s: %s", manifest["reason"], owner.namespace, owner.name, error)
            return False
        return True

    def _manifest(self, owner: Owner, event: Event, digest: str, now: float) -> dict[str, Any]:
        """The name holds the ten minutes it was said in, so that a successor does not repeat it."""
        time = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        period = int(now // QUIET_SECONDS)
        return {
            "apiVersion": "v1",
            "kind": "Event",
            # those on what has no namespace are kept in this one
            "metadata": {
                "namespace": owner.namespace or "default",
                "name": f"{owner.name}.{digest}{period:x}",
            },
            "involvedObject": {
                "apiVersion": owner.api_version,
                "kind": owner.kind,
                "namespace": owner.namespace,
                "name": owner.name,
                "uid": owner.uid,
                "resourceVersion": owner.resource_version,
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:MAX_MESSAGE],
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
            "source": {"component": "drumline"},
            "reportingComponent": MANAGED_BY,
            "reportingInstance": self._identity,
        }


def _digest(owner: Owner, event: Event) -> str:
    text = f"{owner.uid}\0{event.type}\0{event.reason}\0{event.message}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]
