"""What a round of admission does for a gang that it refuses, as the end of the refusal's message, and how to read it.

Those who only see what a job's status says can so tell who goes first, and for whom room is kept.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Standing(StrEnum):
    """What is done for a gang that waits."""

    SERVED_FIRST = "ServedFirst"  # others were told to leave for it: it goes before everybody
    KEPT = "Kept"  # what comes free is kept for it, wherever it stands


_ENDINGS: Final = (
    (Standing.SERVED_FIRST, re.compile(r"; waits for \d+ that (is|are) to leave")),
    (Standing.KEPT, re.compile(r"; waits for those that are to leave")),
    (Standing.KEPT, re.compile(r"; first in line, with \d+ of the nodes it can use kept for it")),
    (Standing.KEPT, re.compile(r"; first in line: what comes free of it is kept for this gang")),
)


def waits_for(message: str, leaving: int) -> str:
    """Others leave for the gang; 0 = they do so on their own account."""
    return f"{message}; waits for {leaving or 'those'} that {'are' if leaving != 1 else 'is'} to leave"


def kept_nodes(message: str, nodes: int) -> str:
    """Nodes are kept for the first in line of its kind."""
    return f"{message}; first in line, with {nodes} of the nodes it can use kept for it"


def kept_quota(message: str) -> str:
    """Quota is kept for the first in line of its queue."""
    return f"{message}; first in line: what comes free of it is kept for this gang"


def standing_of(message: str) -> Standing | None:
    """What such a message says; None = nothing is done for the gang."""
    for standing, pattern in _ENDINGS:
        found = pattern.search(message)
        if found is not None and found.end() == len(message):
            return standing
    return None
