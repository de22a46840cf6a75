"""Leader election on a Lease, with a fence.

* The holder renews the record every `retry` seconds. It may write until `renew_deadline` after it *sent*
  its last successful renewal, on a monotonic clock: the fence (`check`) says so to every write.
* Another replica takes the record once it has itself watched it stay unchanged for `duration`. By then the
  old holder's fence has been closed for ``duration - renew_deadline``, however long it was stopped.
* A holder that finds its fence closed, or its record taken or gone, calls `on_lost`: the process ends.
* A record without holder was given back after the last write had ended: it is taken at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from drumline.runtime.config import LeaseTimes
from drumline.runtime.errors import ApiError, Conflict, LeaseLost, NotFound
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path

logger = logging.getLogger(__name__)


class Lease:
    """One replica's part in an election. `identity` is unique to the process, `client` its own connection."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float],  # monotonic seconds
        now: Callable[[], float],  # Unix seconds, for people who read the record
        on_lost: Callable[[str], None],
        times: LeaseTimes | None = None,
    ) -> None:
        self._client = client
        self._path = resource_path("leases", namespace, name)
        self._metadata = {"namespace": namespace, "name": name}
        self._identity = identity
        self._clock = clock
        self._now = now
        self._on_lost = on_lost
        self._times = times or LeaseTimes()
        self._record: dict[str, Any] = {}
        self._closes = -math.inf  # when the fence closes
        self._seen = ("", 0.0)  # another's record: version, and when we first saw it

    @property
    def held(self) -> bool:
        """Whether this replica may write now."""
        return self._clock() < self._closes

    def check(self) -> None:
        """The fence: raises LeaseLost, after `on_lost` if we had been the leader, when writing is over."""
        if self.held:
            return
        if self._closes > -math.inf:
            self._lose("the lease could not be renewed in time")
        raise LeaseLost("not the leader")

    async def acquire(self) -> None:
        """Return once this replica is the leader."""
        while True:
            try:
                if self._is_free(record := await self._read()):
                    await self._write(record, self._identity)
                    return
            except ApiError as error:
                logger.warning("cannot take the lease: %s", error)
            await asyncio.sleep(self._times.retry)

    async def hold(self) -> None:
        """Renew until the lease is lost (LeaseLost, after `on_lost`) or the task is cancelled."""
        while True:
            await asyncio.sleep(min(self._times.retry, max(0.0, self._closes - self._clock())))
            self.check()
            try:
                try:
                    await self._write(self._record, self._identity)
                except (Conflict, NotFound):
                    await self._look_again()
            except ApiError as error:
                logger.warning("cannot renew the lease: %s", error)

    async def release(self) -> None:
        """Give the lease back, once nothing is being written any more. Best effort."""
        held, self._closes = self.held, -math.inf
        if held:
            try:
                await self._write(self._record, "")
            except ApiError as error:
                logger.warning("cannot give the lease back, it will run out: %s", error)
            self._closes = -math.inf

    def _is_free(self, record: dict[str, Any]) -> bool:
        """Whether nobody holds the record, or its holder has been silent for long enough."""
        spec, version = record["spec"], record["metadata"].get("resourceVersion", "")
        if spec.get("holderIdentity", "") in ("", self._identity):
            return True
        if version != self._seen[0]:
            self._seen = (version, self._clock())
        patience = max(self._times.duration, float(spec.get("leaseDurationSeconds") or 0))
        return self._clock() - self._seen[1] >= patience

    async def _look_again(self) -> None:
        """After a conflict: somebody edited the record, took it, or deleted it."""
        self._record = await self._read()
        holder = self._record["spec"].get("holderIdentity")
        if holder != self._identity:
            self._lose(f"the lease was taken by {holder}" if holder else "the lease was deleted")

    async def _read(self) -> dict[str, Any]:
        try:
            record = await self._request("GET", self._path)
        except NotFound:
            return {"metadata": self._metadata, "spec": {}}
        return {"metadata": record["metadata"], "spec": record.get("spec") or {}}

    async def _write(self, record: dict[str, Any], holder: str) -> None:
        """Write the record, provided it is unchanged; what counts is the time before it was sent."""
        time = datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = record["spec"] | {"holderIdentity": holder, "renewTime": time}
        spec["leaseDurationSeconds"] = math.ceil(self._times.duration)
        if holder not in ("", record["spec"].get("holderIdentity")):
            spec |= {"acquireTime": time, "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1}
        exists = "resourceVersion" in record["metadata"]
        method, path = ("PUT", self._path) if exists else ("POST", self._path.rsplit("/", 1)[0])
        sent = self._clock()
        self._record = await self._request(method, path, {"metadata": record["metadata"], "spec": spec})
        self._closes = sent + self._times.renew_deadline

    async def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        seconds = self._times.renew_deadline / 2
        return await self._client.request(method, path, body=body, attempts=1, seconds=seconds)

    def _lose(self, why: str) -> None:
        self._closes = -math.inf
        logger.error("leadership lost: %s", why)
        self._on_lost(why)
        raise LeaseLost(why)
