"""The catalogue in force: the one that settings give, with a ConfigMap of the operator's namespace merged over it.

It may have power budgets of topology domains beside the accelerator types, or instead of them. The ConfigMap is followed live. One that can't be used leaves catalogue and budgets as they are; the log names each field that is wrong, and the leader says
so by an event on the ConfigMap. Without the ConfigMap the settings' catalogue holds, and no budget.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from drumline.api.catalog import Catalog, CatalogError
from drumline.api.errors import FieldError
from drumline.api.power import budgets_of
from drumline.api.reasons import Reason
from drumline.core.gang.plan import Event
from drumline.core.gang.power import Budget, Power, budget_of, ratings_of
from drumline.core.gang.topology import Topology
from drumline.runtime.executor_events import Events
from drumline.runtime.executor_objects import Owner
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.reflector import Reflector

DATA_KEY: Final = "catalog.yaml"
POWER_KEY: Final = "power.yaml"
SHOWN: Final = 5  # faults in an event

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Override:
    """The ConfigMap as read: the catalogue with it merged in, or what is wrong with it."""

    owner: Owner
    catalog: Catalog | None
    budgets: tuple[Budget, ...] = ()
    faults: tuple[FieldError, ...] = ()


class Catalogue:
    """What `current` is; `changed` is called with each new one."""

    def __init__(self, base: Catalog, topology: Topology | None = None) -> None:
        self.current = base
        self.topology = topology or Topology()  # whose levels budgets are of
        self.budgets: tuple[Budget, ...] = ()
        self.changed: Callable[[Catalog], None] = lambda _catalog: None
        self.reflectors: tuple[Reflector[Override], ...] = ()
        self._base = base
        self._faulty: Override | None = None
        self._news = asyncio.Event()
        self._events: Events | None = None

    @property
    def power(self) -> Power:
        """What is known of power."""
        return Power(self.budgets, ratings_of(self.current))

    def follow(self, client: Client, namespace: str, name: str, now: Callable[[], float]) -> None:
        """Merge this ConfigMap over the base, now and whenever it changes. `now` gives Unix time in seconds."""
        path = resource_path("configmaps", namespace)
        selector = f"metadata.name={name}"
        self.reflectors = (Reflector(client, path, self.read, self._on_change, field_selector=selector),)
        self._events = Events(client, now)

    async def tell(self) -> None:
        """As leader: an event for each faulty ConfigMap, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._events is None or self._faulty is None:
                continue
            faults = self._faulty.faults
            text = "; ".join(map(str, faults[:SHOWN]))
            text += f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
            event = Event("Warning", Reason.INVALID_CATALOG, f"the catalogue stays as it was: {text}"[:1024])
            await self._events.send(self._faulty.owner, event)

    def read(self, document: Mapping[str, Any]) -> Override:
        """What a ConfigMap makes of the catalogue. A fault is a result, never an exception."""
        metadata = document["metadata"]
        names = metadata["namespace"], metadata["name"]
        owner = Owner("v1", "ConfigMap", "configmaps", *names, metadata["uid"], metadata["resourceVersion"])
        try:
            data = document.get("data") or {}
            budgets = _budgets(_present(data).get(POWER_KEY), self.topology.level_names())
            return Override(owner, self._merged(data.get(DATA_KEY)), budgets)
        except CatalogError as error:
            return Override(owner, None, faults=error.errors)
        except Exception as error:  # noqa: BLE001 - whatever stands there, the catalogue in force goes on
            fault = FieldError(f"data[{DATA_KEY}]", f"cannot be read: {error}")
            return Override(owner, None, faults=(fault,))

    def _merged(self, text: str | None) -> Catalog:
        override = None if text is None else yaml.safe_load(text)
        if override is None:
            return self._base
        if not isinstance(override, Mapping):
            given = f"given {type(override).__name__}; allowed: accelerator types with their fields"
            raise CatalogError((FieldError(f"data[{DATA_KEY}]", given),))
        return self._base.merged(override)

    def _on_change(self, _old: Override | None, new: Override | None) -> None:
        self._faulty = new if new is not None and new.catalog is None else None
        if new is not None and new.catalog is None:
            for fault in new.faults:
                logger.error(
                    "ConfigMap %s/%s: %s; the catalogue stays as it was",
                    new.owner.namespace,
                    new.owner.name,
                    fault,
                )
            self._news.set()
            return
        catalog = self._base if new is None or new.catalog is None else new.catalog
        budgets = () if new is None else new.budgets
        if catalog != self.current or budgets != self.budgets:
            logger.info(
                "the catalogue changed: %d accelerator types, %d power budgets", len(catalog), len(budgets)
            )
            self.current, self.budgets = catalog, budgets
            self.changed(catalog)


def _present(data: Mapping[str, str]) -> Mapping[str, str]:
    """The ConfigMap's data, in which something has to stand. CatalogError."""
    if DATA_KEY not in data and POWER_KEY not in data:
        text = f"given no {DATA_KEY} and no {POWER_KEY}; allowed: one of them, or both"
        raise CatalogError((FieldError("data", text),))
    return data


def _budgets(text: str | None, levels: Collection[str]) -> tuple[Budget, ...]:
    document = None if text is None else yaml.safe_load(text)
    found = budgets_of(document, levels, f"data[{POWER_KEY}]")
    return tuple(map(budget_of, found))
