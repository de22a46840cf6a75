"""The topology of a cluster as a platform team writes it: a list of hierarchies, in order of preference.

An entry names a preset, or is a hierarchy of its own: levels from coarse to fine, each read from one node label or
from the first of several. The list is all there is: presets that are not in it are not used. Without a list every
preset is.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import Field, ValidationError, model_validator

from drumline.api.base import ApiModel
from drumline.api.errors import FieldError
from drumline.api.training import DNS_1123
from drumline.api.wire import field_errors
from drumline.core.gang.topology import NODE_LEVEL, PRESETS, Hierarchy, Level, Topology

MAX_HIERARCHIES: Final = 16
MAX_LEVELS: Final = 8

Label = Annotated[str, Field(min_length=1, max_length=317)]
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_1123)]


class LevelSpec(ApiModel):
    """A level of a hierarchy."""

    name: Name = Field(description="What jobs call it.", examples=["rack"])
    label: Label = Field(description="Node label whose value is the domain.")
    others: tuple[Label, ...] = Field(
        default=(), max_length=MAX_LEVELS, description="Labels that say the same on nodes without the first."
    )
    scale_up: bool = Field(
        default=False, description="Hosts of a domain share a scale-up link, such as NVLink."
    )


class HierarchySpec(ApiModel):
    """A preset, or levels."""

    preset: str | None = Field(default=None, description=f"One of {', '.join(PRESETS)}.")
    name: Name | None = Field(default=None, description="Of a hierarchy of one's own.")
    levels: tuple[LevelSpec, ...] = Field(default=(), max_length=MAX_LEVELS, description="Coarse to fine.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.preset is None) == (self.name is None) or (self.preset is not None and self.levels):
            raise ValueError("allowed: preset alone, or name with levels")
        if self.preset is not None and self.preset not in PRESETS:
            raise ValueError(f"allowed presets: {', '.join(PRESETS)}")
        names = [level.name for level in self.levels]
        if len({*names, NODE_LEVEL}) <= len(names):
            raise ValueError(f"allowed: levels with a name each, and none that is called {NODE_LEVEL}")
        return self

    def hierarchy(self) -> Hierarchy:
        """What placement takes it for."""
        if self.preset is not None:
            return PRESETS[self.preset]
        levels = tuple(Level(level.name, level.label, level.others, level.scale_up) for level in self.levels)
        return Hierarchy(self.name or "", levels)


def topology_of(document: Any, path: str) -> tuple[Topology, tuple[FieldError, ...]]:
    """The topology that a document describes, and what is wrong with it; None and an empty list are the default."""
    if document is None or document == []:
        return Topology(), ()
    if not isinstance(document, list) or len(document) > MAX_HIERARCHIES:
        given = type(document).__name__ if not isinstance(document, list) else f"{len(document)} entries"
        return Topology(), (FieldError(path, f"given {given}; allowed: a list of at most {MAX_HIERARCHIES}"),)
    found: list[Hierarchy] = []
    errors: list[FieldError] = []
    for i, entry in enumerate(document):
        try:
            found.append(HierarchySpec.model_validate(entry).hierarchy())
        except ValidationError as error:
            errors.extend(field_errors(error, HierarchySpec, prefix=f"{path}[{i}]"))
    return Topology(tuple(found)), tuple(errors)
