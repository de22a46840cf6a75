"""`spec.elastic` of a TrainingJob: between how many slices the gang may run with.

`spec.slices` is the number that is wanted; an attempt may have fewer, never fewer than `minSlices`. What is done
when is in `drumline.core.training.policies.resize`.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from drumline.api.base import ApiModel

MAX_SLICES: Final = 10_000
RULES: Final = (  # CEL at `spec.elastic`: expression, message, field
    ("self.minSlices <= self.maxSlices", "elastic.minSlices is at most elastic.maxSlices", ".minSlices"),
)


class Elastic(ApiModel):
    """Between how many slices the gang may run with. `slices` says how many are wanted."""

    min_slices: int = Field(
        default=1,
        ge=1,
        le=MAX_SLICES,
        description="Fewest slices that an attempt begins with; at most `slices`.",
        examples=[1],
    )
    max_slices: int = Field(
        ge=1, le=MAX_SLICES, description="Most slices that may be asked for; at least `slices`.", examples=[4]
    )
    wait_seconds: int = Field(
        default=0,
        ge=0,
        le=86400,
        description="Seconds that a queued job waits for all of its slices before it begins with fewer. A restart of "
        "a job that still holds nodes never waits.",
        examples=[60],
    )
    regrow_seconds: int = Field(
        default=600,
        ge=0,
        le=86400,
        description="Seconds that an attempt runs with all pods ready, at least, before it is restarted for slices "
        "that came free. A job of which no checkpoint is known is not resized sooner either, by "
        "whomever; then nothing is waited for.",
        examples=[600],
    )
