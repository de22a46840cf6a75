"""Filling a preset's templates (`api.engines`): one pass, so that no value is ever read as a template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with its placeholders replaced.

    KeyError when a value is missing; a table leaves out what needs it instead.
    """
    if isinstance(template, str):
        return _text(template, values)
    if isinstance(template, Mapping):
        return dict(_entries(template, values))
    if isinstance(template, list | tuple):
        return [filled(item, values) for item in template]
    return template


def _text(template: str, values: Mapping[str, Any]) -> Any:
    whole = _PLACEHOLDER.fullmatch(template)
    if whole is not None:
        return values[whole[1]]
    return _PLACEHOLDER.sub(lambda found: str(values[found[1]]), template)


def _entries(template: Mapping[str, Any], values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found = []
    for key, item in template.items():
        try:
            found.append((key, filled(item, values)))
        except KeyError:
            continue
    return found
