"""Requests for nodes in the cluster: whether their kind is served, and a mirror of those that jobs have made.

Nothing is mirrored before a job asks for nodes by one, or has asked, and the kind is there: clusters without pay nothing.
Templates stay mirrored where a job has asked and the kind went, since they outlive it. The chart gives the right to list both
together with the right to create them: where listing is denied, jobs are told so before they ask.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from drumline.api.provisioning import ProvisioningMode
from drumline.core.gang.names import controller_uid
from drumline.core.gang.plan import Resource
from drumline.core.training.observation import Observation
from drumline.core.training.provisioned import REQUESTS, TEMPLATES, Owned, Provisioner, Said
from drumline.runtime.errors import ApiError
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.reflector import Document, Reflector
from drumline.runtime.store import Store

OURS: Final = "app.kubernetes.io/managed-by=drumline"

logger = logging.getLogger(__name__)


class Requests:
    """Tells decisions about jobs what became of their requests. `wake` is called when a job is the first to ask.

    `changed` is called with the owner's uid of an object that came, changed or went.
    """

    def __init__(self, client: Client, namespace: str, wake: Callable[[], None]) -> None:
        self._client = client
        self._namespace = namespace
        self._wake = wake
        self._served = False
        self._wanted = False
        self._has_asked = False
        self._told = False, False, False  # served, listed, denied
        self._mirrors: dict[Resource, tuple[Reflector[Owned], asyncio.Task[None]]] = {}
        self.changed: Callable[[str], None] = lambda _uid: None

    @property
    def absent(self) -> bool:
        """Whether a job asks and the cluster does not know the kind, or what there is of it is not to be had yet."""
        return self._wanted and not (self._served and self._listed and not self._denied)

    def told(self, obs: Observation) -> Observation:
        """The observation with what the cluster says of the job's requests; the very same for one that has none."""
        wish = obs.spec.scheduling.provisioning if obs.spec is not None else None
        asks = wish is not None and wish.mode is ProvisioningMode.REQUEST
        if not asks and obs.status.provisioning is None:
            return obs
        has_asked = self._has_asked or obs.status.provisioning is not None
        if not self._wanted or has_asked != self._has_asked:
            self._wanted, self._has_asked = True, has_asked
            self._wake()
        mine = (
            found
            for mirror, _ in self._mirrors.values()
            for found in mirror.store.by("owner", obs.job.uid).values()
            if found.namespace == obs.job.namespace
        )
        return replace(obs, provisioner=Provisioner(self._served, tuple(mine), self._listed, self._denied))

    def are_served(self, served: bool) -> bool:
        """Take in whether the kind is served; whether that, or what there is of it, is news."""
        if served != self._served:
            logger.info("ProvisioningRequests are %s", "served" if served else "not served any more")
        self._served = served
        before, self._told = self._told, (served, self._listed, self._denied)
        return self._told != before

    def mirror(self) -> None:
        """Mirror requests and their templates where a job asks and they are there."""
        resources: list[Resource] = [REQUESTS] if self._wanted and self._served else []
        if resources or self._has_asked:
            resources.append(TEMPLATES)
        for resource in self._mirrors.keys() - {*resources}:
            self._mirrors.pop(resource)[1].cancel()
        for resource in resources:
            if resource not in self._mirrors:
                store: Store[Owned] = Store({"owner": lambda found: found.owner or None})
                mirror = Reflector(
                    self._client,
                    resource_path(resource, self._namespace),
                    partial(_owned, resource),
                    self._on_change,
                    store=store,
                    label_selector=OURS,
                    on_listed=lambda _: self._wake(),
                )
                self._mirrors[resource] = mirror, asyncio.create_task(mirror.run())

    def stop(self) -> None:
        """Mirror nothing any more."""
        for _, task in self._mirrors.values():
            task.cancel()
        self._mirrors.clear()

    @property
    def _listed(self) -> bool:
        """Whether all requests and templates have been seen."""
        return len(self._mirrors) > 1 and all(mirror.synced.is_set() for mirror, _ in self._mirrors.values())

    @property
    def _denied(self) -> bool:
        """Whether the operator lacks the right to either of them."""
        errors = (mirror.error for mirror, _ in self._mirrors.values())
        return any(isinstance(error, ApiError) and error.denied for error in errors)

    def _on_change(self, old: Owned | None, new: Owned | None) -> None:
        found = new or old
        if found is not None:
            self.changed(found.owner)


def _owned(resource: Resource, document: Document) -> Owned:
    metadata = document["metadata"]
    said = (document.get("status") or {}).get("conditions") or ()
    return Owned(
        resource,
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        controller_uid(metadata),
        bool(metadata.get("deletionTimestamp")),
        tuple(map(_said, said)),
    )


def _said(condition: dict[str, Any]) -> Said:
    words = (str(condition.get(key) or "") for key in ("reason", "message"))
    return Said(str(condition["type"]), condition.get("status") == "True", ": ".join(filter(None, words)))
