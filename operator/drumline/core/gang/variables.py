"""How an environment variable is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

EnvVar = dict[str, Any]  # v1.EnvVar


def variables(values: Sequence[tuple[str, object]]) -> list[EnvVar]:
    """Plain variables in the order given."""
    return [{"name": name, "value": str(value)} for name, value in values]
