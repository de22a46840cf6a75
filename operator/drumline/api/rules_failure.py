"""CEL rules of `spec.failurePolicy`: (expression, message, field at fault), each list at its own path.

A pattern is compiled by CEL's own engine, RE2. What the operator's language lacks of RE2's (word boundaries,
flags) it refuses itself.
"""

from __future__ import annotations

from typing import Final

from drumline.api.failure import MAX_RECENT
from drumline.api.rules_progress import Rules

_COMPILES: Final = "''.matches({0}) in [true, false]"
_ONE: Final = " || ".join(
    f"has(self.{name})" for name in ("onExitCodes", "onReason", "onMessage", "onNodeCondition")
)
_LISTS: Final = " || ".join(f"(has(self.{n}) && size(self.{n}) > 0)" for n in ("onRoles", "onCause"))

FAILURE_RULE: Final[Rules] = (
    (
        f"{_ONE} || {_LISTS}",
        "a rule needs onRoles, onExitCodes, onReason, onMessage, onNodeCondition or onCause",
        "",
    ),
    (
        "self.action != 'Ignore' || (has(self.onRoles) && size(self.onRoles) > 0 && !('workers' in self.onRoles))",
        "action Ignore needs onRoles with names of helpers alone: a gang does not go on without a worker",
        ".onRoles",
    ),
    (
        "(!has(self.cause) || self.cause != 'GangTimeout') && (!has(self.onCause) || !('GangTimeout' in self.onCause))",
        "GangTimeout is no failure",
        ".onCause",
    ),
    *(
        (f"!has(self.{name}) || {_COMPILES.format('self.' + name)}", "not a regular expression", f".{name}")
        for name in ("onReason", "onMessage")
    ),
)
NODE_CONDITION: Final[Rules] = (
    (f"!has(self.reason) || {_COMPILES.format('self.reason')}", "not a regular expression", ".reason"),
)
BUDGET: Final[Rules] = (
    ("self.cause != 'GangTimeout'", "GangTimeout is no restart", ".cause"),
    (
        f"!has(self.windowSeconds) || self.maxRestarts < {MAX_RECENT}",
        f"maxRestarts is at most {MAX_RECENT - 1} with windowSeconds",
        ".maxRestarts",
    ),
)
