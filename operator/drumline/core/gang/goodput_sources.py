"""Where a figure of the ledger comes from: seen by the operator, told by the workers, or worked out.

What pods and nodes show is observed, whoever else speaks. What a gang did while it was up is what the ledger
as a whole says of itself. A figure of several parts is as good as its weakest: estimated, then reported, then
observed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from drumline.api.goodput import Source, State

OBSERVED: Final = frozenset(
    {
        State.SUSPENDED,
        State.QUEUED,
        State.PROVISIONING,
        State.BINDING,
        State.DRAINING,
        State.IMAGE_PULL,
        State.POD_INIT,
        State.GANG_WAIT,
        State.IDLE_TAIL,
        State.SPARE,
        State.UNKNOWN,
    }
)
REPORTED: Final = frozenset(  # nobody but a reporter can know of them
    {
        State.DEVICE_INIT,
        State.CHECKPOINT_RESTORE,
        State.COMPILE,
        State.HANG,
        State.CHECKPOINT_SAVE,
        State.DATA_STALL,
        State.EVAL,
        State.STRAGGLER,
    }
)
_WEAKEST_FIRST: Final = (Source.ESTIMATED, Source.REPORTED, Source.OBSERVED)


def state_source(state: str, ledger: str) -> Source:
    """Source of a state's time in a ledger whose own source is `ledger`."""
    if state in OBSERVED:
        return Source.OBSERVED
    return Source.REPORTED if state in REPORTED else source_of_ledger(ledger)


def source_of_ledger(text: str) -> Source:
    """The source a ledger names; one of a newer operator counts as estimated."""
    return Source(text) if text in tuple(Source) else Source.ESTIMATED


def weakest(sources: Iterable[Source]) -> Source:
    """Source of a figure made of several."""
    return min(sources, key=_WEAKEST_FIRST.index, default=Source.OBSERVED)
