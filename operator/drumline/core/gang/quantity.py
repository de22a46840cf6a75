"""Kubernetes quantities as whole numbers of a canonical unit, exactly.

The unit is a thousandth for ``cpu`` and one for everything else (bytes, counts). What the unit can't
express is rounded up, as the API does; what does not fit in 63 bits is the largest value that does.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Final

MAX_VALUE: Final = 2**63 - 1

_QUANTITY: Final = re.compile(r"(\d+\.?\d*|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d{1,9})?")
_SUFFIXES: Final = {
    **{suffix: Fraction(10) ** (3 * power) for power, suffix in enumerate("num", start=-3)},
    **{
        suffix: Fraction(1024) ** power
        for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)
    },
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    "": Fraction(1),
}
_MAX_EXPONENT: Final = 40  # beyond it every value of sensible length saturates
_MAX_LENGTH: Final = 64


@lru_cache(maxsize=8192)
def canonical(resource: str, quantity: str | float) -> int:
    """The quantity in the resource's canonical unit: millicores for cpu, else bytes or a count.

    Raises ValueError for what is not a quantity, and for a negative one: no resource can be requested or
    allocated negatively.
    """
    text = str(quantity).removeprefix("+")
    match = _QUANTITY.fullmatch(text)
    if match is None or len(text) > _MAX_LENGTH:
        raise ValueError(f"not a quantity of {resource}: {quantity!r}")
    number = Fraction(match[1])
    value = ceil(number * _multiplier(match[2] or "") * unit(resource))
    return min(value, MAX_VALUE)


def unit(resource: str) -> int:
    """Canonical units in one whole: 1000 for cpu, else 1."""
    return 1000 if resource == "cpu" or resource.endswith((".cpu", "/cpu")) else 1


def spell(resource: str, value: int) -> str:
    """A canonical value as people write it: `1500m`, `16Gi`, `8`. Exact."""
    if unit(resource) == 1000:
        return str(value // 1000) if value % 1000 == 0 else f"{value}m"
    if "memory" in resource or "storage" in resource or "hugepages-" in resource:
        for power, suffix in ((5, "Pi"), (4, "Ti"), (3, "Gi"), (2, "Mi"), (1, "Ki")):
            if value and value % 1024**power == 0:
                return f"{value // 1024**power}{suffix}"
    return str(value)


def _multiplier(suffix: str) -> Fraction:
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        exponent = int(suffix[1:])
        return Fraction(10) ** max(-_MAX_EXPONENT, min(exponent, _MAX_EXPONENT))
    return _SUFFIXES[suffix]
