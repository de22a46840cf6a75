"""Which backends the cluster can have, and what they say of gangs; and whether it takes requests for nodes.

What is served is asked once when a replica begins to lead and again from time to time: seldom, but soon where a backend
that somebody wants is absent. The objects of a backend are mirrored from the moment that a job is to be admitted by it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

from drumline.core.gang.backends.base import BUILTIN, Found, Need
from drumline.core.gang.backends.registry import OURS, BackendSettings, Choice, adapters, choose
from drumline.core.gang.backing import is_of, resource_of
from drumline.core.gang.names import revision_name
from drumline.core.training.backing import backend_of
from drumline.core.training.observation import Observation
from drumline.core.training.provisioned import NEED
from drumline.runtime.errors import ApiError, NotFound
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.reflector import Reflector
from drumline.runtime.requests import Requests

REFRESH_SECONDS: Final = 300.0
ABSENT_SECONDS: Final = 10.0

logger = logging.getLogger(__name__)


class Backends:
    """Tells decisions about jobs who admits them. `default` is the configured backend.

    `queue_backend` says which one a queue names, "" for none; `changed` is called with the namespace and name of an
    object of a backend's that changed and the uids and pods that own it, `appeared` when other backends are to be had.
    """

    def __init__(
        self,
        client: Client,
        default: str,
        settings: BackendSettings,
        queue_backend: Callable[[str], str],
        label_of: Callable[[str], str],
        namespace: str = "",
    ) -> None:
        self._client = client
        self._default = default
        self._queue_backend = queue_backend
        self._label_of = label_of
        self._namespace = namespace
        self._adapters = adapters(settings)
        self._served: frozenset[Need] = frozenset()
        self.discovered = False  # whether the API server has said what it serves
        self._choices: dict[str, Choice] = {}
        self._wanted: set[str] = set()
        self._mirrors: dict[Need, tuple[Reflector[Found], asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()
        self.requests = Requests(client, namespace, self._wake.set)
        self.changed: Callable[[str, Found], None] = lambda _namespace, _found: None
        self.appeared: Callable[[], None] = lambda: None

    def told(self, obs: Observation) -> Observation:
        """The observation with its backend and what that has of it; the very same for one that has none but ours."""
        obs, name = self.requests.told(obs), self._name(obs)
        self.want(name, backend_of(obs.status))
        if not self._wanted:
            return obs
        choice = self.choice(name) if _runs(obs) else self.offered(name)
        groups = tuple(self._groups(obs))
        if choice is OURS and not groups:
            return obs
        level = obs.spec.scheduling.placement.level if obs.spec is not None else None
        key = self.key_of(level)
        return replace(obs, backend=choice, topology_key=key, groups=groups, groups_known=self.known)

    def choice(self, name: str) -> Choice:
        """The backend of that name as the cluster has it."""
        if name not in self._choices:
            self._choices[name] = choose(name, self._adapters, self._served)
        return self._choices[name]

    def offered(self, name: str) -> Choice:
        """The backend for an attempt that is yet to begin: absent, too, while what it has of gangs may not be listed."""
        choice, denied = self.choice(name), self.denied
        needs = choice.adapter.needs if choice.adapter is not None else ()
        hidden = next((f"{need.plural}.{need.group}" for need in needs if need in denied), "")
        text = f"the operator may not list {hidden}: add {name} to the chart's `backends`"
        return Choice(name, None, text) if hidden else choice

    async def refresh(self) -> bool:
        """Ask what is served; whether it is other than before. An API server that does not answer changes nothing."""
        try:
            served = frozenset(await self._discover())
        except (ApiError, KeyError, TypeError) as error:  # an odd answer may not end what follows them
            logger.warning("cannot discover what other schedulers serve: %s", error)
            return False
        self.discovered = True
        news = self.requests.are_served(NEED in served)
        if served == self._served:
            return news
        self._served = served
        self._choices.clear()
        there = [name for name in self._adapters if self.choice(name).adapter is not None]
        logger.info("backends that the cluster has beside builtin: %s", ", ".join(there) or "none")
        return True

    async def run(self) -> None:
        """Follow what is served, and mirror what is wanted, until cancelled."""
        denied: frozenset[Need] = frozenset()
        try:
            while True:
                self._mirror()
                self.requests.mirror()
                absent = any(self.choice(name).adapter is None for name in self._wanted)
                absent = absent or self.requests.absent or len(self.known) < len(self._mirrors)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), ABSENT_SECONDS if absent else REFRESH_SECONDS)
                self._wake.clear()
                news = await self.refresh()
                before, denied = denied, self.denied
                if news or denied != before:
                    self.appeared()
        finally:
            self.requests.stop()
            for _, task in self._mirrors.values():
                task.cancel()

    def _name(self, obs: Observation) -> str:
        """Of the running attempt; where none runs, of the next one.

        Which queue a gang came from that holds a place with a backend is not asked again.
        """
        named = obs.spec.scheduling.backend if obs.spec is not None else None
        if _runs(obs) or (obs.status.placement is not None and not (named or obs.queue)):
            return backend_of(obs.status)
        if obs.spec is None:
            return BUILTIN
        return self.resolved(named, obs.queue)

    def resolved(self, named: str | None, queue: str) -> str:
        """The backend of a gang that names this one, or none, and waits in that queue."""
        return named or self._queue_backend(queue) or self._default

    def key_of(self, level: str | None) -> str:
        """The node label of a topology level; "" = it has none."""
        return self._label_of(level) if level else ""

    def want(self, *names: str) -> None:
        """Mirror what these backends have of gangs."""
        for name in {*names} - {BUILTIN, *self._wanted}:
            self._wanted.add(name)
            self._wake.set()

    @property
    def known(self) -> frozenset[Need]:
        """The kinds of which everything there is has been seen."""
        return frozenset(need for need, (mirror, _) in self._mirrors.items() if mirror.synced.is_set())

    @property
    def denied(self) -> frozenset[Need]:
        """The kinds of which nothing was ever seen, since the operator may not list them."""
        unseen = (
            (need, mirror.error) for need, (mirror, _) in self._mirrors.items() if not mirror.synced.is_set()
        )
        return frozenset(need for need, error in unseen if isinstance(error, ApiError) and error.denied)

    def named(self, namespace: str, name: str) -> Iterator[Found]:
        """What backends have under that name."""
        there = (mirror.store.get(namespace, name) for mirror, _ in self._mirrors.values())
        return (found for found in there if found is not None)

    def _groups(self, obs: Observation) -> Iterator[Found]:
        """What there is under the names of the job's attempts."""
        job = obs.job
        for attempt in obs.status.attempts:
            found = self.named(job.namespace, revision_name(job.name, attempt.attempt))
            yield from (f for f in found if is_of(job.uid, f.document))

    def _mirror(self) -> None:
        """Mirror the kinds of the backends that are wanted and there, and no others."""
        chosen = (self.choice(name).adapter for name in self._wanted)
        needs = {need for adapter in chosen if adapter is not None for need in adapter.needs}
        for need in self._mirrors.keys() - needs:
            self._mirrors.pop(need)[1].cancel()
        for need in needs - self._mirrors.keys():
            path = resource_path(resource_of(need), self._namespace)
            mirror = Reflector(self._client, path, partial(_found, need), self._on_change)
            self._mirrors[need] = mirror, asyncio.create_task(mirror.run())

    def _on_change(self, old: Found | None, new: Found | None) -> None:
        found = new or old
        if found is not None:
            self.changed(found.document["metadata"].get("namespace", ""), found)

    async def _discover(self) -> list[Need]:
        wanted = {n for known in self._adapters.values() for a in known for n in a.needs} | {NEED}
        groups = (await self._client.request("GET", "/apis"))["groups"]
        versions = {(g["name"], v["version"]) for g in groups for v in g["versions"]}
        found: list[Need] = []
        for group, version in {(n.group, n.version) for n in wanted} & versions:
            with suppress(NotFound):
                listed = await self._client.request("GET", f"/apis/{group}/{version}")
                names = {r["name"] for r in listed.get("resources") or ()}
                found += [n for n in wanted if (n.group, n.version) == (group, version) and n.plural in names]
        return found


def _runs(obs: Observation) -> bool:
    """Whether an attempt is under way, which has a place."""
    attempts = obs.status.attempts
    return obs.status.placement is not None and bool(attempts) and attempts[-1].finished_at is None


def _found(need: Need, document: dict[str, Any]) -> Found:
    """The object without what nobody reads. Lists leave out what kind it is."""
    metadata = {k: v for k, v in document["metadata"].items() if k not in ("managedFields", "annotations")}
    kept = {k: v for k, v in document.items() if k in ("spec", "status")}
    named = {"apiVersion": f"{need.group}/{need.version}", "kind": need.kind}
    return Found(need, metadata["uid"], {**named, "metadata": metadata, **kept})
