"""CEL rules: what only this operator's own admission can do, and what it can't. Expression, message, field at fault."""

from __future__ import annotations

from typing import Final

OWN_QUEUE: Final = (  # of `spec.scheduling`
    "!has(self.backendQueue) || !has(self.backend) || self.backend != 'builtin'",
    "backendQueue is a queue of another backend's; allowed with backend builtin: absent",
    ".backendQueue",
    "'given backendQueue ' + self.backendQueue + ' with backend builtin; allowed: absent, as builtin has no such queues'",
)
FOREIGN: Final = (
    "self.spares == 0 && !has(self.elastic) || !has(self.scheduling.backend) || self.scheduling.backend == 'builtin'",
    "spares and elastic need scheduling.backend builtin: no other backend holds places or resizes a gang",
    ".scheduling",
)
