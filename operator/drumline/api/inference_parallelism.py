"""`roles[].parallelism` of an InferenceService: how an engine divides a model over the chips of a group.

Each chip has one place in a mesh of tensor × pipeline × data, tensor innermost. Experts have no axis of their own, as
engines give them none: the chips of a pipeline stage, tensor × data, hold attention and experts alike. So `expert`
says over how many of these consecutive chips a layer's experts are spread: within tensor, or over whole replicas of
the attention. Tensor parallelism's all-reduces and experts' all-to-alls stand in the way of every layer: chips that
share either are a *scale-up group* and belong into one scale-up domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pydantic import Field

from drumline.api.base import ApiModel
from drumline.api.parallelism import MAX_AXIS, ScaleUp

AXES: Final = ("tensor", "pipeline", "data", "expert")

RULE: Final = (  # CEL of a role: expression, message, field; how many chips there are only the catalogue knows
    "!has(self.parallelism) || self.accelerator.type != 'cpu'",
    "parallelism is absent on cpu, whose pods have no chips",
    ".parallelism",
)


class Size(StrEnum):
    """What an engine's flag may be told of a mesh."""

    TENSOR = "tensor"
    PIPELINE = "pipeline"
    DATA = "data"
    EXPERT = "expert"
    STAGE = "stage"  # tensor × data where experts are spread over replicas of the attention, else tensor
    ATTENTION = "attention"  # these replicas; 1 where experts are within tensor


class ServiceParallelism(ApiModel):
    """How a group's engine divides the model, in chips. tensor × pipeline × data are the chips of a group."""

    tensor: int = Field(
        default=1,
        ge=1,
        le=MAX_AXIS,
        description="Chips that every layer's matrices are split over.",
        examples=[8],
    )
    pipeline: int = Field(
        default=1, ge=1, le=MAX_AXIS, description="Stages that the layers are divided into.", examples=[2]
    )
    data: int | None = Field(
        default=None,
        ge=1,
        le=MAX_AXIS,
        description="Replicas of the attention inside a group. Default: the group's chips divided by tensor x pipeline.",
        examples=[4],
    )
    expert: int = Field(
        default=1,
        ge=1,
        le=MAX_AXIS,
        description="Consecutive chips that the experts of a mixture-of-experts layer are spread over: a divisor of "
        "tensor or, with one pipeline stage, a multiple of it. 1: experts are split like everything else.",
        examples=[16],
    )
    scale_up: ScaleUp = Field(
        default=ScaleUp.REQUIRED,
        description="`Required`: chips that share tensor or experts are in one scale-up domain, such as an NVLink "
        "domain, or the group waits. `Preferred`: if possible.",
    )

    @property
    def group(self) -> int:
        """Consecutive chips that belong into one scale-up domain."""
        return max(self.tensor, self.expert)

    @property
    def wide(self) -> bool:
        """Whether experts are spread over replicas of the attention."""
        return self.expert > self.tensor

    def replicas(self, chips: int) -> int:
        """`data` of a group of so many chips; 0 if its other axes are more."""
        return self.data if self.data is not None else chips // (self.tensor * self.pipeline)

    def sizes(self, chips: int) -> Mapping[Size, int]:
        """All that a flag may be told of a group of so many chips."""
        data = self.replicas(chips)
        return {
            Size.TENSOR: self.tensor,
            Size.PIPELINE: self.pipeline,
            Size.DATA: data,
            Size.EXPERT: self.expert,
            Size.STAGE: self.tensor * data if self.wide else self.tensor,
            Size.ATTENTION: data if self.wide else 1,
        }

    def text(self) -> str:
        """The axes of the mesh that were given, for a message: `tensor 8 × pipeline 2`."""
        given = ((name, getattr(self, name)) for name in AXES if name != "expert")
        return " × ".join(f"{name} {size}" for name, size in given if size not in (None, 1)) or "axes of 1"
