"""CEL rules of `spec` about elastic jobs: expression, message, field at fault."""

from __future__ import annotations

from typing import Final

RESIZE: Final = (
    "self.slices == oldSelf.slices || has(self.elastic)",
    "field is immutable: only a job with spec.elastic can be scaled",
    ".slices",
)
BOUNDS: Final = (
    "!has(self.elastic) || self.elastic.minSlices <= self.slices && self.slices <= self.elastic.maxSlices",
    "slices is at least elastic.minSlices and at most elastic.maxSlices",
    ".slices",
)
NO_SPARES: Final = (
    "self.spares == 0 || !has(self.elastic)",
    "spares is 0 in a job with spec.elastic, which goes on with fewer slices",
    ".spares",
)
MOST: Final = "(has(self.elastic) ? self.elastic.maxSlices : self.slices)"  # of `self` = spec
