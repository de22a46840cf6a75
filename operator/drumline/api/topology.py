"""TPU topologies: the shapes that a slice of chips may have.

A topology is written ``AxB`` or ``AxBxC``: chips along each axis of one slice's interconnect. A type lists
its small shapes one by one; larger ones follow a rule of cubes: three axes, each a multiple of the cube's
edge, so many chips at most. A host holds a fixed number of chips, so the hosts of a slice follow.
"""

from __future__ import annotations

import re
from math import prod
from typing import Annotated

from pydantic import Field

from drumline.api.base import ApiModel

PATTERN = r"^[1-9][0-9]{0,2}(x[1-9][0-9]{0,2}){1,2}$"
MAX_LENGTH = 11  # 999x999x999

TopologyText = Annotated[str, Field(pattern=PATTERN, max_length=MAX_LENGTH)]


def parse(topology: str) -> tuple[int, ...] | None:
    """Chips along each axis, or None when the text is not a topology."""
    if len(topology) > MAX_LENGTH or not re.fullmatch(PATTERN, topology):
        return None
    return tuple(int(axis) for axis in topology.split("x"))


def chips(topology: str) -> int:
    """Chips of one slice. ValueError when the text is not a topology."""
    axes = parse(topology)
    if axes is None:
        raise ValueError(f"{topology!r} is not a topology such as 4x4 or 4x4x8")
    return prod(axes)


class Cubes(ApiModel):
    """Which large three-axis shapes exist."""

    multiple_of: int = Field(ge=1, description="Edge of the smallest cube, in chips.")
    max_chips: int = Field(ge=1, description="Chips of the largest slice.")
    ascending: bool = Field(default=False, description="Whether A ≤ B ≤ C must hold.")

    def allows(self, axes: tuple[int, ...]) -> bool:
        """Whether a slice of these axes follows the rule."""
        return (
            len(axes) == 3
            and all(axis % self.multiple_of == 0 for axis in axes)
            and prod(axes) <= self.max_chips
            and (not self.ascending or axes == tuple(sorted(axes)))
        )

    def __str__(self) -> str:
        order = "A ≤ B ≤ C, " if self.ascending else ""
        return f"AxBxC with {order}each a multiple of {self.multiple_of}, at most {self.max_chips} chips"
