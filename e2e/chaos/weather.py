"""How bad the way to the API server is, for a proxy or for a model of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Weather:
    """The share of requests that a fault strikes, of watches that are cut, and whether nothing gets through."""

    faults: float = 0.0
    cuts: float = 0.0
    down: bool = False
