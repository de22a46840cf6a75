"""Keeps a store equal to what the API server has, by list and watch.

1. List in pages. Objects that the list lacks are removed at its end, so what vanished while nobody
   watched is seen to go.
2. Watch from the list's resource version. Bookmarks move the version on where nothing changes.
3. When the stream ends or falls silent, watch again from the last version; after too many failures in a
   row, or when the server no longer knows that version (410), list again.

Each object is reduced by `project` as it comes in; the rest of it is dropped. Handlers get (old, new)
projections; an object that was deleted and made anew under its name is seen to go and to come. A
projection or handler that raises is counted and logged and costs that one event, never the stream.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, Generic, TypeVar

import orjson

from drumline.runtime.errors import Gone, TransientError, error_of_status
from drumline.runtime.http import Client
from drumline.runtime.store import Key, Store

T = TypeVar("T")
Document = Mapping[str, Any]

PAGE: Final = 500  # objects a request
INACTIVITY: Final = 100.0  # seconds; the server sends a bookmark about once a minute
WATCH_SECONDS: Final = (300, 600)  # how long one watch is asked to last: random, so that they spread
UNMARKED: Final = WATCH_SECONDS[1] + 60.0  # inactivity where the server sends no bookmarks
MAX_BACKOFF: Final = 10.0  # seconds between failed tries
RELIST_AFTER: Final = 5  # failed watches in a row

logger = logging.getLogger(__name__)


class Reflector(Generic[T]):
    """Mirrors one collection of the API into `store`.

    `project` turns an object into what is kept, or None to leave it out; `on_change(old, new)` is called
    after each change, None standing for absent. `path` is from `http_paths.resource_path`. `on_listed` is
    called with the resource version of each list once the store shows it.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        project: Callable[[Document], T | None],
        on_change: Callable[[T | None, T | None], None] | None = None,
        *,
        store: Store[T] | None = None,
        label_selector: str = "",
        field_selector: str = "",
        inactivity: float = INACTIVITY,
        page: int = PAGE,
        on_listed: Callable[[str], None] | None = None,
    ) -> None:
        self.store: Store[T] = Store() if store is None else store
        self.synced = asyncio.Event()
        self.failures = 0  # projections and handlers that raised
        self.lists = 0  # full lists so far
        self.outdated = False  # whether all is to be listed anew: until then the store shows how things were
        self.error: Exception | None = None  # of the last try; None = it went well, or there was none
        self.resource_version = ""
        self._client = client
        self._path = path
        self._project = project
        self._on_change = on_change
        self._selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._selectors = {name: value for name, value in self._selectors.items() if value}
        self._inactivity = inactivity
        self._page = page
        self._on_listed = on_listed
        self._seen: dict[Key, tuple[str, str]] = {}  # uid, resource version

    async def run(self) -> None:
        """Mirror until cancelled."""
        failed = 0
        while True:
            before = self.resource_version
            try:
                if not self.resource_version:
                    await self._list()
                    before = self.resource_version
                self.error = None
                await self._watch()
                if self.resource_version == before:  # a stream that says nothing must not spin
                    await asyncio.sleep(_backoff(1))
                failed = 0
            except Gone:
                logger.info("%s: version %s has expired, listing again", self._path, self.resource_version)
                self.resource_version, self.outdated = "", True
                await asyncio.sleep(_backoff(1))
            except Exception as error:  # noqa: BLE001 - nothing may end a mirror: a frozen one is worse than a late one
                self.error = error
                failed = failed + 1 if self.resource_version == before else 1
                if failed % RELIST_AFTER == 0:
                    self.resource_version, self.outdated = "", True
                self._report(error, failed)
                await asyncio.sleep(_backoff(failed))

    async def _list(self) -> None:
        """Replace the store's contents by what the server has now."""
        seen: set[Key] = set()
        token = ""
        while True:
            params = {**self._selectors, "limit": self._page} | ({"continue": token} if token else {})
            page = await self._client.request("GET", self._path, params=params, seconds=60)
            for document in page.get("items") or ():
                seen.add(self._upsert(document))
            token = page["metadata"].get("continue") or ""
            if not token:
                break
            await asyncio.sleep(0)
        for key in [key for key in self._seen if key not in seen]:
            self._remove(key)
        self.resource_version, self.outdated = page["metadata"]["resourceVersion"], False
        if self._on_listed is not None:
            self._on_listed(self.resource_version)
        self.lists += 1
        self.synced.set()

    async def _watch(self) -> None:
        params = {
            **self._selectors,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self.resource_version,
            "timeoutSeconds": random.randint(*WATCH_SECONDS),  # noqa: S311 - spreads load
        }
        lines = self._client.stream_lines(self._path, params, inactivity=self._inactivity)
        async with aclosing(lines):
            async for line in lines:
                self._event(orjson.loads(line))

    def _event(self, event: Document) -> None:
        kind, document = event["type"], event["object"]
        if kind == "ERROR":
            raise error_of_status(document)
        if kind == "DELETED":
            self._remove(_key(document))
        elif kind != "BOOKMARK":
            self._upsert(document)
        self.resource_version = document["metadata"]["resourceVersion"]

    def _upsert(self, document: Document) -> Key:
        key = _key(document)
        metadata = document["metadata"]
        identity = (metadata["uid"], metadata["resourceVersion"])
        known = self._seen.get(key)
        if known == identity:
            return key
        if known is not None and known[0] != identity[0]:
            self._remove(key)
        self._seen[key] = identity
        try:
            new = self._project(document)
        except Exception:
            self.failures += 1
            logger.exception("%s: cannot read %s/%s", self._path, *key)
            return key
        if new is None:
            self._drop(key)
        else:
            self._tell(self.store.put(key, new), new)
        return key

    def _remove(self, key: Key) -> None:
        self._seen.pop(key, None)
        self._drop(key)

    def _drop(self, key: Key) -> None:
        if (old := self.store.remove(key)) is not None:
            self._tell(old, None)

    def _tell(self, old: T | None, new: T | None) -> None:
        if self._on_change is None:
            return
        try:
            self._on_change(old, new)
        except Exception:
            self.failures += 1
            logger.exception("%s: a change handler failed", self._path)

    def _report(self, error: Exception, failed: int) -> None:
        """Tell people, but not about the first hiccup of a connection."""
        expected = isinstance(error, TransientError) and failed == 1
        logger.log(logging.DEBUG if expected else logging.WARNING, "%s: watch failed: %s", self._path, error)


def _key(document: Document) -> Key:
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _backoff(failed: int) -> float:
    ceiling: float = min(0.1 * 2.0 ** min(failed, 10), MAX_BACKOFF)
    return ceiling * (0.5 + random.random() / 2)  # noqa: S311 - jitter, not a secret
