"""What a cluster's operator is set to, as far as the commands that restate its decisions need it.

The settings stand in ConfigMaps of the Helm chart, found by their labels. A user may not be allowed to list them, the operator
may be installed in another way, or there may be several: then defaults are taken, and every command says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import yaml

from drumline.api.catalog import Catalog
from drumline.cli import cluster
from drumline.cli.manifests import Manifest
from drumline.core.gang.power import NO_POWER, Power
from drumline.core.gang.topology import Topology
from drumline.core.gang.topology_config import topology_of
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.config import Config

MAPS: Final = "configmaps"
SELECTOR: Final = "app.kubernetes.io/name=drumline,app.kubernetes.io/component=operator"
AGING: Final = Config().aging
_KEY: Final = "config.yaml"


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds in the cluster, or is assumed."""

    aging: float = AGING  # seconds; 0 = no gang is ever aged
    topology: Topology = field(default_factory=Topology)
    catalog: Catalog = field(default_factory=Catalog.default)
    power: Power = NO_POWER
    source: str = ""  # where they stand, namespace/name; "" = nowhere that can be read
    doubt: str = ""  # why any of this is assumed; "" = it is not

    def given(self, *, aging: float | None = None, topology: Topology | None = None) -> Settings:
        """With what the user says instead, if anything."""
        mine = self if aging is None else replace(self, aging=aging)
        return mine if topology is None else replace(mine, topology=topology)


class _WrongError(Exception):
    """A setting can't be read; the message says which one."""


def read_settings(access: cluster.Access) -> Settings:
    """What can be read of the cluster's operator with the user's own rights. Never an exception."""
    try:
        found = cluster.list_each(access, {MAPS: SELECTOR})
    except cluster.ClusterError as error:
        return Settings(doubt=f"the operator's settings can't be read: {error}")
    return settings_of(found.get(MAPS, ()))


def settings_of(maps: Iterable[Manifest]) -> Settings:
    """What the ConfigMaps of operators say."""
    by_name = {(m["metadata"]["namespace"], m["metadata"]["name"]): m.get("data") or {} for m in maps}
    operators = [key for key, data in by_name.items() if _KEY in data]
    if len(operators) != 1:
        names = ", ".join("/".join(key) for key in operators)
        several = f"there are several operators ({names})" if names else "there is no ConfigMap with them"
        return Settings(doubt=f"the operator's settings are not known: {several}")
    key = operators[0]
    source = "/".join(key)
    try:
        return _settings(by_name[key][_KEY], key[0], by_name, source)
    except _WrongError as error:
        return Settings(source=source, doubt=f"the operator's settings can't be read: {error}")


def _settings(
    text: str, namespace: str, maps: Mapping[tuple[str, str], Mapping[str, str]], source: str
) -> Settings:
    try:
        document = yaml.safe_load(text) or {}
        aging = float(document.get("aging", AGING))
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise _WrongError(f"ConfigMap {source}: {error}") from error
    topology, errors = topology_of(document.get("topology") or None, "topology")
    if errors:
        raise _WrongError(f"ConfigMap {source}: {'; '.join(map(str, errors))}")
    known = Settings(aging, topology, source=source)
    name = (namespace, str(document.get("catalogConfigMap") or ""))
    return known if not name[1] else _with_catalog(known, name, maps.get(name))


def _with_catalog(known: Settings, name: tuple[str, str], data: Mapping[str, str] | None) -> Settings:
    if data is None:
        return replace(known, doubt=f"the catalogue is not known: there is no ConfigMap {'/'.join(name)}")
    catalogue = Catalogue(Catalog.default(), known.topology)
    metadata = {"namespace": name[0], "name": name[1], "uid": "", "resourceVersion": ""}
    override = catalogue.read({"metadata": metadata, "data": data})
    if override.catalog is None:
        faults = "; ".join(map(str, override.faults))
        return replace(known, doubt=f"the catalogue can't be read: ConfigMap {'/'.join(name)}: {faults}")
    catalogue.current, catalogue.budgets = override.catalog, override.budgets
    return replace(known, catalog=override.catalog, power=catalogue.power)


def raw(settings: Settings) -> dict[str, Any]:
    """As data, in names of the wire."""
    return {"agingSeconds": settings.aging, "from": settings.source or None, "doubt": settings.doubt or None}
