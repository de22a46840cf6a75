"""Power budgets from a file."""

from __future__ import annotations

from drumline.api.catalog import Catalog, CatalogError
from drumline.api.power import budgets_of
from drumline.cli.manifests import InputError, read_documents
from drumline.core.gang.power import NO_POWER, Power, budget_of, ratings_of
from drumline.core.gang.topology import Topology


def read_power(path: str | None, catalog: Catalog) -> Power:
    """The budgets that the file lists, with the catalogue's ratings; without a file none. InputError."""
    if path is None:
        return NO_POWER
    documents = read_documents(path)
    if len(documents) != 1:
        raise InputError(f"{path}: given {len(documents)} documents; allowed: one")
    try:
        found = budgets_of(documents[0], Topology().level_names(), path)
    except CatalogError as error:
        raise InputError(str(error)) from error
    return Power(tuple(map(budget_of, found)), ratings_of(catalog))
