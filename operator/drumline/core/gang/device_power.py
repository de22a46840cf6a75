"""Which devices are accelerators, so that power budgets meter them.

    a driver brings accelerators of a type = a gang's accelerators come by claims, and its request matches devices of it

From then on every device of that driver that anybody's claim has counts as a whole accelerator: also one that a newer
slice no longer names, or that is a part of an accelerator. What is not known is rather taken for too hungry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from drumline.core.gang.devices import HeldClaim
from drumline.core.gang.power import claimed


class Accelerators:
    """The drivers that bring accelerators, each with a type of the catalogue. None is ever forgotten."""

    def __init__(self) -> None:
        self._types: dict[str, str] = {}  # by driver

    def learn(self, drivers: Iterable[str], accelerator: str) -> bool:
        """These drivers bring accelerators of a type; whether that is new of any."""
        fresh = [driver for driver in drivers if driver not in self._types]
        self._types.update(dict.fromkeys(fresh, accelerator))
        return bool(fresh)

    def among(self, drivers: Iterable[str]) -> bool:
        """Whether any of these drivers brings accelerators."""
        return any(driver in self._types for driver in drivers)

    def charge(self, claim: HeldClaim, own: str) -> Iterator[tuple[str, int]]:
        """What a claim's devices are charged for power: as type `own`, or "" = as what their driver brings."""
        types = (own or self._types[driver] for driver, _, _ in claim.devices if driver in self._types)
        for accelerator, count in Counter(types).items():
            yield claimed(accelerator), count
