"""`spec.parallelism` of a TrainingJob: the axes of the device mesh, as the training program lays them out.

Each chip of the gang has one place in the mesh, so the product of all axes is the gang's chips. Ranks are laid out
with tensor and expert innermost: so many consecutive chips form a *group*, which is kept inside a scale-up domain.
Context parallelism is no part of a group: it passes keys and values around a ring, behind the attention's own work,
and lives with a slower network.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import Field

from drumline.api.base import ApiModel

MAX_AXIS: Final = 1_000_000
AXES: Final = ("data", "fsdp", "tensor", "pipeline", "context", "expert")

RULES: Final = (  # CEL at `spec`: expression, message, field; how many chips there are only the catalogue knows
    (
        "!has(self.parallelism) || self.accelerator.type != 'cpu'",
        "parallelism is absent on cpu, whose workers have no chips",
        ".parallelism",
    ),
    (
        "!has(self.parallelism) || !has(self.elastic) || !has(self.parallelism.data)",
        "parallelism.data is absent in a job with spec.elastic: it follows from the slices",
        ".parallelism",
    ),
)


class ScaleUp(StrEnum):
    """How strictly a group keeps to one scale-up domain."""

    REQUIRED = "Required"
    PREFERRED = "Preferred"


def _axis(what: str, example: int) -> int:
    # the default is a number, which pydantic's stub for Field can't say of a helper
    made: int = Field(default=1, ge=1, le=MAX_AXIS, description=what, examples=[example])
    return made


class Parallelism(ApiModel):
    """Sizes of the axes of the device mesh, in chips. Their product is the chips of the gang."""

    data: int | None = Field(
        default=None,
        ge=1,
        le=MAX_AXIS,
        description="Replicas of the model. Default: the gang's chips divided by all other axes; in a job with "
        "`elastic` always so.",
        examples=[8],
    )
    fsdp: int = _axis("Chips that parameters, gradients and optimizer state are sharded over.", 16)
    tensor: int = _axis("Chips that every layer's matrices are split over.", 8)
    pipeline: int = _axis("Stages that the layers are divided into.", 2)
    context: int = _axis("Chips that a sequence is split over.", 2)
    expert: int = _axis(
        "Chips that the experts of a mixture-of-experts layer are spread over, as an axis of its own: where the "
        "program folds it into data, `data` is what remains.",
        8,
    )
    scale_up: ScaleUp = Field(
        default=ScaleUp.REQUIRED,
        description="`Required`: each group of tensor x expert consecutive chips is in one scale-up domain, such as "
        "an NVLink domain, or the job waits. `Preferred`: if possible.",
    )

    @property
    def group(self) -> int:
        """Consecutive chips that belong into one scale-up domain."""
        return self.tensor * self.expert

    @property
    def others(self) -> int:
        """Product of all axes but data."""
        return self.fsdp * self.pipeline * self.context * self.group

    def text(self) -> str:
        """The axes that were given, for a message: `tensor 8 × expert 2`."""
        sizes = ((name, getattr(self, name)) for name in AXES)
        return " × ".join(f"{name} {size}" for name, size in sizes if size not in (None, 1)) or "axes of 1"
