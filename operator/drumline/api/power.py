"""Power budgets of topology domains, as a platform team writes them.

A list under the key `power.yaml` of the catalogue's ConfigMap.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from pydantic import Field, ValidationError

from drumline.api.base import ApiModel
from drumline.api.catalog import CatalogError
from drumline.api.errors import FieldError
from drumline.api.training import DNS_1123
from drumline.api.wire import field_errors

MAX_WATTS: Final = 1e10
MAX_PATH: Final = 575  # characters: labels' values of nine levels


class PowerBudget(ApiModel):
    """What the accelerators of a domain may draw together at full load."""

    level: str = Field(
        min_length=1, max_length=63, pattern=DNS_1123, description="Topology level.", examples=["block"]
    )
    domain: str = Field(
        default="",
        max_length=MAX_PATH,
        description="Value of the level's label, or, where that is not unique, the domain's path as `kubectl drumline "
        "capacity` shows it. Default: each domain of the level that has no budget of its own.",
    )
    watts: float = Field(ge=0, le=MAX_WATTS, allow_inf_nan=False, description="Watts.", examples=[120000])


def budgets_of(document: Any, levels: Collection[str], path: str) -> tuple[PowerBudget, ...]:
    """The budgets that a document lists; None lists none. CatalogError names each field that can't be used."""
    if document is None:
        return ()
    if not isinstance(document, list):
        given = f"given {type(document).__name__}; allowed: a list of budgets, each with level and watts"
        raise CatalogError((FieldError(path, given),))
    errors: list[FieldError] = []
    found: dict[tuple[str, str], PowerBudget] = {}
    for i, entry in enumerate(document):
        at = f"{path}[{i}]"
        try:
            budget = PowerBudget.model_validate(entry)
        except ValidationError as error:
            errors.extend(field_errors(error, PowerBudget, prefix=at))
            continue
        if budget.level not in levels:
            errors.append(FieldError(f"{at}.level", f"given {budget.level!r}; allowed: {', '.join(levels)}"))
        if (budget.level, budget.domain.lstrip("/")) in found:
            errors.append(
                FieldError(at, f"given {budget.level} {budget.domain!r} again; allowed: one budget each")
            )
        found[budget.level, budget.domain.lstrip("/")] = budget
    if errors:
        raise CatalogError(tuple(errors))
    return tuple(found.values())
