"""A manifest that is rendered when it is looked at, and kept by nobody.

A plan names every pod of a gang. Rendered at once they take about 7 KB each, which for a crowd of big gangs is more
memory than everything that the operator remembers of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Manifest = Mapping[str, Any]


class Lazy(Mapping[str, Any]):
    """What `render` gives, which must be the same at every call."""

    __slots__ = ("render",)

    def __init__(self, render: Callable[[], Manifest]) -> None:
        self.render = render

    def __getitem__(self, key: str) -> Any:
        return self.render()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.render())

    def __len__(self) -> int:
        return len(self.render())


def rendered(manifest: Manifest) -> Manifest:
    """The manifest itself, to be looked at more than once."""
    return manifest.render() if isinstance(manifest, Lazy) else manifest
