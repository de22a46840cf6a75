"""CEL rule of `spec`: what only this operator's own admission can do. Expression, message, field at fault."""

from __future__ import annotations

from typing import Final

FOREIGN: Final = (
    "self.spares == 0 && !has(self.elastic) || !has(self.scheduling.backend) || self.scheduling.backend == 'builtin'",
    "spares and elastic need scheduling.backend builtin: no other backend holds places or resizes a gang",
    ".scheduling",
)
