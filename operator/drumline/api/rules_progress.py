"""CEL rules of `progress` and `model`: (expression, message, field at fault), each at its own path.

CEL's regular expressions are not Python's, so of a pattern only the named group is looked for here.
"""

from __future__ import annotations

from typing import Final

Rules = tuple[tuple[str, str, str], ...]

_GROUP: Final = "(?P<step>"
_SIZES: Final = ("layers", "heads", "headDim", "sequenceLength")
_ALL: Final = " && ".join(f"has(self.{name})" for name in _SIZES)
_NONE: Final = " || ".join(f"has(self.{name})" for name in (*_SIZES, "window"))

PROGRESS: Final[Rules] = (
    (
        "(self.source == 'scrape') == has(self.scrape)",
        "scrape is required with source scrape, and not allowed with another",
        ".scrape",
    ),
    *(
        (
            f"!has(self.{name}) || self.{name}.contains('{_GROUP}')",
            f"{name} needs the group {_GROUP}\\d+)",
            f".{name}",
        )
        for name in ("pattern", "commitPattern")
    ),
)
MODEL: Final[Rules] = (
    (
        "!has(self.activeParameters) || self.activeParameters <= self.parameters",
        "activeParameters is at most parameters",
        ".activeParameters",
    ),
    (
        f"!({_NONE}) || ({_ALL})",
        f"FLOPs of attention need all of {', '.join(_SIZES)}; give all or none",
        "",
    ),
)
